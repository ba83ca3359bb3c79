"""Columns of .csv and .parquet files, read as a stream."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from isojepa.diagnosis.choosing import few, match_columns
from isojepa.diagnosis.samples import Samples, check_shape
from isojepa.errors import UserError


def open_csv(path: Path, patterns: tuple[str, ...]) -> Samples:
    """One sample a line, with or without a header; the lines are counted first.

    Text is left out, and so are whole numbers beside real ones, which are indices or classes.
    A cell without a number makes its row not finite.
    """
    parse, names = _dialect(path)
    options = csv.ReadOptions(
        column_names=None if names is None else names, block_size=2**24, use_threads=False
    )
    try:
        schema = csv.open_csv(path, read_options=options, parse_options=parse).schema
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a table ({_first_line(error)})") from error
    chosen, notes = _choose(path, schema, patterns)
    convert = csv.ConvertOptions(
        include_columns=chosen, column_types=dict.fromkeys(chosen, pa.float64())
    )

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from csv.open_csv(path, options, parse, convert)
        except pa.ArrowInvalid as error:
            raise UserError(f"{path}: {_first_line(error)}") from error

    def read(rows: int) -> Iterator[np.ndarray]:
        for batch in batches():
            for start in range(0, batch.num_rows, rows):
                yield _from_columns(batch.slice(start, rows))

    n = sum(batch.num_rows for batch in batches())
    fields = check_shape(path.name, (n, len(chosen)), np.dtype(np.float64))
    named_columns = () if names is not None else tuple(chosen)
    return Samples(
        name=path.name, read=read, **(fields | {"columns": named_columns, "notes": notes})
    )


def open_parquet(path: Path, patterns: tuple[str, ...]) -> Samples:
    """Columns of numbers, or one column of lists of equal length, as `isojepa embed` writes."""
    try:
        schema, n = pq.read_schema(path), pq.read_metadata(path).num_rows
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a .parquet file, or damaged ({error})") from error
    names = match_columns(path, schema.names, patterns) if patterns else schema.names
    lists = [name for name in names if _is_list_of_numbers(schema.field(name).type)]
    if len(lists) > 1:
        raise UserError(f"{path}: several columns of lists, choose one with --columns: {lists}")
    chosen, notes = (lists, ()) if lists else _choose(path, schema, patterns)

    def read(rows: int) -> Iterator[np.ndarray]:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(rows, columns=chosen, use_threads=False):
                yield _from_lists(path, batch.column(0)) if lists else _from_columns(batch)

    if not lists:
        kinds = [schema.field(name).type.to_pandas_dtype() for name in chosen]
        fields = check_shape(path.name, (n, len(chosen)), np.result_type(*kinds))
        columns = tuple(chosen)
        return Samples(
            name=path.name,
            read=read,
            **(fields | {"columns": columns, "notes": notes + fields["notes"]}),
        )
    first = next(read(1), np.empty((0, 0)))
    fields = check_shape(path.name, (n, first.shape[1]), first.dtype)
    if len(names) > 1:
        fields["notes"] = (f"The lists in column {lists[0]} are the samples.", *fields["notes"])
    return Samples(name=path.name, read=read, **fields)


def _choose(
    path: Path, schema: pa.Schema, patterns: tuple[str, ...]
) -> tuple[list[str], tuple[str, ...]]:
    """The columns of numbers to read, and what is said about the others."""
    numbers = {f.name for f in schema if pa.types.is_integer(f.type) or _is_real(f.type)}
    if patterns:
        asked = match_columns(path, schema.names, patterns)
        text = [name for name in asked if name not in numbers]
        if text:
            raise UserError(f"--columns: {few(text)} of {path} holds no numbers")
        return asked, ()
    real = [f.name for f in schema if _is_real(f.type)]
    chosen = real or [name for name in schema.names if name in numbers]
    if not chosen:
        raise UserError(f"{path}: no column of numbers among {few(schema.names)}")
    others = [name for name in schema.names if name not in chosen]
    if not others:
        return chosen, ()
    why = "neither text nor whole numbers beside real ones are coordinates; --columns overrides"
    return chosen, (f"Left out: {few(others)} ({why}).",)


def _dialect(path: Path) -> tuple[csv.ParseOptions, list[str] | None]:
    """Delimiter, and the names c0, c1, ... if the first line is already a sample."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline().rstrip("\r\n")
    if not first.strip():
        raise UserError(f"{path}: the first line is empty")
    delimiter = max(",;\t", key=first.count)
    cells = [cell.strip().strip('"') for cell in first.split(delimiter)]
    if delimiter not in first and len(first.split()) > 1:
        raise UserError(f"{path}: cells must be separated by commas, semicolons or tabs")
    has_header = not any(map(_is_number, cells)) or _counts_up(cells)
    if has_header and len(set(cells)) < len(cells):
        raise UserError(f"{path}: two columns of its header share a name")
    names = None if has_header else [f"column {i}" for i in range(len(cells))]
    return csv.ParseOptions(delimiter=delimiter), names


def _counts_up(cells: Sequence[str]) -> bool:
    """Whether this is the header 0, 1, 2, ... that pandas gives to nameless columns."""
    cells = cells[1:] if cells[0] == "" else cells
    return len(cells) > 1 and list(cells) == [str(i) for i in range(len(cells))]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_real(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return (is_list or pa.types.is_fixed_size_list(kind)) and _is_real(kind.value_type)


def _from_columns(batch: pa.RecordBatch) -> np.ndarray:
    to_numpy = partial(pa.Array.to_numpy, zero_copy_only=False)
    return np.stack([to_numpy(column) for column in batch.columns], axis=1)


def _from_lists(path: Path, column: pa.Array) -> np.ndarray:
    flat = column.flatten().to_numpy(zero_copy_only=False)
    if pa.types.is_fixed_size_list(column.type):
        lengths = {None if column.null_count else column.type.list_size}
    else:
        lengths = set(column.value_lengths().unique().to_pylist())
    if len(lengths) != 1 or None in lengths:
        raise UserError(f"{path}: lists of different lengths, or none, where all must be equal")
    return flat.reshape(len(column), -1)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
