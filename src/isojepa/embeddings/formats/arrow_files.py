"""Parquet and Feather (Arrow) files, read as a stream."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from isojepa.boundaries import reading
from isojepa.embeddings.formats.aliases import utf8_name
from isojepa.embeddings.formats.tables import Table

ROWS = 2**16
"""In a batch."""


def open_parquet(path: Path) -> Table:
    """The columns of a .parquet file; nothing but its schema is read yet."""
    with reading(path, "a .parquet file"):
        schema = pq.read_schema(utf8_name(path))

    def batches(columns: Sequence[str] | None, _: frozenset[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(utf8_name(path)) as file:
            wanted = None if columns is None else list(columns)
            # Wide rows in smaller batches, so that memory does not grow with the file.
            rows = max(64, min(ROWS, 2**25 // max(1, 8 * file.metadata.num_columns)))
            for batch in file.iter_batches(rows, columns=wanted, use_threads=False):
                batch.validate(full=True)
                yield batch

    return Table(path=path, names=tuple(schema.names), batches=batches)


def open_feather(path: Path) -> Table:
    """The columns of a .feather or .arrow file, memory-mapped; also of Arrow's stream format."""
    with reading(path, "a Feather file"):
        names = tuple(_schema(path).names)

    def batches(columns: Sequence[str] | None, _: frozenset[str]) -> Iterator[pa.RecordBatch]:
        for batch in _arrow_batches(path):
            batch.validate(full=True)
            yield batch if columns is None else batch.select(list(columns))

    return Table(path=path, names=names, batches=batches)


def _schema(path: Path) -> pa.Schema:
    return next(_arrow_parts(path))


def _arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    parts = _arrow_parts(path)
    next(parts)
    yield from parts


def _arrow_parts(path: Path) -> Iterator[pa.Schema | pa.RecordBatch]:
    """The schema, then the batches."""
    with path.open("rb") as file:
        start = file.read(6)
    if start.startswith(b"FEA1"):  # a damaged one ends the whole process in Arrow's reader
        raise ValueError("it is of Feather's version 1, out of use since 2020; write it again")
    with pa.memory_map(utf8_name(path)) as source:
        if start == b"ARROW1":
            with pa.ipc.open_file(source) as file:
                yield file.schema
                yield from (file.get_batch(i) for i in range(file.num_record_batches))
            return
        with pa.ipc.open_stream(source) as stream:
            yield stream.schema
            yield from stream
