"""Looks at a training run between its updates, says what is wrong, and what was done about it."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from isojepa.distributed import rank
from isojepa.embeddings.alarm import (
    ADVICE,
    COLLAPSES,
    KEPT,
    PATIENCE,
    STATES,
    Course,
    OnCollapse,
    State,
    Vitals,
    judge,
)
from isojepa.embeddings.vitals import Spread
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.typed import read_result, write_result
from isojepa.theme.findings import Finding, Level
from isojepa.training.ranks import largest, on_first

log = logging.getLogger(__name__)
ALARMS = "alarms.json"
FEW = 64
SAMPLES_EVERY = 10
"""Looks between two at the samples themselves, which cost more."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """What was found at an update."""

    step: int
    state: State
    what: str
    remedy: str
    rolled_back_to: int | None = None
    """Update from which the run went on with decoupled SIGReg; None if it went on as it was."""


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """RUN/alarms.json: what was found to be wrong, in order; no file without any."""

    alarms: tuple[Alarm, ...] = ()


def read_alarms(run: Path) -> tuple[Alarm, ...]:
    """What was found to be wrong in a run while it trained.

    Raises:
        UserError: if the file is damaged.
    """
    path = run / ALARMS
    return read_result(Alarms, path).alarms if path.is_file() else ()


def write_alarms(run: Path, alarms: tuple[Alarm, ...]) -> None:
    """Write RUN/alarms.json, or remove it if there are none."""
    if alarms:
        write_result(run / ALARMS, Alarms(alarms=alarms))
    else:
        (run / ALARMS).unlink(missing_ok=True)


def findings_of(alarms: Iterable[Alarm]) -> Iterator[Finding]:
    """For a report: what the monitor said while the run trained."""
    for alarm in alarms:
        acted = "" if alarm.rolled_back_to is None else (
            f" The run was taken back to update {alarm.rolled_back_to:,} and went on with "
            "decoupled SIGReg."
        )  # fmt: skip
        detail = f"From update {alarm.step:,} on {alarm.what}.{acted}"
        level: Level = ADVICE[alarm.state].level if alarm.rolled_back_to is None else "note"
        title = f"Alarm during training: {alarm.state}"
        yield Finding(level, title, f"{detail} {alarm.remedy[0].upper()}{alarm.remedy[1:]}.")


class Collapsed(UserError):
    """Training stopped because it would have led nowhere."""


class Monitor:
    """Keeps a few looks at a run; saved and restored with it.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path, course: Course) -> None:
        self.run, self.course = run, course
        self.first: list[Vitals] = []
        self.last: list[Vitals] = []
        self.peak = 0.0
        self.looks = 0
        self.good = 0
        """Last update at which nothing was wrong."""
        self.state: State = "healthy"
        """As it was last told."""
        self._seen: list[State] = []

    def begin(self, start: int) -> None:
        """Forget alarms of updates that are made anew."""

        def forget() -> None:
            kept = (one for one in read_alarms(self.run)
                    if one.step <= start or one.rolled_back_to is not None)  # fmt: skip
            write_alarms(self.run, tuple(kept))

        on_first(forget)

    @property
    def looks_at_samples(self) -> bool:
        """Whether the next look is one at the samples themselves too."""
        return self.looks % SAMPLES_EVERY == 0

    def look(self, vitals: Vitals) -> Json:
        """Look at an update; every rank must, and the first one's word counts.

        Returns:
            What there is to log: numbers only.
        """
        self.looks += 1
        self.peak = max(self.peak, vitals.loss)
        self.first = [*self.first, vitals][:KEPT]
        self.last = [*self.last, vitals][-KEPT:]
        here = STATES.index(judge(self.first, self.last, self.peak, self.course))
        found = STATES[largest(here if rank() == 0 else 0)]
        self._seen = [*self._seen, found][-PATIENCE:]
        if found == "healthy":
            self.good = vitals.step
        if set(self._seen) == {found} and len(self._seen) == PATIENCE and found != self.state:
            self.state = found
            self._tell(vitals.step)
        line = {
            "deviation": vitals.projections.deviation,
            "directions": vitals.projections.dimension,
            "disagreement": vitals.disagreement,
            "alarm": STATES.index(self.state),
        }
        if vitals.embeddings is not None:
            line["encoder_directions"] = vitals.embeddings.dimension
        return {key: x for key, x in line.items() if x == x}

    def must_act(self, on_collapse: OnCollapse) -> bool:
        """Whether what was told is to stop the run, or to take it back."""
        if on_collapse == "recover":
            return self.state in COLLAPSES
        return on_collapse == "stop" and ADVICE[self.state].level == "problem"

    def in_words(self) -> str:
        """For the bar."""
        return "" if self.state == "healthy" else f"  ! {self.state}"

    def require(self, on_collapse: OnCollapse) -> None:
        """Raise `Collapsed` if the run is to stop."""
        if self.must_act(on_collapse):
            raise Collapsed(f"update {self.last[-1].step}: {self.complaint()}. Training stopped")

    def complaint(self) -> str:
        """What is wrong and what to do, in a line."""
        advice = ADVICE[self.state]
        return f"{self.state}: {advice.what}; {advice.remedy}"

    def _tell(self, step: int) -> None:
        advice = ADVICE[self.state]
        if self.state == "healthy":
            log.info("update %d: healthy again", step)
            return
        level = logging.INFO if advice.level == "note" else logging.WARNING
        log.log(level, "update %d: %s", step, self.complaint())
        alarm = Alarm(step=step, state=self.state, what=advice.what, remedy=advice.remedy)
        on_first(lambda: write_alarms(self.run, (*read_alarms(self.run), alarm)))

    def state_dict(self) -> Json:
        return {
            "first": [asdict(v) for v in self.first],
            "last": [asdict(v) for v in self.last],
            "peak": self.peak,
            "looks": self.looks,
            "good": self.good,
            "state": self.state,
            "seen": list(self._seen),
        }

    def load_state_dict(self, state: Json) -> None:
        self.first, self.last = ([_restored(v) for v in state[k]] for k in ("first", "last"))
        self.peak, self.looks, self.good = state["peak"], state["looks"], state["good"]
        self.state, self._seen = state["state"], list(state["seen"])


def _restored(values: Json) -> Vitals:
    spreads = {n: None if values[n] is None else Spread(**values[n])
               for n in ("embeddings", "projections")}  # fmt: skip
    return Vitals(**(values | spreads))


class Faults(NamedTuple):
    """Shares of a batch's samples."""

    repeated: float = 0.0
    """That equal an earlier one."""
    constant: float = 0.0
    """That hold a single value."""


def sample_faults(samples: Tensor) -> Faults:
    """Of samples as they were read.

    Equality is that of a random projection of all values, drawn once: two that differ have the
    same with a chance of rounding only.

    Args:
        samples: one on each position of the first axis, as they were read. Of samples of fewer
            than `FEW` values, such as a table's rows, copies and constants are no fault.
    """
    x = samples.flatten(1).double().nan_to_num()
    if x.shape[1] < FEW:
        return Faults()
    generator = torch.Generator().manual_seed(0)
    marks = x @ torch.randn(x.shape[1], 1, dtype=x.dtype, generator=generator).to(x.device)
    repeated = 1 - len(marks.unique()) / max(1, len(x))
    constant = (x.amax(1) == x.amin(1)).double().mean().item()
    return Faults(repeated, constant)
