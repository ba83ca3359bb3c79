"""How a table of text is written: encoding, separator, decimal sign, and where its rows begin."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import reading, shown
from isojepa.embeddings.formats.cells import COMMA_NUMBER, SAYS_NONE, is_number_text, is_vector_text
from isojepa.embeddings.formats.header import is_header, named_columns
from isojepa.embeddings.formats.text_files import find_encoding, open_text, squeezed
from isojepa.errors import UserError

LOOKED_AT = 2**21
"""Characters from which the separator and the header are found."""
LINES = 300
SEPARATORS = ("\t", ";", ",", "|", " ")
"""The first of those that fit equally well is taken."""
COMMENTS = ("#", "%")
WHOLE_DECIMALS = re.compile(r"[+-]?0\d+|-0")
"""A whole number as nobody writes one: what a decimal comma leaves between two commas."""


class Dialect(NamedTuple):
    """What it takes to read a table of text."""

    codec: str
    separator: str
    comma: bool
    """Whether numbers have decimal commas."""
    names: tuple[str, ...]
    named: bool
    """Whether the names are the file's own."""
    skip: int
    """Lines before the first row."""
    quotes: bool
    """Whether cells may be quoted, with line ends in them."""
    notes: tuple[str, ...]

    @property
    def squeeze(self) -> bool:
        """Whether any number of spaces separate two cells."""
        return self.separator == " "


class Lines(NamedTuple):
    """Rows of cells, and the numbers of the lines before and after each."""

    rows: list[list[str]]
    starts: list[int]
    ends: list[int]


def find_dialect(path: Path) -> Dialect:
    """Look at the beginning of a file.

    Raises:
        UserError: if it is empty, or no separator makes a table of it.
    """
    with reading(path, "a table"):
        encoding = find_encoding(path)
        with open_text(path, encoding.codec) as file:
            text = file.read(LOOKED_AT)
    cut = len(text) == LOOKED_AT
    lines = text.split("\n")
    lines = lines[:-1] if cut and len(lines) > 1 else lines
    skip, comment, said = _skip_comments(lines)
    body = lines[skip:]
    if not any(line.strip() for line in body):
        raise UserError(f"{shown(path)}: holds no rows")
    separator, comma = _find_separator(path, body, said)
    found = _split(path, body, separator)
    width = Counter(map(len, found.rows[1:] or found.rows)).most_common(1)[0][0]
    header, body_rows = found.rows[0], [row for row in found.rows[1:] if len(row) == width]
    has_header = is_header(header, body_rows, comma)
    if not has_header:
        skip += found.starts[0]  # blank lines
        names = _names_in_comment(comment, separator, width)
    else:
        skip += found.ends[0]
        names = named_columns(path, header, body_rows, width)
    notes = [encoding.note] if encoding.note else []
    if comma:
        notes.append("Decimal commas: read as such, as in 0,5.")
    elif separator == ",":
        _refuse_decimal_commas(path, body_rows)
    return Dialect(
        codec=encoding.codec,
        separator=separator,
        comma=comma,
        names=names or tuple(f"column {i}" for i in range(width)),
        named=bool(names),
        skip=skip,
        quotes='"' in text,
        notes=tuple(notes),
    )


def _skip_comments(lines: Sequence[str]) -> tuple[int, str, str | None]:
    """How many lines are comments or empty, the last comment, and the separator Excel announces."""
    comment, said = "", None
    for number, line in enumerate(lines):
        announced = re.fullmatch(r'"?sep=(.)"?', line.strip("\r\n"))
        if announced:
            said = announced[1]
        elif line.strip().startswith(COMMENTS):
            comment = line.strip().lstrip("".join(COMMENTS)).strip()
        elif line.strip():
            return number, comment, said
    return len(lines), comment, said


def _names_in_comment(comment: str, separator: str, width: int) -> tuple[str, ...]:
    """The names that numpy.savetxt writes behind a #, if there are as many as columns."""
    names = [cell.strip() for cell in comment.split(None if separator == " " else separator)]
    fit = len(names) == width > 1 and len(set(names)) == width and not all(map(_number, names))
    return tuple(names) if fit else ()


def _number(cell: str) -> bool:
    return is_number_text(cell)


def _split(path: Path, lines: Sequence[str], separator: str, most: int = LINES) -> Lines:
    """The cells of the first lines that are neither empty nor comments."""
    if separator == " ":
        lines = [squeezed(line) for line in lines]
    found = Lines([], [], [])
    limit = csv.field_size_limit(LOOKED_AT)  # a vector in a cell may be long
    try:
        with reading(path, "a table"):
            reader = csv.reader((line + "\n" for line in lines), delimiter=separator)
            start = 0
            for row in reader:
                if any(map(str.strip, row)) and not row[0].lstrip().startswith(COMMENTS):
                    found.rows.append([cell.strip() for cell in row])
                    found.starts.append(start)
                    found.ends.append(reader.line_num)
                start = reader.line_num
                if len(found.rows) > most:
                    break
    finally:
        csv.field_size_limit(limit)
    return found


def _find_separator(path: Path, lines: Sequence[str], said: str | None) -> tuple[str, bool]:
    """What separates cells, and whether numbers have decimal commas.

    Taken is what makes the most cells into numbers, counted in rows that have as many cells as
    most; of those that make equally many, what leaves the fewest others.
    """
    best, score = (",", False), (-1.0, -1.0)
    for separator in (said,) if said else SEPARATORS:
        rows = _split(path, lines, separator, most=100).rows[:100]
        width = Counter(map(len, rows[1:] or rows)).most_common(1)[0][0]
        # A quote left within a cell: the separator stands between quotes.
        fit = [row for row in rows if len(row) == width and not any('"' in cell for cell in row)]
        cells = [cell for row in fit for cell in row]
        if width < 2 and separator != ",":
            continue
        for comma in (False, True):
            if comma and not any("," in c and _comma(c) for c in cells):
                continue
            numbers = sum(map(_weight, cells, [comma] * len(cells)))
            # Words in a row are no cells: spaces separate only numbers.
            if separator == " " and 2 * numbers < len(cells):
                continue
            # A cell of a row that fits is worth less than a number.
            found = (numbers + 1e-3 * len(cells) * (width > 1), numbers / max(1, len(cells)))
            if found > score:
                best, score = (separator, comma), found
    return best


def _weight(cell: str, comma: bool) -> float:
    """A number is worth more than what may be a vector, or cells with a wrong separator."""
    if is_number_text(cell, comma):
        return 1.0 if cell not in SAYS_NONE else 0.0
    return 0.5 if is_vector_text(cell) else 0.0


def _comma(cell: str) -> bool:
    return re.match(COMMA_NUMBER, cell) is not None


def _refuse_decimal_commas(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Numbers 0,12,-0,34: nobody can tell where one ends."""
    cells = [cell for row in rows for cell in row if cell]
    if cells and all(re.fullmatch(r"[+-]?\d+", cell) for cell in cells):
        odd = sum(WHOLE_DECIMALS.fullmatch(cell) is not None for cell in cells)
        if odd > 0.02 * len(cells):
            raise UserError(
                f"{shown(path)}: cells such as 034 and -0 between commas look like the halves of "
                "numbers with decimal commas; save it with points, or with semicolons between cells"
            )
