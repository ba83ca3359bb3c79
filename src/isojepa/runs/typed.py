"""Dataclasses <-> JSON by their annotations: what one stage writes and another reads.

A dataclass is an object with a key per field and a NamedTuple an array, nested as they are. Keys
that no field asks for are passed over, and a key that is missing gives the field's default: files
of older and of newer versions load. Numbers that are not finite are written as null.
"""

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.runs.folder import write_json

T = TypeVar("T")
LARGEST = 1e300
INLINE, SPARSE, OTHERS = "inline", "sparse", "others"
Inline = Annotated[T, INLINE]
"""A dataclass whose keys stand beside those of the one that holds it."""
Sparse = Annotated[T, SPARSE]
"""Without its key in the file while it is None."""
Others = Annotated[dict[str, object], OTHERS]
"""All keys that the other fields do not take."""


class Key(NamedTuple):
    """The name in the file of a field that cannot have it: `Annotated[float, Key("from")]`."""

    name: str


def to_json(value: object) -> Any:
    """A dataclass, or a container of them, as plain JSON values."""
    if isinstance(value, dict):
        return {str(key): to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    if not is_dataclass(value):
        return value
    made: dict[str, object] = {}
    for entry in _entries(type(value)):
        part = getattr(value, entry.name)
        if entry.mark in (INLINE, OTHERS):
            made |= to_json(part)
        elif part is not None or entry.mark != SPARSE:
            made[entry.key] = to_json(part)
    return made


def from_json(kind: type[T], content: object, path: Path) -> T:
    """A dataclass of JSON values.

    Args:
        kind: its annotations may be numbers, strings, bools, paths, literals, optionals, tuples,
            dicts, named tuples, dataclasses, and `object` for what is taken as it is.
        path: the file, for the message.

    Raises:
        UserError: naming the file and the entry that is missing or cannot be one.
    """
    return cast(T, _read(kind, content, _Place(path)))


def entry_from_json(hint: object, value: object, path: Path, entry: str) -> Any:
    """One entry of a file, by any annotation that `from_json` takes; `entry` is its name."""
    return _read(hint, value, _Place(path, entry))


def read_result(kind: type[T], path: Path) -> T:
    """A dataclass from a file that `write_result` wrote.

    Raises:
        UserError: if the file cannot be read, or holds something else.
    """
    return from_json(kind, read_json(path), path)


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        UserError: if it cannot be read.
    """
    with reading(path, "JSON"):
        return json.loads(path.read_text(encoding="utf-8"))


def write_result(path: Path, result: object) -> None:
    """Write a dataclass as indented JSON, whole or not at all."""
    write_json(path, to_json(result))


class _Entry(NamedTuple):
    name: str
    hint: object
    key: str
    mark: object
    required: bool


def _entries(kind: type) -> tuple[_Entry, ...]:
    """The fields of a dataclass, those with all other keys last."""
    hints = get_type_hints(kind, include_extras=True)
    entries = []
    for one in fields(kind):
        hint, mark = hints[one.name], None
        if get_origin(hint) is Annotated:
            hint, mark, *_ = get_args(hint)
        key = mark.name if isinstance(mark, Key) else one.name
        required = one.default is MISSING and one.default_factory is MISSING
        entries.append(_Entry(one.name, hint, key, mark, required))
    return tuple(sorted(entries, key=lambda entry: entry.mark == OTHERS))


class _Place(NamedTuple):
    """An entry of a file."""

    path: Path
    entry: str = ""

    def inside(self, key: object) -> "_Place":
        return _Place(self.path, f"{self.entry}.{key}" if self.entry else str(key))

    def damaged(self, value: object) -> NoReturn:
        self.fail(f"is {shown(str(value)[:60])}" if self.entry else "is not an object")

    def fail(self, why: str) -> NoReturn:
        raise UserError(f"{shown(self.path)}: damaged ({shown(self.entry or 'it')} {why})")


def _read(hint: object, value: object, at: _Place) -> object:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _one_of(inner, value, at)
    if origin is Annotated:
        return _read(inner[0], value, at)
    if origin is Literal:
        return value if value in inner else at.damaged(value)
    if origin is dict:
        if not isinstance(value, dict):
            at.damaged(value)
        return {_key(inner[0], k, at): _read(inner[1], v, at.inside(k)) for k, v in value.items()}
    if origin is list:
        return _array((*inner, ...), value, at)
    if origin is tuple:
        return tuple(_array(inner, value, at))
    if isinstance(hint, type) and is_dataclass(hint):
        return _object(hint, value, at)
    if isinstance(hint, type) and issubclass(hint, tuple):
        make: Callable[..., object] = hint
        return make(*_array(tuple(get_type_hints(hint).values()), value, at))
    return _scalar(hint, value, at)


def _one_of(hints: tuple[object, ...], value: object, at: _Place) -> object:
    if NoneType in hints and (value is None or _is_endless(value)):
        return None
    *others, last = (hint for hint in hints if hint is not NoneType)
    for hint in others:
        try:
            return _read(hint, value, at)
        except UserError:
            continue
    return _read(last, value, at)


def _object(kind: type, value: object, at: _Place) -> object:
    if not isinstance(value, dict):
        at.damaged(value)
    return _taken_from({str(key): part for key, part in value.items()}, kind, at)


def _taken_from(rest: dict[str, object], kind: object, at: _Place) -> object:
    """A dataclass of some keys of an object, which are removed from it."""
    assert isinstance(kind, type)
    given: dict[str, object] = {}
    for name, hint, key, mark, required in _entries(kind):
        if mark == INLINE:
            given[name] = _taken_from(rest, hint, at)
        elif mark == OTHERS:
            given[name] = rest
        elif key in rest:
            given[name] = _read(hint, rest.pop(key), at.inside(key))
        elif required:
            at.inside(key).fail("is missing")
    return kind(**given)


def _array(hints: tuple[object, ...], value: object, at: _Place) -> list[object]:
    if not isinstance(value, list):
        at.damaged(value)
    if hints[1:] == (Ellipsis,):
        hints = hints[:1] * len(value)
    if len(value) != len(hints):
        at.damaged(value)
    return [_read(hint, part, at.inside(i)) for i, (hint, part) in enumerate(zip(hints, value))]


def _scalar(hint: object, value: object, at: _Place) -> object:
    if hint in (object, Any):
        return value
    if hint is float and type(value) is int and not _is_endless(value):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if type(value) is not hint or _is_endless(value):
        at.damaged(value)
    return value


def _key(hint: object, key: str, at: _Place) -> object:
    if hint is not int:
        return key
    return int(key) if key.isdecimal() else at.damaged(key)


def _is_endless(value: object) -> bool:
    """Whether a number is none that can be reckoned with: NaN, infinite or absurdly large."""
    return isinstance(value, int | float) and not abs(value) < LARGEST
