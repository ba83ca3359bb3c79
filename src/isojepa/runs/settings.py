"""What the configurations of all runs share: checks, what was said, their record, and resuming."""

import functools
import inspect
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, TypeVar

import tyro

from isojepa.errors import UserError
from isojepa.files import Json

Config = TypeVar("Config")
Said = tyro.conf.Suppress[frozenset[str] | None]
"""Names of the settings that somebody gave; a configuration has it as `said: InitVar[Said] = None`,
its first field."""
ASKED = "asked"


def remembers(cls: type[Config]) -> type[Config]:
    """Let a frozen, keyword-only dataclass know which settings were given, not only their values.

    A setting that was given and one that was left at the same default are told apart by `said`.
    `dataclasses.replace` hands on what was said before and adds its own changes: it passes those
    first and then the fields in order, of which `said` is the first. What has to be given comes
    next, then the class's own settings, then those that it inherits.
    """
    table: dict[str, Field[Any]] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    own = inspect.get_annotations(cls)
    names = sorted(
        table,
        key=lambda name: (name != "said", table[name].default is not MISSING, name not in own),
    )
    cls.__dataclass_fields__ = {name: table[name] for name in names}  # type: ignore[attr-defined]
    plain: Any = cls.__init__

    @functools.wraps(plain)
    def init(self: Any, **given: Any) -> None:
        names, before = list(given), given.get("said")
        plain(self, **given)
        now = names if before is None else names[: names.index("said")]
        object.__setattr__(self, "said", (frozenset(now) | (before or frozenset())) - {"said"})

    cls.__init__ = init  # type: ignore[method-assign]
    return cls


def said(config: object) -> frozenset[str]:
    """The names of the settings that the user, or a Python caller, gave."""
    return getattr(config, "said", None) or frozenset()


def only_said(config: Config, arguments: Iterable[str]) -> Config:
    """Mark what a command line names: the parser gives every setting to the configuration."""
    if not hasattr(config, "said"):
        for field in _fields(config):  # such as the training of a search
            inner = getattr(config, field.name)
            if hasattr(inner, "said"):
                only_said(inner, arguments)
        return config
    flags = {word.split("=")[0].replace("_", "-") for word in arguments if word.startswith("--")}
    names = {field.name for field in _fields(config)}
    given = {n for n in names if {f"--{flag(n)}", f"--no-{flag(n)}"} & flags}
    object.__setattr__(config, "said", frozenset(given))
    return config


def require(condition: bool, message: str) -> None:
    """Raise `UserError` with the message unless the condition holds."""
    if not condition:
        raise UserError(message)


def require_bounds(
    config: object, at_least_one: Iterable[str], at_most: Mapping[str, int | float] | None = None
) -> None:
    """Raise `UserError` for a number that is not finite, and a field below 1 or above its limit."""
    for field in _fields(config):
        value = getattr(config, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(x, float) and not math.isfinite(x) for x in numbers):
            raise UserError(f"--{flag(field.name)} is {value}: give a finite number")
    for name in at_least_one:
        value = getattr(config, name)
        require(value is None or value >= 1, f"--{flag(name)} must be at least 1")
    for name, limit in (at_most or {}).items():
        value = getattr(config, name)
        open_or_word = value is None or isinstance(value, str)
        require(open_or_word or value <= limit, f"--{flag(name)} must be at most {limit:,g}")


def as_paths(config: object, *names: str) -> None:
    """Make paths of fields given as strings, as Python callers may write them.

    Several are a tuple of paths, and one alone is a path.

    Raises:
        UserError: for an empty list of them.
    """
    for name in names:
        value = getattr(config, name)
        if isinstance(value, str):
            object.__setattr__(config, name, Path(value))
        elif isinstance(value, list | tuple):
            require(len(value) > 0, f"--{flag(name)}: give at least one path")
            paths = tuple(map(Path, value))
            object.__setattr__(config, name, paths[0] if len(paths) == 1 else paths)


def as_json(config: object, settled: Mapping[str, object] | None = None) -> Json:
    """The configuration as plain JSON values.

    Args:
        config: a dataclass.
        settled: what it leaves open, settled, by the names of its fields. What was said and settled
            otherwise, such as a size that the network had to round, stands under `asked`: the same
            words may be said again when the run is resumed.
    """
    values = {field.name: plain(getattr(config, field.name)) for field in _fields(config)}
    closed = {name: plain(value) for name, value in (settled or {}).items()}
    asked = {n: values[n] for n in said(config) & closed.keys() if values[n] != closed[n]}
    return values | closed | ({ASKED: asked} if asked else {})


def plain(value: object) -> object:
    """A setting as JSON holds it."""
    if isinstance(value, tuple):
        return [plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def flag(name: str) -> str:
    """The word of the command line for a setting, without its dashes."""
    return name.replace("_", "-")


def _fields(config: object) -> tuple[Field[object], ...]:
    return fields(config)  # type: ignore[arg-type]
