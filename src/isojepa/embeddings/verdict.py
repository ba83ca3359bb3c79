"""Findings -> one verdict: what the samples are, why, and what to change."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from isojepa.embeddings import findings
from isojepa.embeddings.evidence import Evidence
from isojepa.embeddings.findings import Finding, Level, State
from isojepa.theme.wording import listed

ORDER: tuple[State, ...] = get_args(State)
"""The gravest first."""
LEVELS: tuple[Level, ...] = ("problem", "warning", "note", "good")
SUMMARIES: dict[State, str] = {
    "isotropic Gaussian": "Nothing beyond chance tells these samples from an isotropic Gaussian.",
    "nearly isotropic Gaussian": "Tests tell these samples from an isotropic Gaussian, by little.",
    "collapsed": "The samples have shrunk to a point.",
    "dimensionally collapsed": "The samples fill only a part of their dimensions.",
    "outliers": "A few rows lie far outside all others.",
    "clustered": "The samples fall into groups with gaps between them.",
    "skewed": "The samples are lopsided.",
    "heavy-tailed": "Far samples are more frequent than in a Gaussian.",
    "light-tailed": "Far samples are rarer than in a Gaussian.",
    "anisotropic": "Some directions have much more variance than others.",
    "not Gaussian": "The shape is not Gaussian, in a way that has no simple name.",
    "shifted": "A Gaussian shape, but its mean is not at the origin.",
    "off scale": "An isotropic Gaussian, but its standard deviation is not 1.",
    "duplicated rows": "Rows are repeated; but for that, nothing is wrong with them.",
}


@dataclass(frozen=True)
class Verdict:
    """What the samples are, and all findings."""

    states: tuple[State, ...]
    """The gravest first; at least one."""
    summary: str
    findings: tuple[Finding, ...]
    """The worst first."""

    @property
    def state(self) -> State:
        """The gravest."""
        return self.states[0]

    @property
    def level(self) -> Level:
        """Of the finding behind the state; good for an isotropic Gaussian."""
        levels = [f.level for f in self.findings if f.state == self.state]
        return min(levels, key=LEVELS.index, default="good")

    @property
    def change(self) -> tuple[str, ...]:
        """What to do, the most urgent first."""
        return tuple(f.change for f in self.findings if f.state and f.change)


def judge(evidence: Evidence) -> Verdict:
    """Weigh the evidence: every failure that is both certain and large enough to matter."""
    found = list(_findings(evidence))
    if not any(f.state for f in found):
        found += findings.departure(evidence)
    found.sort(key=_gravity)
    states = list(dict.fromkeys(f.state for f in found if f.state)) or ["isotropic Gaussian"]
    summary = SUMMARIES[states[0]]
    if states[0] == "outliers" and not evidence.outliers:
        summary = "Some rows hold no-data values or an overflow; the rest is judged without them."
    if states[0] == "isotropic Gaussian" and evidence.shape.n <= evidence.shape.d:
        summary += (
            f" But {evidence.shape.n:,} samples say little of {evidence.shape.d:,} dimensions."
        )
    if len(states) > 1:
        summary += f" Also {listed(states[1:])}."
    return Verdict(tuple(states), summary, tuple(found))


def _gravity(finding: Finding) -> tuple[int, int]:
    state = len(ORDER) if finding.state is None else ORDER.index(finding.state)
    return LEVELS.index(finding.level), state


def _findings(e: Evidence) -> Iterator[Finding]:
    yield from findings.table(e)
    yield from findings.duplicates(e)
    collapsed = list(findings.collapse(e))
    yield from collapsed
    if collapsed:  # nothing else matters then
        return
    yield from findings.scale(e)
    yield from findings.rank(e)
    yield from findings.isotropy(e)
    yield from findings.shift(e)
    yield from findings.outliers(e)
    shapes = [*findings.gaps(e), *findings.symmetry(e), *findings.tails(e)]
    yield from shapes
    yield from findings.tests(e, named=bool(shapes) or len(e.outliers) > 0)
