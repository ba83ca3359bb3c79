"""Files of columns, CSV or Parquet or NumPy's, for the modalities that are kept in such."""

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from isojepa.boundaries import reading, shown
from isojepa.encoders.modalities.modality import Columns, Place
from isojepa.encoders.sources.folder import Listing, indexed, with_label_table
from isojepa.encoders.sources.inputs import as_sources
from isojepa.encoders.sources.notes import warn_once
from isojepa.encoders.sources.roles import WORDS
from isojepa.errors import UserError
from isojepa.files import load_arrays, refuse_bomb
from isojepa.runs.arrays import ArrayHeader, read_array_header

A = TypeVar("A")

TEXT, PARQUET, ARRAYS = {".csv", ".tsv"}, {".parquet", ".pq"}, {".npy", ".npz"}
IDS = ("id", "series_id", "sample_id", "case_id", "unique_id", "series", "sample", "case")
TIMES = ("time", "timestamp", "datetime", "date", "ds", "t", "step", "time_index")
LABELS = ("label", "class", "target", "y")
SPLITS = ("split",)
PATHS = ("path", "file", "file_name", "filename", "image", "img")


def read_frame(path: Path) -> pa.Table:
    """A CSV or Parquet file.

    Raises:
        UserError: if it is none, or empty.
    """
    with reading(path, "a table"):
        if path.suffix.lower() in PARQUET:
            about = pq.read_metadata(path)  # runs of equal cells take no room in the file
            refuse_bomb(8 * about.num_rows * about.num_columns, "the table")
            frame = pq.read_table(path)
        else:
            frame = pyarrow.csv.read_csv(path, parse_options=_dialect(path))
        names = frame.column_names  # decoded only now
    if not frame.num_rows or not frame.num_columns:
        raise UserError(f"{shown(path)}: the table holds no rows")
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"{shown(path)}: two columns are named {min(twice)!r}; rename one")
    return frame


def schema_of(path: Path) -> pa.Schema | None:
    """The columns of a CSV or Parquet file, by its first rows; None where there are none, or one
    of them holds paths."""
    ending = path.suffix.lower()
    if ending not in TEXT | PARQUET:
        return None
    try:
        with reading(path, "a table"):
            if ending in PARQUET:
                schema = pq.read_schema(path)
            else:
                with pyarrow.csv.open_csv(path, parse_options=_dialect(path)) as batches:
                    schema = batches.schema
            names = {name.lower() for name in schema.names}  # decoded only now
    except UserError:
        return None
    return None if names & set(PATHS) else schema


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by their names; of an .npy file the one, as x.

    Raises:
        UserError: if it cannot be read, or holds pickled objects.
    """
    with reading(path, "arrays"):
        found = load_arrays(path)
        if isinstance(found, np.ndarray):
            return {"x": found}
        with found:
            arrays = {name.lower(): found[name] for name in found.files}
        other = next((name for name, x in arrays.items() if not isinstance(x, np.ndarray)), None)
        if other is not None:
            raise ValueError(f"its member {other!r} is no array")
        return arrays


def samples_in(arrays: dict[str, A], path: Path) -> A:
    """The array of samples among those of a file."""
    named = [arrays[name] for name in ("x", "values", "data", "series") if name in arrays]
    if not named:
        names = ", ".join(map(repr, arrays)) or "none"
        raise UserError(f"{shown(path)}: it needs an array named x, and has {names}")
    return named[0]


def _headers(path: Path) -> dict[str, Any]:
    """What has the shapes and types of a file's arrays, without reading these."""
    if not zipfile.is_zipfile(path):
        return {"x": np.load(path, mmap_mode="r", allow_pickle=False)}
    with zipfile.ZipFile(path) as archive:
        named = {name.removesuffix(".npy").lower(): name for name in archive.namelist()}
        return {name: _header(archive, member) for name, member in named.items()}


