"""Files that hold series -> series: long and wide tables, lists in cells, arrays, a file each."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from isojepa.boundaries import shown
from isojepa.encoders.modalities.frames import (
    ARRAYS,
    PARQUET,
    TEXT,
    arrays_of,
    as_numbers,
    as_text,
    is_test,
    named,
    read_frame,
    samples_in,
)
from isojepa.encoders.modalities.modality import Columns
from isojepa.encoders.modalities.series.samples import FoundSeries
from isojepa.encoders.sources.layout import read_layout
from isojepa.errors import UserError
from isojepa.progress import Track

Texts = list[str | None]


class Contents(NamedTuple):
    """What a source holds."""

    found: FoundSeries
    labels: Texts
    test: np.ndarray | None = None


def read_file(path: Path, columns: Columns) -> Contents:
    """The series of one file.

    Raises:
        UserError: if it holds none, with the reason.
    """
    if path.suffix.lower() in ARRAYS:
        return from_arrays(arrays_of(path), path)
    frame = read_frame(path)
    one, time, label, split = named(columns, frame.column_names, path)
    listed = [f.name for f in frame.schema if pa.types.is_list(f.type) or _is_long_list(f.type)]
    if listed:
        return from_cells(frame, listed, path, one, label, split)
    if one is not None:
        return from_long(frame, path, one, time, label, split)
    if time is not None:
        raise UserError(
            f"--data {shown(path)}: which column says what series a row belongs to? Give "
            f"--id-column, of {', '.join(map(repr, frame.column_names[:12]))}"
        )
    return from_wide(frame, path, label, split)


def _is_long_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def from_arrays(arrays: dict[str, np.ndarray], path: Path) -> Contents:
    """(n, t, c), or (n, t) of one channel; with y, lengths and channels where there are such."""
    x = samples_in(arrays, path)
    if x.ndim == 2:
        x = x[..., None]
    if x.ndim != 3 or not x.size or x.dtype.kind not in "fiub":
        raise UserError(
            f"{shown(path)}: series are an array of numbers (series, time, channels), and this is "
            f"{x.dtype} {x.shape}"
        )
    n = len(x)
    lengths = arrays.get("lengths", np.full(n, x.shape[1])).astype(int)
    labels = next((arrays[name] for name in ("y", "labels", "label") if name in arrays), None)
    for name, array in (("lengths", lengths), ("labels", labels)):
        if array is not None and len(array) != n:
            raise UserError(f"{shown(path)}: {n} series and {len(array)} {name}")
    channels = tuple(map(str, arrays.get("channels", range(x.shape[2]))))
    values = [row[:length] for row, length in zip(x, lengths.clip(1, x.shape[1]))]
    texts: Texts = [None] * n if labels is None else [str(x) for x in labels.tolist()]
    return Contents(FoundSeries([f"series {i}" for i in range(n)], values, channels), texts)


def from_cells(
    frame: pa.Table, listed: list[str], path: Path, one: str | None, label: str | None,
    split: str | None,
) -> Contents:  # fmt: skip
    """A row a series, its channels lists of numbers in the cells."""
    values = []
    for i, row in enumerate(zip(*(frame[name].to_pylist() for name in listed), strict=True)):
        sizes = {0 if cell is None else len(cell) for cell in row}
        if len(sizes) > 1 or not min(sizes):
            raise UserError(f"{shown(path)}: row {i}: its channels have {sorted(sizes)} time steps")
        values.append(np.array([[np.nan if x is None else x for x in c] for c in row], float).T)
    n = len(values)
    names = [f"row {i}" for i in range(n)] if one is None else _unique(as_text(frame[one]), path)
    labels: Texts = [None] * n if label is None else as_text(frame[label])
    test = None if split is None else is_test(as_text(frame[split]), path)
    return Contents(FoundSeries(names, values, tuple(listed)), labels, test)


def from_long(
    frame: pa.Table, path: Path, one: str, time: str | None, label: str | None, split: str | None
) -> Contents:
    """A row a time step, with a column that says of which series; ordered by time, if there is one.

    Series come in the order in which they begin.
    """
    ids = as_text(frame[one])
    if None in ids:
        raise UserError(f"{shown(path)}: row {ids.index(None)} has no {one!r}")
    number: dict[str | None, int] = {}
    of = np.array([number.setdefault(x, len(number)) for x in ids])
    channels = [name for name in frame.column_names if name not in {one, time, label, split}]
    if not channels:
        raise UserError(f"{shown(path)}: it has no column of values beside {one!r}")
    x = np.stack([as_numbers(frame[name], name, path) for name in channels], 1)
    if time is None:
        order = np.argsort(of, kind="stable")
    else:
        order = np.lexsort((_times(frame[time], time, path), of))
    bounds = np.flatnonzero(np.diff(of[order])) + 1
    rows = np.split(order, bounds)
    names = [str(name) for name in number]
    labels = _constant(None if label is None else as_text(frame[label]), rows, names, label, path)
    splits = _constant(None if split is None else as_text(frame[split]), rows, names, split, path)
    test = None if split is None else is_test(splits, path)
    return Contents(FoundSeries(names, [x[r] for r in rows], tuple(channels)), labels, test)


def from_wide(frame: pa.Table, path: Path, label: str | None, split: str | None) -> Contents:
    """A row a series of one channel, a column a time step; empty cells at the end shorten it."""
    steps = [name for name in frame.column_names if name not in {label, split}]
    x = np.stack([as_numbers(frame[name], name, path) for name in steps], 1)
    n = len(x)
    known = np.isfinite(x)
    ends = np.where(known.any(1), x.shape[1] - known[:, ::-1].argmax(1), 1)
    labels: Texts = [None] * n if label is None else as_text(frame[label])
    test = None if split is None else is_test(as_text(frame[split]), path)
    values = [row[:end, None] for row, end in zip(x, ends)]
    return Contents(FoundSeries([f"row {i}" for i in range(n)], values, ("value",)), labels, test)


def read_folder(root: Path, leave_out: Sequence[Path], columns: Columns, track: Track) -> Contents:
    """A file a series, of the same columns; folders give classes and split, as of images."""
    paths = tables_below(root, leave_out)
    layout = read_layout([str(p.relative_to(root).as_posix()) for p in paths])
    kept = [(p, c) for p, c, keep in zip(paths, layout.classes, layout.keep) if keep]
    found: list[np.ndarray] = []
    channels: tuple[str, ...] = ()
    for path, _ in track(iter(kept), len(kept), "reading series"):
        frame = read_frame(path)
        _, time, label, split = named(columns, frame.column_names, path)
        own = tuple(x for x in frame.column_names if x not in {time, label, split})
        channels = channels or own
        if set(own) != set(channels):
            odd = min(set(own) ^ set(channels))
            raise UserError(f"{shown(path)}: the column {odd!r} is not in all files")
        x = np.stack([as_numbers(frame[name], name, path) for name in channels], 1)
        found.append(
            x if time is None else x[np.argsort(_times(frame[time], time, path), kind="stable")]
        )
    test = None if layout.test is None else layout.test[layout.keep]
    names = [p.relative_to(root).as_posix() for p, _ in kept]
    return Contents(FoundSeries(names, found, channels), [c for _, c in kept], test)


def tables_below(root: Path, leave_out: Sequence[Path] = ()) -> list[Path]:
    """The tables below a folder, sorted; nothing hidden, and no folder of a run."""
    left_out = {path.resolve() for path in leave_out}
    found = []
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        if path.suffix.lower() not in TEXT | PARQUET or any(p.startswith(".") for p in inside):
            continue
        if path.is_file() and not left_out & {path.resolve(), *path.resolve().parents}:
            found.append(path)
    return found


def _times(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    kind = column.type
    if pa.types.is_temporal(kind):
        return np.asarray(column.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False))
    if pa.types.is_string(kind):
        raise UserError(
            f"{shown(path)}: the column {name!r} holds text: write times as numbers or as "
            "2026-01-31 12:00:00"
        )
    return as_numbers(column, name, path)


def _constant(
    texts: Texts | None, rows: list[np.ndarray], names: list[str], column: str | None, path: Path
) -> Texts:
    """What a column says of each series."""
    if texts is None:
        return [None] * len(rows)
    said: Texts = []
    for name, of in zip(names, rows):
        words = {texts[i] for i in of.tolist()} - {None}
        if len(words) > 1:
            raise UserError(
                f"{shown(path)}: series {name!r} has {len(words)} values of {column!r}: it has to "
                "be one for a series"
            )
        said.append(next(iter(words), None))
    return said


def _unique(ids: Texts, path: Path) -> list[str]:
    names = [f"row {i}" if x is None else x for i, x in enumerate(ids)]
    if len(set(names)) < len(names):
        twice = next(x for x in names if names.count(x) > 1)
        raise UserError(f"{shown(path)}: two rows are called {twice!r}")
    return names
