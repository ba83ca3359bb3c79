"""What every page says of what it shows: findings, each with its level, and one verdict."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "note", "warning", "problem"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note", "good")
"""The gravest first."""


@dataclass(frozen=True)
class Finding:
    """One observation, in plain words."""

    level: Level
    title: str
    detail: str
    remedy: str = ""
    """What to do about it."""
    state: str | None = None
    """What it makes of the thing judged; None if it does not decide the verdict."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a run or its samples amount to, and all findings."""

    states: tuple[str, ...]
    """In a word or two each, the gravest first; at least one."""
    level: Level
    """Of the gravest state."""
    summary: str
    why: str = ""
    remedies: tuple[str, ...] = ()
    """What to change, the most urgent first."""
    findings: tuple[Finding, ...] = ()
    """The gravest first."""

    @property
    def state(self) -> str:
        """The gravest."""
        return self.states[0]


def gravest_first(findings: Iterable[Finding]) -> list[Finding]:
    """Sorted by level; findings of one level stay in their order."""
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))
