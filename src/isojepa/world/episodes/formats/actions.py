"""Actions of a data set: which frames each lies between, decided once, and what looks wrong."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.source import EpisodeSource, name_list

log = logging.getLogger(__name__)
Alignment = Literal["next", "previous"]
"""Whether row t's action leads from frame t to the next, or led from the previous to frame t."""
FAR = 100.0  # times the width that holds nine tenths, beyond which an action is called an outlier
FEW = 32  # different whole numbers up to which one action dimension looks like choices


def aligned_actions(
    source: EpisodeSource,
    path: Path,
    lengths: Int64[np.ndarray, " e"],
    alignment: Alignment | None = None,
) -> tuple[Float32[np.ndarray, "n a"], Alignment | None]:
    """Actions as (n, a), each leading from its frame to the next, NaN at most at the last step.

    Recorders put NaN where an episode's first frame was reached by no action. Where that is so in
    all episodes, rows hold the action that led to their frame, and move up by one; it is one
    decision for the whole data set.

    Args:
        path: the data set, for messages.
        alignment: by default what the NaN tell, and `next` where there are none.

    Returns:
        The actions and how they were stored; without actions, (n, 0) and None.

    Raises:
        UserError: if they are of another number than the frames, not numbers, NaN elsewhere than
            at first or last steps, or NaN at the first step of some episodes and not of others.
    """
    name, total = shown(path), int(lengths.sum())
    stored = source.columns.get("action")
    if stored is None:
        return np.zeros((total, 0), np.float32), None
    if len(stored) != total:
        raise UserError(f"{name}: {len(stored)} actions and {total} frames")
    with np.errstate(over="ignore"):  # what float32 cannot hold is refused below
        actions = np.array(stored, np.float32).reshape(total, -1)
    bad = np.logical_not(np.isfinite(actions).all(1))
    found = alignment or _decide(source, name, bad, lengths)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    _refuse_others(source, name, bad, starts, ends, found)
    if found == "previous":
        actions[:-1] = actions[1:]
        actions[ends - 1] = np.nan
    return actions, found


def _decide(
    source: EpisodeSource, name: str, bad: Bool[np.ndarray, " n"], lengths: np.ndarray
) -> Alignment:
    ends = np.cumsum(lengths)
    long = np.flatnonzero(lengths > 1)
    first, last = bad[(ends - lengths)[long]], bad[ends[long] - 1]
    if not first.any():
        return "next"
    if (first & last).any():
        both = source.named(int(long[(first & last).argmax()]))
        raise UserError(
            f"{name}: the action is not a finite number at the first and at the last step of "
            f"{both}; one of the two leads from a frame to a frame and is missing"
        )
    if not first.all():
        raise UserError(
            f"{name}: the first action is not a number in {_several(source, long[first])}, and is "
            f"one in {_several(source, long[~first])}: two conventions in one data set. Write NaN "
            "at the first step of all episodes (actions that led to their frame) or at the last"
        )
    return "previous"


def _several(source: EpisodeSource, episodes: np.ndarray) -> str:
    names = [source.named(int(e)).removeprefix("episode ") for e in episodes[:50]]
    more = len(episodes) - len(names)
    return f"episode{'s' if len(episodes) > 1 else ''} {name_list(names)}" + (
        f" and {more} beyond" if more else ""
    )


def _refuse_others(
    source: EpisodeSource,
    name: str,
    bad: Bool[np.ndarray, " n"],
    starts: np.ndarray,
    ends: np.ndarray,
    alignment: Alignment,
) -> None:
    spared = starts if alignment == "previous" else ends - 1
    bad = bad.copy()
    bad[spared] = False
    places = np.flatnonzero(bad)
    if len(places):
        e = int(np.searchsorted(ends, places[0], side="right"))
        more = f" and at {len(places) - 1} other steps" if len(places) > 1 else ""
        where = "first" if alignment == "previous" else "last"
        raise UserError(
            f"{name}: the action is not a finite number in {source.named(e)} at step "
            f"{places[0] - starts[e]}{more}; only the {where} step of an episode may be NaN here"
        )


def log_actions(
    source: EpisodeSource,
    path: Path,
    actions: Float32[np.ndarray, "n a"],
    lengths: Int64[np.ndarray, " e"],
    alignment: Alignment | None,
) -> None:
    """Log how actions were taken, and what about them would surprise."""
    if alignment is None or not actions.size:
        return
    how = {
        "next": "each leads from its frame to the next",
        "previous": "each led to its frame and is moved up by one",
    }[alignment]
    log.info("%s: %d actions of %d numbers; %s", shown(path), *actions.shape, how)
    stored = np.asarray(source.columns["action"])
    if _choices(stored.reshape(len(stored), -1)):
        log.warning(
            "%s: the actions are whole numbers from %g to %g; they are taken for one real number "
            "each. If they name choices, store them one-hot",
            shown(path),
            np.nanmin(stored),
            np.nanmax(stored),
        )
    for words in outlying_actions(source, actions, lengths):
        log.warning("%s: %s", shown(path), words)


def _choices(stored: np.ndarray) -> bool:
    if stored.shape[1] != 1:
        return False
    values = stored[np.isfinite(stored)] if stored.dtype.kind == "f" else stored.reshape(-1)
    if not len(values) or values.min() < 0 or (values != np.floor(values)).any():
        return False
    different = len(np.unique(values))
    return bool(1 < different <= FEW and (stored.dtype.kind != "f" or values.max() < FEW))


def outlying_actions(
    source: EpisodeSource, actions: Float32[np.ndarray, "n a"], lengths: Int64[np.ndarray, " e"]
) -> list[str]:
    """Actions far beyond the rest, a line per dimension: one sets the scale for all others."""
    ends = np.cumsum(lengths)
    lines = []
    for d, values in enumerate(actions.T.astype(np.float64)):
        known = values[np.isfinite(values)]
        if not len(known):
            continue
        low, middle, high = np.quantile(known, [0.05, 0.5, 0.95])
        width = (high - low) or abs(middle) or 1.0
        with np.errstate(invalid="ignore"):
            far = np.flatnonzero(np.abs(values - middle) > FAR * width)
        if len(far):
            row = int(far[np.abs(values[far] - middle).argmax()])
            e = int(np.searchsorted(ends, row, side="right"))
            more = f" (and {len(far) - 1} more like it)" if len(far) > 1 else ""
            lines.append(
                f"action dimension {d} is {values[row]:g} in {source.named(e)} at step "
                f"{row - ends[e] + lengths[e]}{more}, where nine tenths lie between {low:g} and "
                f"{high:g}: it sets the scale of all others. Is it a fault of the recording?"
            )
    return lines
