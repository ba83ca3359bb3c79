"""A table of labels as people have them -> a label for each file, and what was odd about it."""

import csv
import gzip
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import reading, shown
from isojepa.data.listing import image_endings
from isojepa.errors import UserError

PATH_WORDS = {
    "path", "file", "filename", "filepath", "image", "imagepath", "imagename", "imagefile",
    "imagefilename", "imageid", "imgpath", "imgname", "imgid", "img", "id", "name", "fname",
    "photo", "picture", "filenames", "files", "images", "relpath", "uri",
}  # fmt: skip
LABEL_WORDS = {
    "label", "labels", "class", "classes", "classname", "classid", "classlabel", "classindex",
    "target", "targets", "category", "categoryname", "categoryid", "labelname", "labelid", "y",
    "species", "breed", "diagnosis", "group", "tag", "gt", "groundtruth",
}  # fmt: skip
NOTHING = {"", "nan", "na", "n/a", "#n/a", "<na>", "null"}
"""Cells that programs write where there is no label, in lower case."""
DELIMITERS = ("\t", ";", "|", ",", " ")
SAMPLE = 1000  # rows by which separator, columns and spelling of the paths are chosen
FEW = 3


class Row(NamedTuple):
    """One row of a table with its true line number."""

    line: int
    cells: list[str]


class LabelTable(NamedTuple):
    """The label of each file."""

    labels: list[str | None]
    """One for each name, None where the table gives none."""
    notes: list[str]
    """What a user should know of the table, a line each."""


def read_label_table(path: Path, names: list[str], root: Path = Path()) -> LabelTable:
    """Read a label for each file from a table: .csv, .tsv, .txt, the same with .gz, or .parquet.

    The separator, the columns and the way in which paths are written are those under which most
    rows name a file: relative to the data folder, absolute, from further up or down, without
    ending, with backslashes.

    Args:
        names: the files, relative to the data folder, with forward slashes.
        root: the data folder, for messages.

    Raises:
        UserError: if the table is no such table, names a file twice with different labels, or
            most of its rows name no file.
    """
    if not path.is_file():
        raise UserError(f"--labels {shown(path)}: no such file")
    where = f"--labels {shown(path)}"
    files = _Files(names)
    rows = _rows(path, where, files)
    columns = _columns(rows, where, files)
    body = rows[columns.header :]
    labels: list[str | None] = [None] * len(names)
    lines: dict[int, int] = {}
    spelling = files.spelling([row.cells[columns.path] for row in _sample(body)])
    unknown: list[Row] = []
    for row in body:
        if len(row.cells) <= max(columns.path, columns.label):
            raise UserError(
                f"{where}, line {row.line}: {len(row.cells)} columns where {columns.width} are "
                "expected"
            )
        i = files.find(row.cells[columns.path], spelling)
        if i is None:
            unknown.append(row)
            continue
        label = _label(row.cells[columns.label])
        if label is not None and labels[i] is not None and labels[i] != label:
            raise UserError(
                f"{where}, lines {lines[i]} and {row.line}: '{shown(names[i])}' is "
                f"{labels[i]!r} and then {label!r}; keep one of them"
            )
        if label is not None:
            labels[i] = label
            lines.setdefault(i, row.line)
    notes = list(_unmatched(where, body, unknown, columns, files, root))
    _check_labels(where, [x for x in labels if x is not None])
    notes += _remarks(where, labels, body, columns)
    return LabelTable(labels, notes)


# Text and rows


def _rows(path: Path, where: str, files: "_Files") -> list[Row]:
    if path.suffix.lower() in {".parquet", ".pq"}:
        return _parquet(path)
    text = _text(path, where)
    lines = [line for line in text.splitlines()[:SAMPLE] if line.strip() and line[0] != "#"]
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
            raise UserError(
                f"{where}, line {row.line}: {len(row.cells)} columns where the first line has "
                f"{width}; put labels that hold a {delimiter!r} in quotes"
            )
    return rows


def _delimiter(lines: list[str], files: "_Files") -> str:
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


def _parse(text: str, delimiter: str, where: str) -> Iterator[Row]:
    source = io.StringIO(text, newline="")
    reader = csv.reader(source, delimiter=delimiter, skipinitialspace=True)
    line = 1
    try:
        for cells in reader:
            is_comment = cells and cells[0].startswith("#")
            if any(cell.strip() for cell in cells) and not is_comment:
                while delimiter == " " and not cells[-1]:
                    cells.pop()
                yield Row(line, cells)
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{where}, line {line}: not a readable row ({error})") from error


def _text(path: Path, where: str) -> str:
    """The file's text, unpacked; bytes of names that are no UTF-8 become as in names of files."""
    with reading(path, "a table of labels"):
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
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


