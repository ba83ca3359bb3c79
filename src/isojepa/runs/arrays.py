"""Arrays that one stage leaves beside its result and another draws, as a named tuple."""

from pathlib import Path
from typing import TypeVar, get_type_hints

import numpy as np
from jaxtyping import jaxtyped

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError

Arrays = TypeVar("Arrays")


@jaxtyped(typechecker=None)
def read_arrays(kind: type[Arrays], path: Path) -> Arrays:
    """A named tuple of arrays from an .npz file; a letter in its annotations is one length in all.

    Raises:
        UserError: if the file cannot be read, lacks an array without default, or holds one of
            another type or shape.
    """
    with reading(path, "arrays"), np.load(path, allow_pickle=False) as archive:
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
