"""Tables' reading: a file of rows, and how one encoder sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.boundaries import shown
from isojepa.encoders.modalities import frames
from isojepa.encoders.modalities.drawing import cell_pictures
from isojepa.encoders.modalities.modality import (
    Choices,
    Columns,
    Given,
    Place,
    Reading,
    Source,
    Words,
)
from isojepa.encoders.modalities.named import check_recipe
from isojepa.encoders.modalities.tables.network import DEFAULT, TableSpec
from isojepa.encoders.modalities.tables.rows import Column, Rows, TableSet, column_kinds, encoded
from isojepa.encoders.modalities.tables.views import NAMED
from isojepa.encoders.sources.inputs import single
from isojepa.encoders.sources.notes import warn_once
from isojepa.errors import UserError
from isojepa.progress import Track
from isojepa.runs.record import CONFIG
from isojepa.runs.typed import from_json

MOST_CATEGORIES = 100
Values = np.ndarray | list[str | None]
"""A column: numbers, or names of categories."""


class FoundRows(NamedTuple):
    """Rows as they were found."""

    names: list[str]
    columns: dict[str, Values]


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """How rows are read for one encoder."""

    table: tuple[Column, ...]


class TableReading(Reading):
    """Rows of a file."""

    WORDS = Words("row", "rows", "rows", "raw")

    def recognises(self, path: Path, _columns: Columns) -> bool:
        """A table that holds no paths, or an array of two axes."""
        ending = path.suffix.lower()
        if not path.is_file():
            return False
        if ending in frames.ARRAYS:
            found = frames.shape_of(path)
            return found is not None and len(found[0]) == 2
        schema = frames.schema_of(path)
        return schema is not None and not any(
            pa.types.is_nested(f.type) or pa.types.is_binary(f.type) for f in schema
        )

    def find(self, place: Place, _track: Track) -> Source:
        """The rows of a file, all in memory."""
        path = single(place.data, "a table is one file")
        if not path.is_file():
            raise UserError(
                f"--data {shown(path)}: {'a folder' if path.is_dir() else 'no such file'}"
            )
        if path.suffix.lower() in frames.ARRAYS:
            found, words, test = _of_arrays(frames.arrays_of(path), path)
        else:
            found, words, test = _of_frame(frames.read_frame(path), place.columns, path)
        cells = (np.asarray(column, object) for column in found.columns.values())
        prints = map(frames.cells_fingerprint, zip(*cells))
        return Source(frames.list_samples(place, found.names, words, test, prints), found)

    def choose(self, given: Given) -> tuple[Choices, TableForm]:
        """Settle the columns and the network."""
        config, source, stored, *_, tell = given
        recipe = config.recipe or "table"
        check_recipe(recipe, NAMED, "tables")
        choices = Choices(
            model=config.model or DEFAULT,
            projector_hidden=config.projector_hidden or 256,
            recipe=recipe,
            global_views=config.global_views or 4,
            local_views=config.local_views or 0,
            lr=config.lr or 2e-3,
        )
        if stored is not None:
            return choices, from_json(TableForm, stored.data, config.out / CONFIG)
        return choices, TableForm(table=settled_columns(source.contents, tell))

    def form_of(self, spec: TableSpec) -> TableForm:
        """How a trained encoder's rows are read."""
        return TableForm(table=tuple(spec.table))

    def read(self, source: Source, form: TableForm, _track: Track) -> TableSet:
        """The rows with the encoder's columns.

        Raises:
            UserError: if a column is missing, or holds text where the encoder knows numbers.
        """
        found: FoundRows = source.contents
        place = {name: i for i, name in enumerate(found.names)}
        rows = np.array([place[name] for name in source.listing.names])
        root, notes = shown(source.listing.root), []
        numeric, categorical = column_kinds(form.table)
        numbers = np.full((len(rows), len(numeric)), np.nan)
        indices = np.full((len(rows), len(categorical)), -1)
        for column in form.table:
            if column.name not in found.columns:
                raise UserError(
                    f"--data {root}: it has no column {column.name!r}, which the encoder reads"
                )
            values = found.columns[column.name]
            if column.categories is None:
                if not isinstance(values, np.ndarray):
                    raise UserError(f"--data {root}: the column {column.name!r} holds text now")
                numbers[:, numeric.index(column)] = values[rows]
                continue
            number: dict[object, int] = {name: i for i, name in enumerate(column.categories)}
            words = [values[i] for i in rows.tolist()]
            words = [None if x is None or x != x else _word(x) for x in words]
            indices[:, categorical.index(column)] = [number.get(x, -1) for x in words]
            new = {x for x in words if x is not None} - set(column.categories)
            if new:
                notes.append(f"the column {column.name!r} has new categories, taken for missing")
        numbers[~np.isfinite(numbers)] = np.nan
        return TableSet(
            listing=source.listing,
            columns=form.table,
            numbers=torch.from_numpy(numbers.astype(np.float32)),
            categories=torch.from_numpy(indices.astype(np.int64)),
            held_out=np.zeros(len(rows), bool),
            notes=notes,
        )

    def recorded(self, data: TableSet) -> dict[str, Any]:
        """The columns."""
        return {"table": [list(column) for column in data.columns]}

    def raw(self, data: TableSet, indices: np.ndarray) -> Float[np.ndarray, "n d"]:
        """Standardised numbers and one-hot categories; the mean where missing."""
        mean, std = data.statistics(np.flatnonzero(~data.held_out).tolist())
        return encoded(data.read(indices.tolist()), data.columns, mean, std).numpy()

    def pictures(self, data: TableSet, indices: Tensor) -> UInt8[np.ndarray, "n h w c"]:
        """Each row as a square of cells."""
        mean, std = data.statistics(range(len(data)))
        rows: Rows = data.read(indices)
        return cell_pictures(encoded(rows, data.columns, mean, std).numpy(), 48)


