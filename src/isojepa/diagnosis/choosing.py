"""Which of several arrays or columns holds the embeddings: one rule for every format."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from isojepa.errors import UserError


class Shape(NamedTuple):
    """What a file says about one of its arrays."""

    shape: tuple[int, ...]
    floating: bool


def choose_array(path: Path, arrays: Mapping[str, Shape], key: str | None) -> str:
    """The name of the array to read: `key`, or the only candidate.

    Candidates are the tables of real numbers, and if there are none, whatever there is.

    Raises:
        UserError: if `key` is not there, or there is not exactly one candidate.
    """
    shown = few([f"{name} {array.shape}" for name, array in arrays.items()])
    if not arrays:
        raise UserError(f"{path}: holds no arrays")
    if key is not None:
        if key not in arrays:
            raise UserError(f"--key {key}: not in {path}, which holds {shown}")
        return key
    tables = [name for name, a in arrays.items() if a.floating and len(a.shape) == 2]
    candidates = tables or list(arrays)
    if len(candidates) > 1:
        raise UserError(f"{path}: several arrays, choose one with --key: {shown}")
    return candidates[0]


def match_columns(path: Path, names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that match a pattern such as emb_* or are equal to it, in the file's order.

    Raises:
        UserError: for a pattern without a match.
    """

    def matches(name: str, pattern: str) -> bool:
        return name == pattern or fnmatchcase(name, pattern)

    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            raise UserError(f"--columns {pattern}: not in {path}, which has {few(names)}")
    return [name for name in names if any(matches(name, p) for p in patterns)]


def few(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