def _parquet(path: Path) -> list[Row]:
    import pyarrow.parquet as pq

    with reading(path, "a Parquet table"):
        table = pq.read_table(path)
        columns = [column.to_pylist() for column in table.columns]
    cells = zip(*(["" if x is None else str(x) for x in column] for column in columns), strict=True)
    rows = [Row(number, list(row)) for number, row in enumerate(cells, 2)]
    return [Row(1, list(table.column_names)), *rows]


def _sample(rows: list[Row]) -> list[Row]:
    return rows[:: max(1, len(rows) // SAMPLE)]


# Which columns


class _Columns(NamedTuple):
    path: int
    label: int
    width: int
    header: int
    """Lines that name the columns: 0 or 1."""


def _columns(rows: list[Row], where: str, files: "_Files") -> _Columns:
    first = [cell.strip() for cell in rows[0].cells]
    words = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in first]
    sample = _sample(rows)
    shares = files.shares([[row.cells[c] for row in sample] for c in range(len(first))])
    path = max(range(len(first)), key=lambda c: (shares[c], -c))
    if not _is_header(rows[0], words, sample, path, shares[path], files):
        if len(first) > 2:
            raise UserError(
                f"{where}, line {rows[0].line}: {len(first)} columns and no header; name the "
                "columns, path and label among them, in the first line"
            )
        return _Columns(path, 1 - path, 2, 0)
    named = [c for c in range(len(first)) if words[c] in PATH_WORDS]
    if named and not (shares[path] > 0 and all(shares[c] == 0 for c in named)):
        path = max(named, key=lambda c: (shares[c], -c))
    others = [c for c in range(len(first)) if c != path and first[c]]
    named = [c for c in others if words[c] in LABEL_WORDS]
    exact = [c for c in named if words[c] == "label"]
    if len(others) == 1:
        named = others
    chosen = exact if len(exact) == 1 else named
    if len(chosen) != 1:
        what = ", ".join(repr(first[c]) for c in (named or others))
        raise UserError(
            f"{where}, line {rows[0].line}: which column holds the label is not clear ({what}); "
            "name that one 'label'"
        )
    return _Columns(path, chosen[0], len(first), 1)


def _is_header(
    first: Row, words: list[str], sample: list[Row], path: int, share: float, files: "_Files"
) -> bool:
    """Whether the first line names the columns, by known words or since it alone names no file."""
    if any(files.is_exactly(cell) for cell in first.cells):
        return False
    if any(word in PATH_WORDS or word in LABEL_WORDS for word in words):
        return True
    others = [c for c in range(len(words)) if c != path]
    later = {row.cells[c].strip() for row in sample[1:] for c in others}
    is_new = not any(first.cells[c].strip() in later for c in others)
    way = files.spelling([row.cells[path] for row in sample])
    return len(sample) > 2 and share > 0.5 and is_new and files.find(first.cells[path], way) is None


# Which file a cell means


class _Spelling(NamedTuple):
    """A way in which a table writes paths."""

    above: int
    """Folders at the beginning that the table has and the listing has not."""
    base: bool
    """Only the last part counts, of names in the listing too."""
    stem: bool
    """Without the ending."""
    fold: bool
    """Whatever the letter case."""


AS_LISTED = _Spelling(0, False, False, False)
BY_BASE = _Spelling(0, True, False, False)


class _Files:
    """Look-up of files by the ways in which tables write them."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._index: dict[tuple[bool, bool, bool], dict[str, int]] = {}

    def index(self, spelling: _Spelling) -> dict[str, int]:
        """Position by key; -1 for a key that several files have."""
        kind = spelling[1:]
        if kind not in self._index:
            index: dict[str, int] = {}
            for i, name in enumerate(self.names):
                key = _key(name, spelling._replace(above=0))
                index[key] = -1 if key in index else i
            self._index[kind] = index
        return self._index[kind]

    def is_exactly(self, cell: str) -> bool:
        return _clean(cell) in self.index(AS_LISTED)

    def find(self, cell: str, spelling: _Spelling) -> int | None:
        i = self.index(spelling).get(_key(_clean(cell), spelling), -1)
        return None if i < 0 else i

    def is_ambiguous(self, cell: str, spelling: _Spelling) -> bool:
        return self.index(spelling).get(_key(_clean(cell), spelling)) == -1

    def spelling(self, cells: list[str]) -> _Spelling:
        """The strictest of the ways under which most of the cells name a file."""
        best, most = AS_LISTED, 0
        for way in _ways(cells):
            count = self._count(cells, way)
            if count > most:
                best, most = way, count
            if most >= 0.9 * len(cells):
                break
        return best

    def shares(self, columns: list[list[str]]) -> list[float]:
        """The share of each column's cells that name a file, under the strictest way that fits."""
        columns = [cells[:: max(1, len(cells) // 100)] for cells in columns]
        counts = [0] * len(columns)
        for way in _ways([cell for cells in columns for cell in cells]):
            for k, cells in enumerate(columns):
                counts[k] = max(counts[k], self._count(cells, way))
            # One cell is that of a header; what only looser ways find need not be looked for
            if any(n and n >= 0.9 * len(x) - 1 for n, x in zip(counts, columns, strict=True)):
                break
        return [n / max(1, len(cells)) for n, cells in zip(counts, columns, strict=True)]

    def _count(self, cells: list[str], way: _Spelling) -> int:
        return sum(self.find(cell, way) is not None for cell in cells)


def _ways(cells: list[str]) -> Iterator[_Spelling]:
    """Ways to write paths, the strictest first."""
    deepest = max((_clean(cell).count("/") for cell in cells), default=0)
    for fold in (False, True):
        for stem in (False, True):
            for above in range(deepest + 1):
                yield _Spelling(above, False, stem, fold)
            yield _Spelling(0, True, stem, fold)


def _clean(cell: str) -> str:
    """A cell as a path with forward slashes, without ./ and blanks around it."""
    cell = cell.strip()
    if "\\" in cell:
        cell = re.sub(r"^[A-Za-z]:", "", cell).replace("\\", "/")
    while "./" in cell and (cell.startswith("./") or "/./" in cell):
        cell = cell.removeprefix("./").replace("/./", "/")
    return re.sub("/{2,}", "/", cell).lstrip("/") if "/" in cell else cell


def _key(path: str, spelling: _Spelling) -> str:
    if spelling.above:
        path = path.split("/", spelling.above)[-1]
    if spelling.base:
        path = path.rpartition("/")[2]
    if spelling.stem:
        stem, dot, end = path.rpartition(".")
        path = stem if dot and f".{end.lower()}" in image_endings() else path
    return path.casefold() if spelling.fold else path


# What was odd


def _label(cell: str) -> str | None:
    label = cell.strip()
    return None if label.lower() in NOTHING else label


def _unmatched(
    where: str,
    body: list[Row],
    unknown: list[Row],
    columns: _Columns,
    files: _Files,
    root: Path,
) -> Iterator[str]:
    if not unknown:
        return
    first = ", ".join(f"'{shown(r.cells[columns.path].strip())}'" for r in unknown[:FEW])
    base = [r for r in unknown if files.is_ambiguous(r.cells[columns.path], BY_BASE)]
    why = f"paths are relative to --data {shown(root)}"
    if base:
        why = f"{len(base)} of them are the names of several files: give paths from --data on"
    message = (
        f"{where}: {len(unknown)} of {len(body)} paths are not in the data folder, the first "
        f"{'is' if len(unknown) == 1 else 'are'} {first} (line {unknown[0].line}); {why}"
    )
    if 2 * len(unknown) > len(body):
        raise UserError(message)
    yield message


def _check_labels(where: str, labels: list[str]) -> None:
    distinct = set(labels)
    for label in distinct:
        if any("\udc80" <= c <= "\udcff" for c in label):
            raise UserError(
                f"{where}: the label '{shown(label)}' is not in UTF-8; save it as UTF-8"
            )
        if not label.isprintable():
            raise UserError(f"{where}: the label '{shown(label)}' holds control characters")
    values = [x for x in map(_number, distinct) if x is not None]
    is_real = len(values) == len(distinct) and any(x != round(x) for x in values if abs(x) < 1e15)
    if is_real and len(distinct) > 2 and (len(distinct) > 20 or len(distinct) == len(labels)):
        raise UserError(
            f"{where}: the labels are real numbers, {len(distinct)} different ones of "
            f"{len(labels)}, and no classes; put them into classes first"
        )


def _remarks(
    where: str, labels: list[str | None], body: list[Row], columns: _Columns
) -> Iterator[str]:
    given = {x for x in labels if x is not None}
    if not given:
        yield f"{where}: there is no label in it, so there are no scores"
    cells = [row.cells[columns.label].strip() for row in body]
    empty = [cell for cell in cells if cell.lower() in NOTHING]
    if empty:
        words = sorted({cell for cell in empty if cell})
        what = "blank" + (f" or {', '.join(words)}" if words else "")
        yield f"{where}: {len(empty)} labels are {what}: these images are unlabelled"
    alike: dict[str, set[str]] = {}
    for label in given:
        value = _number(label)
        key = str(value) if value is not None else " ".join(label.casefold().split())
        alike.setdefault(key, set()).add(label)
    for same in sorted(sorted(x) for x in alike.values() if len(x) > 1):
        yield f"{where}: {' and '.join(map(repr, same))} are taken for {len(same)} classes"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