def _of_arrays(
    arrays: dict[str, np.ndarray], path: Path
) -> tuple[FoundRows, list[str | None], np.ndarray | None]:
    x = frames.samples_in(arrays, path)
    if x.ndim != 2 or not x.size or x.dtype.kind not in "fiub":
        raise UserError(f"{shown(path)}: a table is an array of numbers (rows, columns)")
    labels = next((arrays[name] for name in ("y", "labels", "label") if name in arrays), None)
    if labels is not None and len(labels) != len(x):
        raise UserError(f"{shown(path)}: {len(x)} rows and {len(labels)} labels")
    names = map(str, arrays.get("columns", range(x.shape[1])))
    columns: dict[str, Values] = {name: x[:, j].astype(float) for j, name in enumerate(names)}
    words: list[str | None] = [None] * len(x) if labels is None else [str(y) for y in labels]
    return FoundRows([f"row {i}" for i in range(len(x))], columns), words, None


def _of_frame(
    frame: pa.Table, columns: Columns, path: Path
) -> tuple[FoundRows, list[str | None], np.ndarray | None]:
    one, _, label, split = frames.named(columns, frame.column_names, path)
    kept: dict[str, Values] = {}
    for name in (x for x in frame.column_names if x not in {one, label, split}):
        column = frame[name]
        if pa.types.is_temporal(column.type):
            warn_once(path, f"the column {name!r} holds times and is left out")
        elif _is_text(column.type):
            kept[name] = frames.as_text(column.cast(pa.string()))
        else:
            kept[name] = frames.as_numbers(column, name, path)
    if not kept:
        raise UserError(f"--data {shown(path)}: it has no column to learn from")
    n = frame.num_rows
    own = [None] * n if one is None else frames.as_text(frame[one])
    names = [f"row {i}" if x is None else x for i, x in enumerate(own)]
    if len(set(names)) < n:
        names = [f"{name} (row {i})" for i, name in enumerate(names)]
    words: list[str | None] = [None] * n if label is None else frames.as_text(frame[label])
    test = None if split is None else frames.is_test(frames.as_text(frame[split]), path)
    return FoundRows(names, kept), words, test


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)
    )


def settled_columns(found: FoundRows, tell: Callable[[str], object]) -> tuple[Column, ...]:
    """The columns that can be learnt from, with their categories; others are told of."""
    columns = []
    for name, values in found.columns.items():
        if isinstance(values, np.ndarray):
            if not np.isfinite(values).any():
                tell(f"the column {name!r} holds no value and is left out")
                continue
            columns.append(Column(name, None))
            continue
        categories = sorted({x for x in values if x is not None})
        if not categories:
            tell(f"the column {name!r} holds no value and is left out")
        elif len(categories) > MOST_CATEGORIES:
            tell(
                f"the column {name!r} has {len(categories)} different texts, more than "
                f"{MOST_CATEGORIES}, and is left out"
            )
        else:
            columns.append(Column(name, tuple(categories)))
    if not columns:
        raise UserError("--data: no column of the table can be learnt from")
    return tuple(columns)


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


READING = TableReading()
