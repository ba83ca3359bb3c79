"""Arrays in memory as sources of each kind of data."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from isojepa.encoders.modalities.modality import Source
from isojepa.encoders.modalities.series.samples import FoundSeries
from isojepa.encoders.modalities.tables.read import FoundRows, Values
from isojepa.encoders.sources.folder import Listing

MEMORY = Path("X")


def _listing(n: int) -> Listing:
    return Listing(MEMORY, [f"sample {i}" for i in range(n)], None, None, None)


def series(x: np.ndarray) -> Source:
    """Of (n, t, c); time steps at the end that are NaN in all channels are beyond a series' end."""
    x = np.asarray(x, np.float32)
    known = np.isfinite(x).any(-1)
    ends = np.where(known.any(1), x.shape[1] - known[:, ::-1].argmax(1), 1)
    values = [row[:end] for row, end in zip(x, ends.tolist())]
    listing = _listing(len(x))
    channels = tuple(f"x{j}" for j in range(x.shape[2]))
    return Source(listing, FoundSeries(listing.names, values, channels))


def table(x: np.ndarray, original: Any = None) -> Source:
    """Of (n, d): columns of numbers, and of categories where they hold anything else.

    Args:
        original: the frame that x was made of; its columns' own types count, if it has such.
    """
    types = list(getattr(original, "dtypes", ())) if hasattr(original, "columns") else []
    listing = _listing(len(x))
    columns: dict[str, Values] = {}
    for j in range(x.shape[1]):
        column = x[:, j]
        if x.dtype.kind in "fiub" and not (types and _is_categorical(types[j])):
            columns[f"x{j}"] = column.astype(np.float64)
            continue
        columns[f"x{j}"] = _numbers_or_texts(column, bool(types) and _is_categorical(types[j]))
    return Source(listing, FoundRows(listing.names, columns))


def _is_categorical(kind: Any) -> bool:
    return str(kind) in {"category", "bool", "string", "str"}


def _numbers_or_texts(column: np.ndarray, categorical: bool) -> Any:
    cells = [None if x is None or x != x else x for x in column.tolist()]
    for cell in cells:
        if not isinstance(cell, str | int | float | bool | None):
            raise TypeError(f"argument must be a string or a number, not {type(cell).__name__}")
    if not categorical and all(not isinstance(x, str) for x in cells):
        numbers = np.array([np.nan if x is None else float(x) for x in cells])
        if np.isinf(numbers).any():
            raise ValueError("Input X contains infinity or a value too large")
        return numbers
    return [None if x is None else str(x) for x in cells]


def white_of(x: np.ndarray) -> float:
    """The value that stands for white: of bytes 255, of others the smallest of 1, 16 (as in
    scikit-learn's digits) and 255 that holds all, else the largest value."""
    if x.dtype == np.uint8:
        return 255.0
    if np.isnan(x).any() or x.min() < 0:
        raise ValueError("images hold values from 0 (black) on, and none that is missing")
    top = float(x.max())
    return next((white for white in (1.0, 16.0, 255.0) if top <= white), top)


def images(x: np.ndarray, white: float) -> Source:
    """Of (n, h, w, c), c 1 or 3."""
    if x.shape[-1] not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels on their last axis, not {x.shape[-1]}")
    bytes_: UInt8[np.ndarray, "n h w c"] = x
    if x.dtype != np.uint8:
        bytes_ = (np.asarray(x, np.float64) / white * 255).round().clip(0, 255).astype(np.uint8)
    return Source(_listing(len(x)), torch.from_numpy(np.ascontiguousarray(bytes_)))
