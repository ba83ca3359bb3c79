"""Which row of a table is which step of which episode; what does not add up is refused by name."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.source import name_list

log = logging.getLogger(__name__)
LENGTH_NAMES = ("ep_len", "episode_lengths", "episode_length")
END_NAMES = ("episode_ends", "meta/episode_ends")
INDEX_NAMES = ("ep_idx", "episode_idx", "episode_index")
OFFSET_NAMES = ("ep_offset", "episode_offsets")
STEP_NAMES = ("step_idx", "frame_index")
FLAG_NAMES = ("terminals", "timeouts", "terminations", "truncations", "dones")
DESCRIPTIONS = {*LENGTH_NAMES, *END_NAMES, *INDEX_NAMES, *OFFSET_NAMES}


class Order(NamedTuple):
    """The rows of a table as episodes: sorted by (episode, step), the episodes one after another.

    n rows, of which some may belong to no episode and are left out; e episodes.
    """

    rows: Int64[np.ndarray, " n"]
    """The stored row of each step."""
    lengths: Int64[np.ndarray, " e"]
    ids: list[int]
    """What the table calls its episodes."""

    def places(self, total: int) -> tuple[np.ndarray, np.ndarray]:
        """Episode and step of each of the `total` stored rows; episode -1 where it has none."""
        episode, step = np.full(total, -1), np.zeros(total, np.int64)
        starts = np.cumsum(self.lengths) - self.lengths
        episode[self.rows] = np.repeat(np.arange(len(self.lengths)), self.lengths)
        step[self.rows] = np.arange(len(self.rows)) - np.repeat(starts, self.lengths)
        return episode, step


def whole_numbers(path: Path, name: str, values: object) -> Int64[np.ndarray, " n"]:
    """A column of whole numbers as a vector, whether stored as integers or not, (n, 1) or (n,).

    Raises:
        UserError: if it has another shape, or a value that is missing or not whole.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.size != max(array.shape, default=1):
        raise UserError(
            f"{shown(path)}: {name!r} is of type {array.dtype} and shape {array.shape}; "
            "expected one whole number per entry"
        )
    flat = array.reshape(-1)
    if flat.dtype.kind == "f":
        wrong = np.flatnonzero(~((flat == np.floor(flat)) & (np.abs(flat) < 2.0**62)))
    else:
        wrong = np.flatnonzero(flat.astype(np.float64) >= 2.0**62)
    if len(wrong):
        what = "missing (NaN)" if np.isnan(flat[wrong[0]]) else f"{flat[wrong[0]]}"
        raise UserError(
            f"{shown(path)}: entry {wrong[0]} of {name!r} is {what}; expected a whole number"
        )
    return flat.astype(np.int64)


def in_order(
    path: Path,
    episode: Int64[np.ndarray, " n"],
    step: Int64[np.ndarray, " n"] | None,
    place: Callable[[int], str] = lambda row: f"row {row}",
) -> Order:
    """Rows sorted by episode and step; without steps, episodes in one piece keep their rows' order.

    Args:
        place: names a row, for messages.

    Raises:
        UserError: for a step that is there twice, a hole, or an episode in several pieces.
    """
    if step is None:
        starts = np.flatnonzero(np.diff(episode, prepend=episode[:1] - 1))
        ids = episode[starts].tolist()
        if len(set(ids)) != len(ids):
            again = next(e for i, e in enumerate(ids) if e in set(ids[:i]))
            raise UserError(
                f"{shown(path)}: the steps of an episode do not follow one another (episode "
                f"{again} comes in several pieces), and no column {STEP_NAMES[0]!r} orders them"
            )
        step = np.arange(len(episode))
    rows = np.lexsort((step, episode))
    of, at = episode[rows], step[rows]
    wrong = np.flatnonzero((np.diff(of) == 0) & (np.diff(at) != 1))
    if len(wrong):
        i = int(wrong[0])
        if at[i] == at[i + 1]:
            why = f"has step {at[i]} twice ({place(int(rows[i]))} and {place(int(rows[i + 1]))})"
        else:
            why = f"has no step {at[i] + 1}: {at[i]} is followed by {at[i + 1]}"
        more = f", and {len(wrong) - 1} more such places" if len(wrong) > 1 else ""
        raise UserError(
            f"{shown(path)}: episode {of[i]} {why}{more}; frames and actions would not fit "
            "together. Mend the table, or leave that episode out"
        )
    ids, lengths = np.unique(of, return_counts=True)
    return Order(rows, lengths.astype(np.int64), ids.tolist())


