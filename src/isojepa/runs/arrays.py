"""Arrays in NumPy's files: those that one stage leaves beside its result and another draws, as a
named tuple, and the heads of anyone's."""

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, get_type_hints, runtime_checkable

import numpy as np
from jaxtyping import jaxtyped

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.files import load_arrays

Arrays = TypeVar("Arrays")


@jaxtyped(typechecker=None)
def read_arrays(kind: type[Arrays], path: Path) -> Arrays:
    """A named tuple of arrays from an .npz file; a letter in its annotations is one length in all.

    Raises:
        UserError: if the file cannot be read, lacks an array without default, or holds one of
            another type or shape.
    """
    with reading(path, "arrays"), load_arrays(path) as archive:
        found = dict(archive)
    defaults = getattr(kind, "_field_defaults", {})
    given: dict[str, object] = {}
    for name, hint in get_type_hints(kind).items():
        array = found.get(name, defaults.get(name, np.empty(0, object)))
        if not isinstance(array, hint):
            what = f"of {array.dtype}, shape {array.shape}" if name in found else "missing"
            raise UserError(f"{shown(path)}: damaged ({name} is {what})")
        given[name] = array
    return kind(**given)


@runtime_checkable
class Readable(Protocol):
    """A file, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes: ...


def columns(kind: type[Arrays], table: np.ndarray) -> Arrays:
    """The fields of a structured array as a named tuple, or a dataclass, of views on them."""
    names = _names(kind)  # type: ignore[arg-type]  # classes can be hashed
    return kind(*(table[name] for name in names))


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(get_type_hints(kind))


class ArrayHeader(NamedTuple):
    """The head of an .npy file."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """What the array takes, in the file and in memory."""
        return math.prod(self.shape, start=self.dtype.itemsize)


def read_array_header(file: Readable) -> ArrayHeader:
    """The head of an .npy file, of which nothing is executed.

    Raises:
        ValueError: if it is none.
    """
    first = np.lib.format.read_magic(file) == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    header = ArrayHeader(*read(file))
    if any(length < 0 for length in header.shape):
        raise ValueError(f"shape {header.shape}")
    return header
