"""What goes wrong while a network trains, told from a few numbers of a few batches.

Thresholds were set on a few small runs, made to fail or not, and have not been tried on others:
see docs/howto/alarm.md. Nothing is said on one look: `PATIENCE` in a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

from isojepa.embeddings.vitals import Spread
from isojepa.theme.findings import Level

State = Literal[
    "healthy", "slow", "complete collapse", "dimensional collapse", "projector collapse",
    "encoder collapse", "lambda far too large", "data fault", "learning rate too high",
]  # fmt: skip
OnCollapse = Literal["stop", "warn", "recover"]
STATES: tuple[State, ...] = State.__args__  # type: ignore[attr-defined]
"""Metrics hold the position in this list."""
COLLAPSES = frozenset(
    {"complete collapse", "dimensional collapse", "projector collapse", "encoder collapse"}
)
PATIENCE = 3
"""Looks in a row that have to say the same."""
KEPT = 5
"""First and last looks that are kept."""

POINT, NARROW = 0.05, 0.6
"""Deviation of projections, where 1 is asked for, below which they are one point, and above which
the regulariser has what it wants. Small runs with too little weight were at 0.08 and above."""
LINE = 1.1
"""Directions in use below which projections lie along one line."""
LOST = 0.35
"""Share of its first directions below which an encoder has lost what it saw."""
FLAT = 1e-4
"""Share of the length that varies, below which an encoder says the same of everything."""
BY_CHANCE = 0.6
"""Disagreement of views from which they hardly belong to one sample: healthy runs end below 0.3,
good weights of SIGReg up to 0.5."""
EXPLODED = 3.0
"""Times its first value that a loss does not rise to in a healthy run."""
MOVED = 0.1
"""Share by which a loss has to have fallen not to be slow."""
REPEATED, CONSTANT = 0.25, 0.1
"""Shares of a batch that are copies of others, or a single value throughout."""
BEGUN = 0.2
"""Share of the training, after its warm-up, from which collapse is told."""
SETTLED = 0.4
"""The same for slowness and for views that do not agree."""


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """One look at a batch."""

    step: int
    loss: float
    lambd: float
    embeddings: Spread | None
    """Of the encoder's output; None where the regulariser acts on that itself."""
    projections: Spread
    """Of what the regulariser acts on."""
    disagreement: float
    """Of the views, or of predictions and what came, over that by chance: see
    `isojepa.embeddings.vitals`."""
    repeated: float = 0.0
    """Share of the batch's samples that equal an earlier one of it."""
    constant: float = 0.0
    """Share that hold one value throughout."""


class Course(NamedTuple):
    """What a run is asked to do."""

    steps: int
    warmup: int
    usual: float
    """Weight that the regulariser has by default."""


class Advice(NamedTuple):
    """What a state is called, and what to do about it."""

    level: Level
    what: str
    remedy: str


ADVICE: dict[State, Advice] = {
    "healthy": Advice("good", "nothing is wrong", ""),
    "slow": Advice("note", "the loss has hardly moved", "raise --lr, or train for more --steps"),
    "complete collapse": Advice(
        "problem",
        "encoder and projector say nearly the same of every sample",
        "give the regulariser more weight (--lambd), or take --regulariser decoupled",
    ),
    "dimensional collapse": Advice(
        "problem",
        "the projections lie along one line",
        "use --regulariser decoupled, a larger --batch-size or a lower --lr",
    ),
    "projector collapse": Advice(
        "problem",
        "the projector says nearly the same of every sample, though the encoder tells them apart",
        "use --regulariser decoupled, or a larger --projector-hidden",
    ),
    "encoder collapse": Advice(
        "problem",
        "the encoder says nearly the same of every sample, though the projector stretches what is "
        "left",
        "lower --lr, or take another --model: its last layer gives almost a constant",
    ),
    "lambda far too large": Advice(
        "warning",
        "the views of a sample agree hardly better than those of different ones",
        "lower --lambd, to a tenth at first",
    ),
    "data fault": Advice(
        "problem",
        "many samples of a batch are copies of each other, or a single value throughout",
        "look at --data: remove copies and empty samples",
    ),
    "learning rate too high": Advice(
        "problem",
        "the loss has risen to a multiple of where it began",
        "lower --lr, to a tenth at first, and start again",
    ),
}
"""Of each state."""


def judge(first: Sequence[Vitals], last: Sequence[Vitals], peak: float, course: Course) -> State:
    """What a run looks like at the last of its looks.

    Args:
        first, last: the first and the last few looks, in order; at least one each.
        peak: the largest loss so far.
    """
    begin, now = first[0], last[-1]
    if max(v.repeated for v in last) > REPEATED or max(v.constant for v in last) > CONSTANT:
        return "data fault"
    progress = (now.step - course.warmup) / max(1, course.steps - course.warmup)
    if not well(now) and peak > EXPLODED * begin.loss:
        return "learning rate too high"
    if progress < BEGUN:
        return "healthy"
    flat = now.embeddings is not None and now.embeddings.share < FLAT
    if now.projections.deviation < POINT:
        return "complete collapse" if flat or _lost(begin, now) else "projector collapse"
    if now.projections.d > 2 and now.projections.dimension < LINE:
        return "dimensional collapse"
    if flat:
        return "encoder collapse"
    return _by_the_curves(first, last, progress, course)


def _lost(begin: Vitals, now: Vitals) -> bool:
    """Whether the encoder tells fewer samples apart than it did, or nothing is known of it."""
    if begin.embeddings is None or now.embeddings is None:
        return True
    return now.embeddings.dimension < LOST * begin.embeddings.dimension


def _by_the_curves(
    first: Sequence[Vitals], last: Sequence[Vitals], progress: float, course: Course
) -> State:
    """Whether a run that has not collapsed goes where it should."""
    now = last[-1]
    if progress < SETTLED:
        return "healthy"
    wide = now.projections.deviation > NARROW
    if wide and now.disagreement > BY_CHANCE and now.lambd > course.usual:
        return "lambda far too large"
    before, after = (median(v.loss for v in some) for some in (first, last))
    apart = now.disagreement > BY_CHANCE and not wide
    long_since = last[0].step > first[-1].step
    return "slow" if apart and long_since and after > (1 - MOVED) * before else "healthy"


def well(vitals: Vitals) -> bool:
    """Whether projections have their scale, several directions and views that agree."""
    projections = vitals.projections
    return (
        0.3 < projections.deviation < 3
        and projections.dimension > LINE
        and vitals.disagreement < BY_CHANCE
    )
