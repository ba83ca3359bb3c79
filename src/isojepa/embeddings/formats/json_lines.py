"""JSON, one row a line: an object of columns, or a list that is the row."""

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import pyarrow as pa

from isojepa.boundaries import reading, shown
from isojepa.embeddings.formats.tables import Table
from isojepa.embeddings.formats.text_files import find_encoding, open_text
from isojepa.errors import UserError

ROWS = 4096
"""In a batch."""
BARE = "row"
"""Name of the only column if the lines are lists or numbers."""


def open_json_lines(path: Path) -> Table:
    """The columns are the names that any of the objects has; nested ones as in a.b."""
    with reading(path, "JSON, one row a line"):
        encoding = find_encoding(path)
        names: dict[str, None] = {}
        for row in _rows(path, encoding.codec):
            names.update(dict.fromkeys(row))

    def batches(columns: Sequence[str] | None, _: frozenset[str]) -> Iterator[pa.RecordBatch]:
        wanted = list(names if columns is None else columns)
        rows = _rows(path, encoding.codec)
        while part := list(islice(rows, ROWS)):
            arrays = [_array([row.get(name) for row in part]) for name in wanted]
            yield pa.RecordBatch.from_arrays(arrays, names=wanted)

    notes = (encoding.note,) if encoding.note else ()
    return Table(path=path, names=tuple(names), batches=batches, notes=notes)


def _rows(path: Path, codec: str) -> Iterator[dict[str, object]]:
    with closing(open_text(path, codec)) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{shown(path)}: line {number:,} is no JSON ({error}); one row a line is needed"
                ) from error
            yield _flat(row) if isinstance(row, dict) else {BARE: row}


def _flat(row: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _array(values: list[object]) -> pa.Array:
    """Of what all values are; text if they are of several kinds."""
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        return pa.array(texts, pa.string())
