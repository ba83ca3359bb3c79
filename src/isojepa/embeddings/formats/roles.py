"""Which columns of a table are coordinates: one rule for every format.

Real numbers are. Whole numbers are too unless their name, their place or their values say that
they number the rows or name a class; where nothing says which, the user is asked.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from isojepa.boundaries import shown
from isojepa.embeddings.formats.choosing import few
from isojepa.embeddings.formats.profile import Profile
from isojepa.errors import UserError

NAMES = {
    "id", "ids", "idx", "index", "indices", "uid", "uuid", "guid", "key", "row", "rowid", "rownum",
    "number", "no", "nr", "num", "label", "labels", "class", "classes", "classid", "target",
    "targets", "category", "cluster", "clusters", "group", "fold", "split", "epoch", "step",
    "frame", "frames", "timestep", "time", "timestamp", "date", "year", "month", "day", "hour",
    "path", "file", "filename", "image", "name", "subject", "patient", "sample", "batch", "seed",
    "episode", "rank", "count", "species", "digit", "truth", "gt", "barcode",
}  # fmt: skip
"""Words in the name of a column that counts or classifies."""
TARGETS = {"id", "index", "label", "labels", "target", "targets", "class", "timestamp"}
"""Those that no coordinate has in its name, whole or not."""
LEAST_RISING = 8
"""Numbers that hardly rise by chance: that is 1 in 40,320."""


def coordinates(
    path: Path, columns: Sequence[Profile], named: bool
) -> tuple[list[Profile], tuple[str, ...]]:
    """The columns to read, and what is said about the others.

    Args:
        named: whether the names are the file's own.

    Raises:
        UserError: if there is no column of numbers, or it is not clear which are coordinates.
    """
    left: dict[str, str] = {}
    notes: list[str] = []
    numeric = []
    family = _family([c.name for c in columns if _holds_numbers(c)]) if named else set()
    for column in columns:
        if column.is_text or column.nested:
            left[column.name] = _why_text(column)
        elif column.is_empty:
            left[column.name] = "empty"
        else:
            numeric.append(column)
    dead, unknown = _empty(columns, family) if named and numeric else ([], [])
    if unknown:
        raise UserError(
            f"{shown(path)}: no cell of column {few(unknown)} holds anything; fill in what it "
            "should be, or name the other columns with --columns"
        )
    kept = _without_labels(path, numeric, named, family, left, notes)
    if not kept:
        what = "; ".join(f"{shown(_called(n))} ({why})" for n, why in list(left.items())[:8])
        raise UserError(
            f"{shown(path)}: no column of numbers that could be coordinates among {what}; "
            "--columns overrides"
        )
    if dead:
        notes.insert(
            0,
            f"Empty in every row, read as a dimension that is always 0: {few(dead)}; --columns "
            "leaves it out.",
        )
        left = {name: why for name, why in left.items() if name not in dead}
        kept = [c for c in columns if c.name in dead or any(c is other for other in kept)]
    if left:
        order = [c.name for c in columns if c.name in left]
        said = few([f"{shown(_called(name))} ({left[name]})" for name in order])
        notes.insert(0, f"Left out: {said}; --columns overrides.")
    return kept, tuple(notes)


def _empty(columns: Sequence[Profile], family: set[str]) -> tuple[list[str], list[str]]:
    """Names of the columns without content that are coordinates by their name, and that may be.

    Named like the coordinates, e7 among e0, e1, ... or c among a, b, d, one is a unit that died:
    what is left of it after dividing by its deviation is written as nothing.
    """
    names = [c.name for c in columns if c.is_empty and c.name.strip()]
    if family:
        return [name for name in names if name in family], []
    letters = all(len(c.name.strip()) == 1 for c in columns if _holds_numbers(c))
    return (names, []) if letters else ([], names)


def _holds_numbers(column: Profile) -> bool:
    return not (column.is_text or column.nested or column.lists)


def _called(name: str) -> str:
    return name if name.strip() else "the column without a name"


def _why_text(column: Profile) -> str:
    if column.nested:
        return "lists of lists"
    if column.other:
        return "neither text nor numbers"
    return f"text, but {column.numbers:,} numbers" if column.numbers else "text"


def _without_labels(
    path: Path,
    numeric: Sequence[Profile],
    named: bool,
    family: set[str],
    left: dict[str, str],
    notes: list[str],
) -> list[Profile]:
    """Sort out ids, labels and row numbers; `left` and `notes` take what is said of them."""
    beside_reals = any(not c.whole for c in numeric)
    booleans = all(c.boolean for c in numeric)
    kept: list[Profile] = []
    asked: list[str] = []
    for i, column in enumerate(numeric):
        edge = not kept or i == len(numeric) - 1
        why = None
        if len(numeric) > 1:
            why = _why_label(column, named, family, edge, beside_reals, booleans, numeric)
        if why is None and len(numeric) == 1 and (column.counts and column.whole):
            why = "row numbers"
        if why == "?":
            asked.append(column.name)
        elif why is not None:
            left[column.name] = why
            continue
        kept.append(column)
        if beside_reals and column.is_constant and column.name not in family:
            name = shown(_called(column.name))
            notes.append(f"Constant {name}: every number is {column.low:g}, read as a dimension.")
    if asked:
        raise UserError(
            f"{shown(path)}: whole numbers in column {few(list(map(shown, asked)))} beside real "
            "ones, coordinates or classes? Name the columns to use with --columns"
        )
    times = [c.name for c in kept if c.rising and not c.whole and c.numbers >= LEAST_RISING]
    if len(kept) > 1 and times:
        notes.append(
            f"Rising in every row, as a time does: {few(list(map(shown, times)))}; read as a "
            "dimension, --columns overrides."
        )
    strange = [c.name for c in kept if family and c.name not in family]
    if strange and len(strange) < len(kept):
        said = few(list(map(shown, strange)))
        notes.append(
            f"Named otherwise than the others: {said}; read as dimensions, --columns overrides."
        )
    return kept


def _why_label(
    column: Profile,
    named: bool,
    family: set[str],
    edge: bool,
    beside_reals: bool,
    booleans: bool,
    numeric: Sequence[Profile],
) -> str | None:
    """Why a column is no coordinate; "?" if that is not clear; None if it is one."""
    if column.counts:
        return "row numbers" if column.whole else "rises by the same step in every row"
    own_name = named and column.name not in family
    if own_name and column.whole and _says_label(column.name):
        return "whole numbers, and an index or a class by its name"
    if own_name and not column.whole and _measures(column):
        return "a target or a time by its name"
    if own_name and not column.name.strip() and column.whole and not column.is_constant:
        return "whole numbers without a name"
    if column.boolean and not booleans:
        return "true or false"
    if not column.whole or column.is_constant:
        return None
    if not beside_reals:
        return _class_among_whole(column, own_name or not family, edge, numeric)
    if own_name and family:
        return "whole numbers, named otherwise than the coordinates"
    if family and named and not all(name.strip().isdigit() for name in family):
        return None  # e7 beside e6 and e8: a coordinate that happens to be whole
    if edge and (column.few or column.differ):
        return "whole numbers at the edge of real ones"
    return "?" if named and not family else None


def _class_among_whole(
    column: Profile, free: bool, edge: bool, numeric: Sequence[Profile]
) -> str | None:
    """Classes 0, 1, ..., k, each of them there, at the edge of numbers of wider range."""
    others = [c for c in numeric if c is not column and not c.is_constant]
    wider = [c for c in others if c.low < 0 or c.high > 2 * column.high]
    if not (free and edge and column.few and others and len(wider) > len(others) / 2):
        return None
    values = column.values or set()
    dense = column.low in (0, 1) and len(values) == column.high - column.low + 1
    return "classes: the numbers up to the largest, each of them there" if dense else None


def _measures(column: Profile) -> bool:
    """Whether a column of real numbers is a target or a time: by its name, or by rising too."""
    words = set(_words(column.name))
    return bool(words & TARGETS) or (column.rising and _says_label(column.name))


def _says_label(name: str) -> bool:
    """Whether a word of `class_id`, `imageIndex` or `Unnamed: 0` counts or classifies."""
    if re.fullmatch(r"(?i)unnamed: ?\d+|__index_level_\d+__", name.strip()):
        return True
    return any(word in NAMES for word in _words(name))


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def _family(names: Sequence[str]) -> set[str]:
    """The largest set of names equal up to one number, such as e0, e1, ..., if it is most."""
    stems: dict[str, set[str]] = {}
    for name in names:
        number = re.search(r"[-+]?\d+(?:[.]\d+)?(?:e[+-]?\d+)?(?=\D*$)", name)
        if number is not None:
            stem = name[: number.start()] + "#" + name[number.end() :]
            stems.setdefault(stem, set()).add(name)
    largest = max(stems.values(), key=len, default=set())
    return largest if len(largest) > 1 and 2 * len(largest) >= len(names) else set()