def _header(archive: zipfile.ZipFile, member: str) -> ArrayHeader:
    with archive.open(member) as file:
        return read_array_header(file)


def shape_of(path: Path) -> tuple[tuple[int, ...], np.dtype] | None:
    """Shape and type of the samples of an .npy or .npz file; None if there are none."""
    try:
        with reading(path, "arrays"):
            array = samples_in(_headers(path), path)
    except UserError:
        return None
    return array.shape, array.dtype


def named(
    columns: Columns, names: Sequence[str], path: Path
) -> tuple[str | None, str | None, str | None, str | None]:
    """The columns of identity, time, label and split: those said, or those named as usual.

    Raises:
        UserError: for a column that was said and is not there.
    """
    for option, name in zip(("id", "time", "label"), columns):
        if name is not None and name not in names:
            known = ", ".join(map(repr, list(names)[:12]))
            raise UserError(f"--{option}-column {name}: {shown(path)} has the columns {known}")
    usual = (_usual(names, words) for words in (IDS, TIMES, LABELS, SPLITS))
    found = [said or own for said, own in zip((*columns, None), usual)]
    return found[0], found[1], found[2], found[3]


def _usual(names: Iterable[str], words: Iterable[str]) -> str | None:
    lower = {name.lower(): name for name in reversed(list(names))}
    return next((lower[word] for word in words if word in lower), None)


def as_text(column: pa.ChunkedArray) -> list[str | None]:
    """A column of names, None where it is empty; whole numbers without a point."""
    values = column.to_pylist()
    whole = all(x is None or (isinstance(x, float) and x.is_integer()) for x in values)
    if whole and pa.types.is_floating(column.type):
        values = [None if x is None else int(x) for x in values]
    return [None if x is None or x == "" or x != x else str(x) for x in values]


def as_numbers(column: pa.ChunkedArray, name: str, path: Path) -> np.ndarray:
    """A column as float64, NaN where it is empty.

    Raises:
        UserError: if it holds something else.
    """
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise UserError(
            f"{shown(path)}: the column {name!r} holds {kind}, not numbers; leave it out"
        )
    return np.array(column.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def is_test(splits: Sequence[str | None], path: Path) -> np.ndarray:
    """Which samples a column of train and test marks as test.

    Raises:
        UserError: for another word.
    """
    parts = [WORDS.get((x or "").strip().casefold()) for x in splits]
    other = next((x for x, part in zip(splits, parts) if part not in ("train", "test")), None)
    if other is not None or not set(parts) <= {"train", "test"}:
        raise UserError(f"{shown(path)}: the column of splits says {other!r}: use train and test")
    return np.array([part == "test" for part in parts])


def _dialect(path: Path) -> pyarrow.csv.ParseOptions:
    """What separates the columns of a text file, by its first line."""
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return pyarrow.csv.ParseOptions(delimiter=max(",;\t", key=first.count))


def cells_fingerprint(cells: Iterable[object]) -> int:
    """64 bits of a hash of a row; never 0."""
    return _hash_of("\x1f".join("" if x is None or x != x else str(x) for x in cells).encode())


def numbers_fingerprint(values: np.ndarray) -> int:
    """64 bits of a hash of a sample's numbers; never 0."""
    rounded = np.ascontiguousarray(values, np.float32) + np.float32(0)  # no negative zero
    return _hash_of(str(rounded.shape).encode() + rounded.tobytes())


def _hash_of(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big") or 1


def list_samples(
    place: Place,
    names: list[str],
    classes: Sequence[str | None],
    test: np.ndarray | None,
    prints: Iterable[int],
) -> Listing:
    """The listing of samples: names, classes, split and fingerprints; its notes are told."""
    (root,), marks = as_sources(place.data), np.array([*prints], np.uint64)
    listing = Listing(root, names, *indexed(list(classes)), test, prints=marks)
    listing = listing if place.labels is None else with_label_table(listing, place.labels)
    for note in listing.notes:
        warn_once(root, note)
    return listing
