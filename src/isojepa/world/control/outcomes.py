"""How single pairs went: what is kept of an evaluation while it runs, and for good."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import trying
from isojepa.errors import UserError
from isojepa.runs.typed import read_result, write_result


class PlayedPair(NamedTuple):
    """A pair, as a result records it."""

    seed: int
    episode: int
    start: int
    """Step in that episode."""
    goal_episode: int
    goal: int
    """Step in that episode."""
    distance: float | None
    """Between the two states, in the environment's unit."""


class PairOutcome(NamedTuple):
    """How a policy did on a pair."""

    success: bool
    """By the environment's own rule."""
    steps: int
    """Until then, or the budget."""
    strict: bool | None
    """By the strict rule; None where there is none."""
    strict_steps: int


@dataclass(frozen=True, kw_only=True)
class PlayedPairs:
    """How a policy did on some pairs, which were played together."""

    policy: str
    seed: int
    first: int
    """Place of the first of the pairs."""
    outcomes: tuple[PairOutcome, ...]
    plans: int
    """Plans made, counted per episode."""
    seconds: float
    """Spent making them, all together."""
    sequences: int
    """Tried in all plans."""
    taken: int
    """Actions taken."""
    cut: int
    """Those of them that lay beyond the environment's bounds."""


@dataclass(frozen=True, kw_only=True)
class PlayedSoFar:
    """What an evaluation that is not through has kept."""

    key: str
    """Of all that the outcomes depend on."""
    batches: tuple[PlayedPairs, ...] = ()


class Keeper:
    """Keeps batches in a file as they are played, and gives them back to the same evaluation.

    Args:
        path: the file, which is gone once the evaluation is through.
        key: of all that the outcomes depend on: what another evaluation has kept is dropped.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self.batches: list[PlayedPairs] = []
        if path.is_file():
            with trying(f"{path}: what was played before"):
                try:
                    found = read_result(PlayedSoFar, path)
                except UserError as error:
                    raise ValueError(str(error)) from error
                self.batches = list(found.batches) if found.key == key else []

    def find(self, policy: str, seed: int, first: int, count: int) -> PlayedPairs | None:
        """A batch that was played before."""
        for one in self.batches:
            if (one.policy, one.seed, one.first, len(one.outcomes)) == (policy, seed, first, count):
                return one
        return None

    def add(self, batch: PlayedPairs) -> None:
        """Keep a batch."""
        self.batches.append(batch)
        write_result(self.path, PlayedSoFar(key=self.key, batches=tuple(self.batches)))

    def close(self) -> None:
        """The evaluation is through."""
        self.path.unlink(missing_ok=True)
