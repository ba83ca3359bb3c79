"""A fault that was injected once, and what came of it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from processes import Ended
from scene import SAVE_EVERY, Undisturbed, digest, reached, saved

ATTEMPTS = 4


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One injection."""

    seed: int
    what: str
    """What was done, when and to what."""
    code: int
    """Exit code of the command that met the fault; minus the signal's number if that ended it."""
    said: str
    """Its last words."""
    lost: int | None = None
    """Updates that had to be made again; None where nothing was gone on with."""
    identical: bool | None = None
    """Whether the weights are, in the end, those of the undisturbed run; None where there are
    none to compare."""
    wrong: str = ""
    """What was not as it should be; empty if all was."""
    seconds: float = field(default=0.0)


@dataclass(frozen=True, kw_only=True)
class FaultResult:
    """All injections of one fault, as kept in results/NAME.json."""

    name: str
    says: str
    trials: tuple[Trial, ...] = ()


@dataclass(frozen=True)
class Fault:
    """One way in which a run is disturbed."""

    name: str
    says: str
    inject: Callable[["Trying"], Trial]
    scene: str
    """photos or dots."""
    costly: bool = False
    """Whether it starts processes of its own, which takes some ten seconds a trial."""


class Trying:
    """A trial that is under way: its run, its random numbers, and what was seen so far."""

    def __init__(self, base: Undisturbed, name: str, seed: int) -> None:
        self.base, self.scene, self.seed = base, base.scene, seed
        self.out = base.scene.home / f"{name}-{seed}"
        self.rng = np.random.default_rng([seed, *name.encode()])
        self.wrong: list[str] = []
        self.may_lose = SAVE_EVERY
        shutil.rmtree(self.out, ignore_errors=True)

    def share(self, trials: int = 20) -> float:
        """A number in [0, 1): the seeds' are spread evenly over it."""
        return float((self.seed % trials + self.rng.uniform()) / trials)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note what is not as it should be."""
        if not holds:
            self.wrong.append(otherwise)

    def train_on(self) -> int:
        """Go on until the run has ended; returns the updates that were made twice."""
        lost = 0
        for _ in range(ATTEMPTS):
            before, at = reached(self.out), saved(self.out)
            ended = self.scene.train(self.out)
            if ended.code == 0:
                resumed = resumed_at(ended.said)
                lost += max(0, before - resumed)
                self.expect(resumed == at, f"resumed at {resumed}, not at the newest, {at}")
                self.expect(before - resumed <= self.may_lose, f"{before - resumed} updates lost")
                return lost
            lost += max(0, before - at)
        self.expect(False, f"cannot be gone on with: {ended.last_line}")
        return lost

    def result(self, what: str, ended: Ended, lost: int | None = None) -> Trial:
        """The trial's result, with the weights compared; the run is removed if all is well."""
        product = digest(self.out, self.scene.product) if self.out.is_dir() else None
        identical = product == self.base.weights
        self.expect(identical, "other weights than the undisturbed run")
        self.expect(not leftovers(self.out), f"left behind: {leftovers(self.out)}")
        return self.ended(what, ended, lost, identical)

    def ended(
        self, what: str, ended: Ended, lost: int | None = None, identical: bool | None = None
    ) -> Trial:
        if not self.wrong:
            shutil.rmtree(self.out, ignore_errors=True)
        said = ended.last_line.replace(f"{self.scene.home}/", "")[:300]
        wrong, seconds = "; ".join(self.wrong), round(ended.seconds, 2)
        return Trial(
            seed=self.seed, what=what, code=ended.code, said=said, lost=lost, identical=identical,
            wrong=wrong, seconds=seconds,
        )  # fmt: skip


def leftovers(out: Path) -> list[str]:
    """Parts of files that nobody will ever finish."""
    return [str(path.relative_to(out)) for path in out.rglob(".part-*")]


def resumed_at(said: str) -> int:
    """The update at which a command says that it went on; 0 where it began anew."""
    words = " ".join(said.split())
    _, told, after = words.rpartition("resumed at update ")
    return int(after.split()[0]) if told else 0
