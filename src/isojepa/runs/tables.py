"""Tables of names of files, such as skipped.tsv: any name may be a cell."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from isojepa.boundaries import reading
from isojepa.files import write_atomically


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table of tab-separated text, whole or not at all; any name of a file may be a cell.

    Tabs, line breaks and backslashes are written \\t, \\n, \\r and \\\\, bytes that are not UTF-8
    as \\xNN; `read_rows` turns them back.
    """
    lines = ("\t".join(map(_escaped, row)) for row in (columns, *rows))
    write_atomically(path, "\n".join(lines) + "\n")


def read_rows(path: Path) -> list[list[str]]:
    """The rows that `write_rows` wrote, without the line of column names; [] without a file.

    Raises:
        UserError: if the file cannot be read.
    """
    if not path.is_file():
        return []
    with reading(path, "a table of this program"), path.open(encoding="utf-8", newline="") as file:
        lines = file.read().split("\n")[1:]
    return [[_unescaped(cell) for cell in line.split("\t")] for line in lines if line]


ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
ESCAPES |= {chr(0xDC00 + byte): f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
ESCAPED = re.compile(r"\\(?:[\\tnr]|x[89a-f][0-9a-f])")
UNESCAPES = {escaped: character for character, escaped in ESCAPES.items()}
TABLE = str.maketrans(ESCAPES)


def _escaped(cell: str) -> str:
    return cell.translate(TABLE)


def _unescaped(cell: str) -> str:
    return ESCAPED.sub(lambda found: UNESCAPES[found[0]], cell) if "\\" in cell else cell


def write_skipped(place: Path, skipped: Iterable[tuple[str, str]]) -> Path:
    """Write the files left out, and why; returns the table's path.

    Args:
        place: a run's folder, for its skipped.tsv; or a file, for one beside it that has the
            file's name with .skipped.tsv for its ending.
    """
    path = place / "skipped.tsv" if place.is_dir() else place.with_suffix(".skipped.tsv")
    rows = [(name, " ".join(reason.split())) for name, reason in skipped]
    write_rows(path, ("path", "reason"), rows)
    return path


def read_skipped(run: Path) -> list[tuple[str, str]]:
    """The files that skipped.tsv of a run names, and why they were left out."""
    return [(row[0], " ".join(row[1:])) for row in read_rows(run / "skipped.tsv")]
