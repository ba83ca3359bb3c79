"""A table of labels as people have them -> a label for each file, and what was odd about it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import contents, shown
from isojepa.encoders.sources.listing import quoted
from isojepa.encoders.sources.table_paths import BY_BASE, FileIndex, overlooked
from isojepa.encoders.sources.table_rows import LabelRow, evenly_sampled, read_label_rows
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
FEW = 3


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
    where, what = f"--labels {shown(path)}", contents(path)
    if what is not None and path.stat().st_size:
        raise UserError(f"{where}: {what}")
    files = FileIndex(names)
    rows = read_label_rows(path, where, files)
    columns = _columns(rows, where, files)
    body = rows[columns.header :]
    labels: list[str | None] = [None] * len(names)
    lines: dict[int, int] = {}
    cells = [row.cells[columns.path] for row in evenly_sampled(body)]
    spelling = files.spelling(cells)
    find = files.finder(spelling)
    unknown: list[LabelRow] = []
    for row in body:
        i = find(row.cells[columns.path])
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
    notes = [f"{where}: {how}" for how in overlooked(spelling, cells, names)]
    notes += _unmatched(where, body, unknown, columns, files, root)
    _check_labels(where, [x for x in labels if x is not None])
    notes += _remarks(where, labels, body, columns)
    return LabelTable(labels, notes)


# Which columns


class _Columns(NamedTuple):
    path: int
    label: int
    width: int
    header: int
    """Lines that name the columns: 0 or 1."""


def _columns(rows: list[LabelRow], where: str, files: FileIndex) -> _Columns:
    first = [cell.strip() for cell in rows[0].cells]
    words = [re.sub(r"[^a-z0-9]", "", cell.lower()) for cell in first]
    sample = evenly_sampled(rows)
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
    first: LabelRow,
    words: list[str],
    sample: list[LabelRow],
    path: int,
    share: float,
    files: FileIndex,
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


# What was odd


def _label(cell: str) -> str | None:
    label = cell.strip()
    return None if len(label) < 5 and label.lower() in NOTHING else label


def _unmatched(
    where: str,
    body: list[LabelRow],
    unknown: list[LabelRow],
    columns: _Columns,
    files: FileIndex,
    root: Path,
) -> Iterator[str]:
    if not unknown:
        return
    first = quoted([r.cells[columns.path].strip() for r in unknown][:FEW])
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
    where: str, labels: list[str | None], body: list[LabelRow], columns: _Columns
) -> Iterator[str]:
    given = {x for x in labels if x is not None}
    if not given:
        yield f"{where}: there is no label in it, so there are no scores"
    cells = (row.cells[columns.label] for row in body)
    empty = [cell.strip() for cell in cells if _label(cell) is None]
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
