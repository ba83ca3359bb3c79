"""Which of several arrays or columns holds the embeddings: one rule for every format."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isojepa import boundaries
from isojepa.errors import UserError


class Shape(NamedTuple):
    """What a file says about one of its arrays."""

    shape: tuple[int, ...]
    dtype: np.dtype
    """As it is read."""
    stored: str = ""
    """The type's name in the file, if NumPy does not have it."""

    @property
    def floating(self) -> bool:
        """Whether it holds real numbers."""
        return np.dtype(self.dtype).kind == "f"


def choose_array(path: Path, arrays: Mapping[str, Shape], key: str | None) -> str:
    """The name of the array to read: `key`, or the only candidate.

    Candidates are the tables of real numbers, and if there are none, whatever there is.

    Raises:
        UserError: if `key` is not there, or there is not exactly one candidate.
    """
    file = boundaries.shown(path)
    held = few([boundaries.shown(f"{name} {array.shape}") for name, array in arrays.items()])
    if not arrays:
        raise UserError(f"{file}: holds no arrays")
    if key is not None:
        if key not in arrays:
            raise UserError(f"--key {boundaries.shown(key)}: not in {file}, which holds {held}")
        return key
    tables = [name for name, a in arrays.items() if a.floating and len(a.shape) == 2]
    candidates = tables or list(arrays)
    if len(candidates) > 1:
        raise UserError(f"{file}: several arrays, choose one with --key: {held}")
    return candidates[0]


def match_columns(path: Path, names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that match a pattern such as emb_* or are equal to it, in the file's order.

    Brackets stand for themselves, as in emb[0] and emb[*], or else for one of what is in them.

    Raises:
        UserError: for a pattern without a match.
    """

    def matches(name: str, pattern: str) -> bool:
        literal = pattern.replace("[", "[[]")
        return name == pattern or fnmatchcase(name, literal) or fnmatchcase(name, pattern)

    chosen: set[str] = set()
    for pattern in patterns:
        # A name, even with a star or brackets in it, means the column of this name.
        found = {pattern} & set(names) or {name for name in names if matches(name, pattern)}
        if not found and pattern.isdigit():  # of a table without names
            found = {f"column {pattern}"} & set(names)
        if not found:
            raise UserError(
                f"--columns {boundaries.shown(pattern)}: not in {boundaries.shown(path)}, which "
                f"has {few([boundaries.shown(name) for name in names])}"
            )
        chosen |= found
    return [name for name in names if name in chosen]


def few(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
