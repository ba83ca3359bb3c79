"""A table's text, of whatever encoding and separator, in rows with their line numbers."""

import csv
import gzip
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import reading
from isojepa.encoders.sources.table_paths import FileIndex
from isojepa.errors import UserError
from isojepa.files import refuse_bomb

DELIMITERS = ("\t", ";", "|", ",", " ")
LARGEST = 10**9  # bytes of a packed table once it is unpacked
CELL = 64  # bytes of a cell as text
SAMPLE = 1000  # rows by which separator, columns and spelling of the paths are chosen


class LabelRow(NamedTuple):
    """One row of a table with its true line number."""

    line: int
    cells: list[str]


def read_label_rows(path: Path, where: str, files: FileIndex) -> list[LabelRow]:
    """The rows of a label table, whatever its separator and header."""
    if path.suffix.lower() in {".parquet", ".pq"}:
        return _parquet(path)
    text = _text(path, where)
    start = itertools.islice(io.StringIO(text, newline=None), SAMPLE)
    lines = [line.rstrip("\r\n") for line in start if line.strip() and line[0] != "#"]
    if not lines:
        raise UserError(f"{where}, line 1: nothing in it; expected the columns path and label")
    delimiter = _delimiter(lines, files)
    rows = list(_parse(text, delimiter, where))
    width = len(rows[0].cells)
    if width < 2:
        raise UserError(f"{where}, line {rows[0].line}: expected two columns, path and label")
    for row in rows:
        while len(row.cells) > width and not row.cells[-1].strip():
            row.cells.pop()
        if len(row.cells) != width:
            several = "s" if len(row.cells) != 1 else ""
            raise UserError(
                f"{where}, line {row.line}: {len(row.cells)} column{several} where the first line "
                f"has {width}; put labels that hold a {delimiter!r} in quotes"
            )
    return rows


def _delimiter(lines: list[str], files: FileIndex) -> str:
    """The separator under which most rows name a file; else that which gives even rows."""
    columns: list[list[str]] = []
    owners: list[str] = []
    even: dict[str, float] = {}
    for delimiter in DELIMITERS:
        try:
            rows = [row.cells for row in _parse("\n".join(lines), delimiter, "")]
        except UserError:
            continue
        widths = [len(cells) for cells in rows]
        even[delimiter] = widths.count(widths[0]) / len(rows) if widths and widths[0] > 1 else 0.0
        for c in range(min(max(widths, default=0), 12)) if max(widths, default=0) > 1 else ():
            columns.append([row[c] for row in rows if len(row) > c])
            owners.append(delimiter)
    shares = files.shares(columns)
    if max(shares, default=0.0) > 0:
        return owners[max(range(len(shares)), key=lambda k: (shares[k], even[owners[k]]))]
    return max(even, key=lambda d: even[d], default=",")


def _parse(text: str, delimiter: str, where: str) -> Iterator[LabelRow]:
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=delimiter, skipinitialspace=True)
    line = 1
    try:
        for cells in reader:
            if cells and cells[0][:1] != "#" and any(map(str.strip, cells)):
                while delimiter == " " and not cells[-1]:
                    cells.pop()
                yield LabelRow(line, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{where}, line {line}: not a readable row ({error})") from error


def _text(path: Path, where: str) -> str:
    """The file's text, unpacked; bytes of names that are no UTF-8 become as in names of files."""
    with reading(path, "a table of labels"):
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            with gzip.open(path) as file:
                content = file.read(LARGEST + 1)
            if len(content) > LARGEST:
                raise ValueError("more than a gigabyte of text unpacked: an archive bomb?")
    known = {b"PK\x03\x04": "a spreadsheet or an archive", b"\xd0\xcf\x11\xe0": "a spreadsheet"}
    for start, what in known.items():
        if content.startswith(start):
            raise UserError(f"{where}: {what}; save it as .csv, in UTF-8")
    with reading(path, "text in UTF-8 or UTF-16"):
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        if content[1:2] == b"\0" or content[:1] == b"\0":
            return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be")
        return content.decode("utf-8-sig", errors="surrogateescape")


def _parquet(path: Path) -> list[LabelRow]:
    import pyarrow.parquet as pq

    with reading(path, "a Parquet table"):
        about = pq.read_metadata(path)
        refuse_bomb(CELL * about.num_rows * about.num_columns, "the table")
        table = pq.read_table(path)
        columns = [column.to_pylist() for column in table.columns]
    cells = zip(*(["" if x is None else str(x) for x in column] for column in columns), strict=True)
    rows = [LabelRow(number, list(row)) for number, row in enumerate(cells, 2)]
    return [LabelRow(1, list(table.column_names)), *rows]


def evenly_sampled(rows: list[LabelRow]) -> list[LabelRow]:
    """Some of the rows, evenly spread."""
    return rows[:: max(1, len(rows) // SAMPLE)]
