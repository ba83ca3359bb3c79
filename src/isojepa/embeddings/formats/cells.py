"""A column of any Arrow type -> its numbers, and which cells hold none."""

import re
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Shaped

MISSING = (
    "", "NA", "N/A", "n/a", "na", "NaN", "nan", "NAN", "-nan", "-NaN", "NULL", "null", "Null",
    "None", "none", "#N/A", "#NA", "<NA>", "1.#QNAN", "-1.#IND",
)  # fmt: skip
"""Cells that say in words that there is no number."""
SAYS_NONE = frozenset(MISSING)
NUMBER = r"^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity|nan)$"
COMMA_NUMBER = r"^[+-]?([0-9]+,?[0-9]*|,[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity|nan)$"
NEARLY = re.compile(r"[-+−]?[$€£]?[0-9]+([ '’.,][0-9]{3})*([.,][0-9]+)?([eE][+-]?[0-9]+)? ?%?")
"""A number in another notation: decimal commas or points, groups of thousands, percent."""
DASHES = "[−–﹣-]"
"""Minus signs of word processors: the sign proper, the en dash, and the small and wide ones."""
WRAPPED = r"^\s*(?:(?:np|numpy|torch)[.])?(?:array|tensor)\(|(?:,\s*\w+=[^\]]*)?\)\s*$"
"""What `repr` writes around the list of an array or a tensor."""


class Numbers(NamedTuple):
    """The numbers of a column."""

    values: Shaped[np.ndarray, " n"]
    """NaN where there is none."""
    bad: Bool[np.ndarray, " n"] | None
    """Cells with something that is no number; None if there is none."""
    tidied: bool = False
    """Whether text had spaces or signs that a plain parser does not know."""


def to_numbers(column: pa.Array, comma: bool = False) -> Numbers | None:
    """Real numbers of a column, whatever its type; None for dates, lists and other things.

    Args:
        comma: whether text is written with decimal commas.
    """
    column = unwrapped(column)
    kind = column.type
    if pa.types.is_null(kind):
        return Numbers(np.full(len(column), np.nan), None)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _from_text(column, comma)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_floating(kind) or is_whole(kind) or pa.types.is_decimal(kind)):
        return None
    if not pa.types.is_floating(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    return Numbers(column.to_numpy(zero_copy_only=False), None)


def is_whole(kind: pa.DataType) -> bool:
    """Whether a type holds whole numbers."""
    return pa.types.is_integer(kind)


def is_number(kind: pa.DataType) -> bool:
    """Whether a type holds real or whole numbers."""
    return pa.types.is_floating(kind) or is_whole(kind) or pa.types.is_decimal(kind)


def unwrapped(column: pa.Array) -> pa.Array:
    """Without dictionaries, views and extensions around the values."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    return column


def _from_text(cells: pa.Array, comma: bool) -> Numbers:
    if not comma:
        try:
            return Numbers(_cast(_without_missing(cells)), None)
        except pa.ArrowInvalid:
            pass  # spaces, typographic signs, words: looked at below
    raw = _without_missing(cells)
    text = _without_missing(pc.utf8_trim_whitespace(raw))
    text = pc.replace_substring_regex(text, pattern=f"^{DASHES}", replacement="-")
    text = pc.replace_substring_regex(text, pattern=f"([eE]){DASHES}", replacement=r"\1-")
    fits = pc.match_substring_regex(text, COMMA_NUMBER if comma else NUMBER)
    bad = pc.fill_null(pc.invert(fits), False).to_numpy(zero_copy_only=False)
    tidied = not text.equals(raw)
    text = pc.if_else(fits, text, None)
    if comma:
        text = pc.replace_substring(text, ",", ".")
    return Numbers(_cast(text), bad if bad.any() else None, tidied)


def _without_missing(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.is_in(text, pa.array(MISSING, text.type)), None, text)


def _cast(text: pa.Array) -> np.ndarray:
    return text.cast(pa.float64()).to_numpy(zero_copy_only=False)


def is_number_text(cell: str, comma: bool = False) -> bool:
    """Whether a cell is a finite or infinite number, or says that there is none."""
    text = cell.strip()
    if text[:1] in "−–﹣-":
        text = "-" + text[1:] if text else text
    return text in SAYS_NONE or re.match(COMMA_NUMBER if comma else NUMBER, text) is not None


def is_vector_text(cell: str) -> bool:
    """Whether a cell is a list of numbers, such as "[0.1, 0.2]", or "0.1 0.2" without brackets."""
    text = re.sub(WRAPPED, "", cell).strip()
    inner = text.strip("[](){} \t\r\n,;")
    parts = re.split(r"[,;\s]+", inner)
    if not all(re.match(NUMBER, part) or part in ("...", "…") for part in parts):
        return False
    one = re.match(COMMA_NUMBER, inner) or NEARLY.fullmatch(inner)  # 0,5 or 1,234.5
    return text.startswith(("[", "(")) or (len(parts) > 1 and not one)


def vectors(cells: pa.Array) -> pa.Array:
    """Lists of numbers written as text -> lists of float64; null for what is none."""
    text = pc.replace_substring_regex(cells, pattern=WRAPPED, replacement="")
    text = pc.utf8_trim(text, characters="[](){} \t\r\n,;")
    parts = pc.split_pattern_regex(text, pattern=r"[,;\s]+")
    try:
        return parts.cast(pa.list_(pa.float64()))
    except pa.ArrowInvalid:
        numbers = [
            part if part and all(re.match(NUMBER, number) for number in part) else None
            for part in parts.to_pylist()
        ]
        return pa.array(numbers, pa.list_(pa.string())).cast(pa.list_(pa.float64()))