def episode_order(path: Path, columns: Mapping[str, np.ndarray], total: int) -> Order:
    """The order of `total` rows, from whichever of the known descriptions there is.

    Lengths (and offsets), ends, an index per step, or flags at the last step of an episode; a
    column of steps sorts the rows within each episode.

    Args:
        columns: those named in `DESCRIPTIONS`, `STEP_NAMES` and `FLAG_NAMES`.

    Raises:
        UserError: if nothing tells, or it contradicts itself or the number of rows.
    """
    episode = _episode_of_rows(path, columns, total)
    of_rows = _first(path, columns, INDEX_NAMES)
    step = _first(path, columns, STEP_NAMES)
    for name, values in (of_rows, step):
        if values is not None and len(values) != total:
            raise UserError(f"{shown(path)}: {name!r} has {len(values)} rows of {total}")
    rows = np.flatnonzero(episode >= 0)
    if len(rows) < total:
        log.warning("%s: %d of %d rows belong to no episode", shown(path), total - len(rows), total)
    if of_rows[1] is not None:
        _refuse_contradiction(path, episode[rows], of_rows[1][rows], of_rows[0])
    order = in_order(
        path, episode[rows], None if step[1] is None else step[1][rows], lambda i: f"row {rows[i]}"
    )
    return order._replace(rows=rows[order.rows])


def _first(
    path: Path, columns: Mapping[str, np.ndarray], names: tuple[str, ...]
) -> tuple[str, np.ndarray | None]:
    name = next((name for name in names if name in columns), names[0])
    return name, whole_numbers(path, name, columns[name]) if name in columns else None


def _episode_of_rows(path: Path, columns: Mapping[str, np.ndarray], total: int) -> np.ndarray:
    length_name, lengths = _first(path, columns, LENGTH_NAMES)
    end_name, ends = _first(path, columns, END_NAMES)
    if lengths is not None:
        return _by_lengths(path, length_name, lengths, columns, total)
    if ends is not None:
        return _by_lengths(path, end_name, np.diff(ends, prepend=0), columns, total)
    index = _first(path, columns, INDEX_NAMES)[1]
    if index is not None:
        if (index < 0).any():
            raise UserError(f"{shown(path)}: row {int((index < 0).argmax())} is of episode < 0")
        return index
    flags = [columns[name] for name in FLAG_NAMES if name in columns]
    if not flags:
        raise UserError(
            f"{shown(path)}: nothing tells where episodes end: no column {LENGTH_NAMES[0]!r}, "
            f"{END_NAMES[0]!r}, {INDEX_NAMES[0]!r} or {FLAG_NAMES[0]!r}"
        )
    return _by_flags(path, [name for name in FLAG_NAMES if name in columns], flags, total)


def _by_lengths(
    path: Path, name: str, lengths: np.ndarray, columns: Mapping[str, np.ndarray], total: int
) -> np.ndarray:
    offset_name, starts = _first(path, columns, OFFSET_NAMES)
    if starts is None:
        starts = np.cumsum(lengths) - lengths
    if len(starts) != len(lengths):
        raise UserError(
            f"{shown(path)}: {offset_name!r} has {len(starts)} entries and {name!r} {len(lengths)}"
        )
    if (lengths < 1).any():
        empty = int((lengths < 1).argmax())
        raise UserError(
            f"{shown(path)}: by {name!r}, episode {empty} has {lengths[empty]} steps; "
            "expected at least 1"
        )
    if (starts < 0).any() or (starts + lengths > total).any():
        raise UserError(
            f"{shown(path)}: the episode lengths ask for {int((starts + lengths).max())} frames "
            f"and the file holds {total}; it is damaged, or was cut while being written"
        )
    by_start = np.argsort(starts, kind="stable")
    over = np.flatnonzero(starts[by_start][1:] < (starts + lengths)[by_start][:-1])
    if len(over):
        a, b = sorted(by_start[over[0] : over[0] + 2].tolist())
        raise UserError(
            f"{shown(path)}: by {name!r} and {offset_name!r}, episodes {a} and {b} share rows"
        )
    episode = np.full(total, -1)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    episode[np.repeat(starts, lengths) + within] = np.repeat(np.arange(len(lengths)), lengths)
    return episode


def _by_flags(path: Path, names: list[str], flags: list[np.ndarray], total: int) -> np.ndarray:
    numbers = [whole_numbers(path, name, values) for name, values in zip(names, flags)]
    for name, values in zip(names, numbers):
        if len(values) != total:
            raise UserError(f"{shown(path)}: {name!r} has {len(values)} rows of {total}")
    last = np.any([values != 0 for values in numbers], axis=0)
    if not last.any():
        raise UserError(
            f"{shown(path)}: nothing tells where episodes end: {name_list(names)} mark no row"
        )
    return np.cumsum(last) - last


def _refuse_contradiction(path: Path, episode: np.ndarray, index: np.ndarray, name: str) -> None:
    """Lengths and an index per step must make the same episodes."""
    if not len(episode):
        return
    pairs = np.unique(np.stack([episode, index], 1), axis=0)
    for column in (0, 1):
        value, count = np.unique(pairs[:, column], return_counts=True)
        if (count > 1).any():
            which = value[count > 1][0]
            raise UserError(
                f"{shown(path)}: {name!r} and the episode lengths contradict each other about "
                f"episode {which}"
            )
