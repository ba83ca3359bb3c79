"""Whether the first row of a table names its columns: it is compared with the rows below."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from isojepa.boundaries import shown
from isojepa.embeddings.formats.cells import SAYS_NONE, is_number_text, is_vector_text
from isojepa.errors import UserError

NUMERIC = 0.5
"""Share of numbers from which a column is one of numbers, with a few other cells."""


def is_header(first: Sequence[str], rows: Sequence[Sequence[str]], comma: bool) -> bool:
    """Whether `first` holds names, for what stands in the rows below.

    Words above numbers are names. Numbers above numbers are if they do not belong to them: they
    count up as no row below does, or they are whole and nothing below is, or they rise outside
    the range of what is below.
    """
    if not rows:
        return not any(is_number_text(cell, comma) and cell not in SAYS_NONE for cell in first)
    width = len(rows[0])
    if len(first) == width - 1:  # R names no column of row names; or each row ends in a comma
        trailing = all(row[-1] == "" for row in rows)
        return is_header(first, [row[:-1] if trailing else row[1:] for row in rows], comma)
    if len(first) != width:
        return any(re.search(r"[^\W\d_]", cell) for cell in first)
    columns = [[row[i] for row in rows] for i in range(width)]
    numeric = [i for i in range(width) if _share(columns[i], comma) > NUMERIC]
    words = [i for i in numeric if not is_number_text(first[i], comma)]
    if any(re.search(r"[^\W\d_]", first[i]) for i in words):
        return True
    if not numeric:
        return not any(is_vector_text(cell) for cell in first)
    names = [i for i in numeric if first[i] not in SAYS_NONE and i not in words]
    if len(names) < len(numeric) - 1 or len(names) == 0:
        return False
    head = np.array([_value(first[i], comma) for i in names])
    body = np.array([[_value(row[i], comma) for i in names] for row in rows])
    return _does_not_belong(head, body)


def _share(cells: Sequence[str], comma: bool) -> float:
    filled = [cell for cell in cells if cell not in SAYS_NONE]
    return sum(is_number_text(cell, comma) for cell in filled) / max(1, len(filled))


def _value(cell: str, comma: bool) -> float:
    if cell in SAYS_NONE or not is_number_text(cell, comma):
        return np.nan
    text = re.sub("^[−–﹣-]", "-", cell)
    return float(text.replace(",", ".") if comma else text)


def _does_not_belong(head: np.ndarray, body: np.ndarray) -> bool:
    """Whether numbers `head` (d,) are names and no row of `body` (n, d)."""
    if not np.isfinite(head).all() or len(set(head.tolist())) < len(head):
        return False
    whole = bool((head == np.floor(head)).all())
    filled = np.isfinite(body)
    whole_below = filled & (body == np.floor(np.where(filled, body, 0)))
    if whole and not whole_below.any():
        return len(head) > 1 or bool(head[0] in (0, 1))
    if len(head) < 3:
        return False
    if _counts(head) and not any(_counts(row) for row in body):
        natural = whole and head[0] in (0, 1) and head[1] - head[0] == 1
        mixed = bool(whole_below.any(0).mean() < 0.5)  # few columns with whole numbers
        return mixed or len(head) >= (4 if natural else 8)
    rising = bool((np.diff(head) > 0).all() or (np.diff(head) < 0).all())
    rows_rise = (np.diff(body, axis=1) > 0).all(1) | (np.diff(body, axis=1) < 0).all(1)
    low = np.nanmin(np.where(filled, body, np.inf), axis=0)
    high = np.nanmax(np.where(filled, body, -np.inf), axis=0)
    outside = (head < low) | (head > high)
    return bool(len(head) >= 4 and rising and not rows_rise.any() and outside.mean() > 0.5)


def _counts(row: np.ndarray) -> bool:
    """Whether numbers rise by the same step."""
    steps = np.diff(row)
    return bool(steps[0] > 0 and np.allclose(steps, steps[0], rtol=1e-6, atol=0))


def named_columns(
    path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> tuple[str, ...]:
    """The names of all columns, also where R or a trailing comma gives one cell too few.

    Raises:
        UserError: if names are missing otherwise, or two are the same.
    """
    names = list(header)
    if len(names) == width - 1:
        trailing = all(row[-1] == "" for row in rows)
        names = [*names, ""] if trailing else ["", *names]
    while len(names) > width and names[-1] == "":
        names.pop()
    if len(names) != width:
        raise UserError(
            f"{shown(path)}: {len(header)} names in its header, but {width} cells in most rows; "
            "are there separators within cells, or decimal commas?"
        )
    if names.count("") > 1:
        names = [name or f"unnamed {i}" for i, name in enumerate(names)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{shown(path)}: two columns of its header share a name: {twice[0]}")
    return tuple(names)
