"""Frames as they are stored, brought to uint8 (n, y, x, 3): other types, orders of axes, grey."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.pixels.deep import depth, to_byte
from isojepa.world.episodes.formats.source import chunk_length, columns_missing

DEEPEST = 2**16 - 1


@runtime_checkable
class Stored(Protocol):
    """An array on disk: an HDF5 dataset, a member of an .npz file."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __getitem__(self, rows: slice | tuple[()], /) -> np.ndarray: ...


def cameras_of(path: Path, found: Mapping[str, Stored]) -> tuple[list[str], str | None]:
    """Columns of frames, and the main one of them; None where several have equal claims.

    Frames are in `pixels`, else in the only `pixels...`, else in the only column of bytes with
    images, else in the only one of other numbers with one or three channels.
    """
    usable = {k: v for k, v in found.items() if not re.search(r"(^|/)next_[^/]*(/|$)", k)}
    plain = [name for name in ("pixels", "data/pixels") if name in usable]
    views = sorted(name for name in usable if re.match(r"(data/)?pixels($|[._/])", name))
    images = sorted(name for name, item in usable.items() if is_bytes(item))
    others = [] if views or images else sorted(k for k, v in usable.items() if _pictures(v))
    best = plain[:1] or views or images or others
    if not best:
        raise columns_missing(path, "pixels", list(found))
    return sorted({*views, *images, *others}), best[0] if len(best) == 1 else None


def is_bytes(item: Stored) -> bool:
    """Whether a column holds images of bytes."""
    return len(item.shape) == 4 and item.dtype == np.uint8


def _pictures(item: Stored) -> bool:
    channels = {1, 3}
    return (
        len(item.shape) == 4
        and item.dtype.kind in "biuf"
        and (item.shape[-1] in channels or item.shape[1] in channels)
        and min(item.shape[1:]) > 0
        and sorted(item.shape[1:])[1] > 3
    )


def channels_last(path: Path, name: str, item: Stored) -> Callable[[np.ndarray], np.ndarray]:
    """How to bring stored frames to (n, y, x, 3): channels first or last, grey or colour.

    Raises:
        UserError: if they are no frames of one or three channels, one per step.
    """
    shape, why = item.shape[1:], ""
    if item.dtype.kind not in "biuf":
        why = "not numbers: encoded images are read from Lance tables and LeRobot data sets"
    elif 0 in shape:
        why = "frames without pixels"
    elif len(shape) == 2:
        return lambda frames: np.repeat(frames[..., None], 3, -1)
    elif len(shape) == 3:
        if shape[-1] == 3:
            return lambda frames: frames
        if shape[-1] == 1:
            return lambda frames: np.repeat(frames, 3, -1)
        if shape[0] == 3:
            return lambda frames: np.moveaxis(frames, 1, -1)
        if shape[0] == 1:
            return lambda frames: np.repeat(np.moveaxis(frames, 1, -1), 3, -1)
        why = "no axis of one or three channels: store one frame of three per step, no stack"
        if 4 in (shape[0], shape[-1]):
            why = "four channels: store red, green and blue alone"
    elif len(shape) == 4:
        why = "several frames per step: store one per step, no stack"
    raise UserError(
        f"{shown(path)}: {name!r} is of type {item.dtype} and shape {tuple(item.shape)}; "
        f"{why or 'expected (steps, rows, columns, 3)'}"
    )


def stored_size(path: Path, name: str, item: Stored) -> tuple[int, int]:
    """Rows and columns of the frames."""
    one = channels_last(path, name, item)(np.zeros((1, *item.shape[1:]), np.uint8))
    return one.shape[1], one.shape[2]


def to_bytes(path: Path, name: str, parts: Iterable[Stored]) -> Callable[[np.ndarray], np.ndarray]:
    """How to bring pixels of any type to bytes, by one range for the whole data set.

    Fractions in 0 ... 1 or 0 ... 255; integers of up to 16 bits, by the fewest bits that hold all.
    Everything is read once to know, unless it is bytes already.

    Raises:
        UserError: if the values have another range, or are not numbers.
    """
    parts = list(parts)
    kind = parts[0].dtype.kind if parts else "u"
    if all(part.dtype == np.uint8 for part in parts):
        return lambda frames: frames
    low, high = np.inf, -np.inf
    for part in parts:
        for rows in row_blocks(0, part.shape[0], part):
            values = read_column(path, name, part, rows)
            if values.size:
                low, high = min(low, values.min()), max(high, values.max())  # NaN stays NaN
                if np.isnan(values.min()):
                    low = np.nan
                    break
    if not low <= high:
        low, high = (np.nan, np.nan) if np.isnan(low) else (0, 0)
    top = 255 if kind == "f" else DEEPEST
    if not (low >= 0 and high <= top):
        raise UserError(
            f"{shown(path)}: {name!r} is of type {parts[0].dtype} and shape "
            f"{tuple(parts[0].shape)} with "
            + ("values that are no numbers" if np.isnan(low) else f"values {low:g} to {high:g}")
            + f"; expected 0 to 255{', or 0 to 1' if kind == 'f' else f', at most {top}'}"
        )
    if kind == "b" or (kind == "f" and high <= 1):
        return lambda frames: np.rint(frames.astype(np.float32) * 255).astype(np.uint8)
    if high <= 255:
        return lambda frames: np.rint(frames).astype(np.uint8)
    bits = depth(int(high))
    return lambda frames: to_byte(frames.astype(np.int64), bits)


def row_blocks(start: int, stop: int, item: Stored) -> Iterator[slice]:
    """Rows start ... stop in pieces that fit in memory."""
    n = chunk_length(int(np.prod(item.shape[1:], dtype=np.int64)) * max(1, item.dtype.itemsize))
    for first in range(start, stop, n):
        yield slice(first, min(first + n, stop))


def read_column(path: Path, name: str, item: Stored, rows: slice | None = None) -> np.ndarray:
    """Some or all rows of a column.

    Raises:
        UserError: if they cannot be read, with the true reason.
    """

    def error(why: str) -> UserError:
        where = f"{name!r}" if rows is None else f"{name!r}, rows {rows.start} to {rows.stop - 1},"
        if "filter" in why:
            return UserError(
                f"{shown(path)}: {where} is compressed with a filter that is not installed: "
                f"pip install hdf5plugin ({why})"
            )
        return UserError(
            f"{shown(path)}: {where} cannot be read; the file is damaged or truncated ({why})"
        )

    with reading(path, "a column", error):
        return np.asarray(item[()] if rows is None else item[rows])
