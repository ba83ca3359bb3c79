"""Tables of text, .csv and its relatives, read as a stream by Arrow."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from isojepa.embeddings.formats.aliases import utf8_name
from isojepa.embeddings.formats.cells import MISSING
from isojepa.embeddings.formats.dialect import COMMENTS, Dialect, find_dialect
from isojepa.embeddings.formats.tables import Table
from isojepa.embeddings.formats.text_files import PACKED, Utf8

BLOCK = 2**24
"""Bytes read at once."""


def open_delimited(path: Path) -> Table:
    """Find out how a table of text is written."""
    dialect = find_dialect(path)

    def batches(columns: Sequence[str] | None, clean: frozenset[str]) -> Iterator[pa.RecordBatch]:
        return _batches(path, dialect, columns or dialect.names, clean)

    return Table(
        path=path,
        names=dialect.names,
        named=dialect.named,
        comma=dialect.comma,
        batches=batches,
        notes=dialect.notes,
    )


def _batches(
    path: Path, dialect: Dialect, columns: Sequence[str], clean: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    """Columns of text; of numbers at once where every cell is known to be one."""
    read = csv.ReadOptions(
        column_names=list(dialect.names),
        skip_rows=dialect.skip,
        block_size=BLOCK,
        use_threads=False,
    )
    parse = csv.ParseOptions(
        delimiter=dialect.separator,
        newlines_in_values=dialect.quotes,
        invalid_row_handler=_skip_comment,
    )
    kinds: Mapping[str, pa.DataType] = {
        name: pa.float64() if name in clean else pa.string() for name in columns
    }
    convert = csv.ConvertOptions(
        include_columns=list(columns),
        column_types=kinds,
        null_values=list(MISSING),
        strings_can_be_null=False,
        decimal_point="," if dialect.comma else ".",
    )
    plain = dialect.codec == "utf-8-sig" and not dialect.squeeze
    if plain and path.suffix.lower() not in PACKED:
        yield from csv.open_csv(utf8_name(path), read, parse, convert)
        return
    with Utf8(path, dialect.codec, dialect.squeeze) as file:
        yield from csv.open_csv(pa.PythonFile(file, mode="r"), read, parse, convert)


def _skip_comment(row: csv.InvalidRow) -> str:
    return "skip" if row.text.lstrip().startswith(COMMENTS) else "error"
