"""What came out of measuring surprise: surprise.json, its tests and the table on the screen."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, UInt8
from rich.table import Table
from scipy.stats import wilcoxon

from isojepa.runs.folder import Provenance
from isojepa.runs.typed import Inline
from isojepa.theme.wording import fixed
from isojepa.world.analysis.events import EVENTS, Window

LEVEL = 0.01  # p-value at which a frame counts as noticed
KEPT = 200  # points of a ROC curve


@dataclass(frozen=True)
class UsualAndTested:
    """How many clips or episodes taught what is usual, and how many were tested."""

    usual: int
    tested: int


@dataclass(frozen=True, kw_only=True)
class UsualErrors:
    """Errors at frames of episodes left alone; quantiles in units of the median."""

    errors: int
    median: float
    quantile_95: float
    quantile_99: float


@dataclass(frozen=True, kw_only=True)
class Jump:
    """How far a teleport leads."""

    median: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Quartiles of the surprise at each frame, in units of the usual median."""

    low: tuple[float | None, ...]
    median: tuple[float | None, ...]
    high: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class EventResult:
    """What one kind of event did to the surprise."""

    what: str
    auc: float
    """Chance that the event surprises more than a frame of a normal episode; 0.5 is blindness."""
    noticed: float
    """Share of the events with p below 0.01."""
    p_before: float | None
    """Wilcoxon, one-sided: more surprised at the event than before it in the same clip."""
    p_unchanged: float | None
    """Wilcoxon, one-sided: more than at the same frame of the same clip left alone."""
    times_usual: float
    """Median error at the event, in units of the usual median."""
    trace: Trace
    roc: tuple[tuple[float, ...], tuple[float, ...]]
    """Shares of normal frames and of events above each threshold."""


@dataclass(frozen=True, kw_only=True)
class SurpriseResult:
    """What surprise.json holds."""

    environment: str | None = None
    data: str = ""
    unseen: bool = True
    """Whether the model has never seen the episodes."""
    episodes: UsualAndTested
    clips: UsualAndTested
    frames: int
    """Of a clip; `event` and `first` count them from 0, see `Window`."""
    event: int
    first: int
    usual: UsualErrors
    jump: Jump
    conditions: dict[str, EventResult]
    """By kind of event, see `EVENTS`."""
    seed: int = 0
    provenance: Inline[Provenance]


class EventArrays(NamedTuple):
    """Of one kind of event."""

    frames: UInt8[np.ndarray, "k t y x c"]
    """Of examples."""
    trace: Float[np.ndarray, "k t"]
    """Their surprise."""
    event: Float[np.ndarray, " n"]
    """Surprise of all clips at the event."""


class SurpriseArrays(NamedTuple):
    """What surprise.npz holds; surprise in units of the usual median."""

    null: Float[np.ndarray, " m"]
    """Usual errors."""
    jump: Float[np.ndarray, " n"]
    frames_unchanged: UInt8[np.ndarray, "k t y x c"]
    trace_unchanged: Float[np.ndarray, "k t"]
    event_unchanged: Float[np.ndarray, " n"]
    frames_teleport: UInt8[np.ndarray, "k t y x c"]
    trace_teleport: Float[np.ndarray, "k t"]
    event_teleport: Float[np.ndarray, " n"]
    frames_colour: UInt8[np.ndarray, "k t y x c"]
    trace_colour: Float[np.ndarray, "k t"]
    event_colour: Float[np.ndarray, " n"]

    @property
    def events(self) -> dict[str, EventArrays]:
        """The arrays by kind of event."""
        parts = self[2:]
        return {name: EventArrays(*parts[3 * i : 3 * i + 3]) for i, name in enumerate(EVENTS)}


def event_result(
    name: str,
    traces: Float64[np.ndarray, "n t"],
    unchanged: Float64[np.ndarray, "n t"],
    null: Float64[np.ndarray, " m"],
    window: Window,
    episode: Int64[np.ndarray, " n"],
) -> EventResult:
    """Compare the surprise at the event with what is usual, and with the same clip elsewhere.

    Clips of one episode are alike: the paired tests are between means of episodes.
    """
    event = traces[:, window.event]
    auc, roc = roc_curve(null, event)
    before = traces[:, window.first : window.event].mean(1)
    left_alone = event - unchanged[:, window.event]
    low, median, high = (
        tuple(None if np.isnan(v) else float(v) for v in np.quantile(traces, q, axis=0))
        for q in (0.25, 0.5, 0.75)
    )
    usual_above, events_above = roc.round(5).tolist()
    return EventResult(
        what=EVENTS[name],
        auc=auc,
        noticed=float((p_values(null, event) < LEVEL).mean()),
        p_before=paired_p_value(event - before, episode),
        p_unchanged=paired_p_value(left_alone, episode) if np.any(left_alone) else None,
        times_usual=float(np.median(event)),
        trace=Trace(low=low, median=median, high=high),
        roc=(tuple(usual_above), tuple(events_above)),
    )


def p_values(
    null: Float64[np.ndarray, " m"], values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Share of the usual errors that are as large; never 0, since the null is a sample."""
    above = len(null) - np.searchsorted(np.sort(null), values, side="left")
    return (1 + above) / (1 + len(null))


def roc_curve(
    null: Float64[np.ndarray, " m"], values: Float64[np.ndarray, " n"]
) -> tuple[float, Float64[np.ndarray, "two k"]]:
    """Area under the ROC curve, ties counted half, and the curve."""
    thresholds = np.unique(np.concatenate([null, values]))[::-1]
    shares = [
        np.r_[0.0, 1 - np.searchsorted(np.sort(x), thresholds, side="left") / len(x)]
        for x in (null, values)
    ]
    area = float(np.trapezoid(shares[1], shares[0]))
    kept = np.unique(np.linspace(0, len(thresholds), KEPT).round().astype(int))
    return area, np.stack(shares)[:, kept]


def paired_p_value(difference: Float64[np.ndarray, " n"], group: Int64[np.ndarray, " n"]) -> float:
    """One-sided p of Wilcoxon's signed-rank test on the groups' mean differences."""
    _, place = np.unique(group, return_inverse=True)
    means = np.bincount(place, difference) / np.bincount(place)
    return float(wilcoxon(means, alternative="greater").pvalue) if np.any(means) else 1.0


def surprise_table(result: SurpriseResult) -> Table:
    """One row per kind of event, for the screen."""
    table = Table(
        title=f"surprise at {result.clips.tested} events in {result.episodes.tested} "
        f"{'held-out' if result.unseen else 'training'} episodes"
    )
    table.add_column("event")
    for name in ("times usual", "AUC", "noticed, p < .01", "p, against before", "p, left alone"):
        table.add_column(name, justify="right")
    for name, one in result.conditions.items():
        chances = ("" if p is None else f"{p:.2g}" for p in (one.p_before, one.p_unchanged))
        noticed = f"{100 * one.noticed:.0f} %"
        table.add_row(name, fixed(one.times_usual, 1), fixed(one.auc), noticed, *chances)
    return table
