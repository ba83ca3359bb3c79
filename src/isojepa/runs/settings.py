"""What the configurations of all runs share: checks, what was said, their record, and resuming."""

import functools
import inspect
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.record import RunRecord, read_run

log = logging.getLogger(__name__)
Config = TypeVar("Config")
Said = tyro.conf.Suppress[frozenset[str] | None]
"""Names of the settings that somebody gave; a configuration has it as `said: InitVar[Said] = None`,
its first field."""
OF_THE_COMMAND = {"out", "resume", "overwrite", "preview"}  # what is done now, not how the run is
MAY_GROW = "steps"
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


def said(config: Any) -> frozenset[str]:
    """The names of the settings that the user, or a Python caller, gave."""
    return getattr(config, "said", None) or frozenset()


def only_said(config: Config, arguments: Iterable[str]) -> Config:
    """Mark what a command line names: the parser gives every setting to the configuration."""
    if not hasattr(config, "said"):
        return config
    flags = {word.split("=")[0].replace("_", "-") for word in arguments if word.startswith("--")}
    names = {field.name for field in fields(config)}  # type: ignore[arg-type]
    given = {n for n in names if {f"--{_flag(n)}", f"--no-{_flag(n)}"} & flags}
    object.__setattr__(config, "said", frozenset(given))
    return config


def require(condition: bool, message: str) -> None:
    """Raise `UserError` with the message unless the condition holds."""
    if not condition:
        raise UserError(message)


def require_at_least_one(config: Any, names: Iterable[str]) -> None:
    """Raise `UserError` for a field that is given and below 1."""
    for name in names:
        value = getattr(config, name)
        require(value is None or value >= 1, f"--{_flag(name)} must be at least 1")


def require_at_most(config: Any, limits: Mapping[str, int | float]) -> None:
    """Raise `UserError` for a field that is above its limit, or a number that is not finite."""
    for field in fields(config):
        value = getattr(config, field.name)
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(x, float) and not math.isfinite(x) for x in numbers):
            raise UserError(f"--{_flag(field.name)} is {value}: give a finite number")
    for name, limit in limits.items():
        value = getattr(config, name)
        require(value is None or value <= limit, f"--{_flag(name)} must be at most {limit:,g}")


def as_paths(config: Any, *names: str) -> None:
    """Make paths of fields given as strings, as Python callers may write them."""
    for name in names:
        if isinstance(getattr(config, name), str):
            object.__setattr__(config, name, Path(getattr(config, name)))


def as_json(config: Any, plan: Any = None) -> Json:
    """The configuration, settled by the named tuple `plan` if any, as plain JSON values.

    What was said and settled otherwise, such as a size that the network had to round, stands under
    `asked`: the same words may be said again when the run is resumed.
    """
    values = {field.name: _plain(getattr(config, field.name)) for field in fields(config)}
    settled = {} if plan is None else {n: _plain(v) for n, v in plan._asdict().items()}
    asked = {n: values[n] for n in said(config) & settled.keys() if values[n] != settled[n]}
    return values | settled | ({ASKED: asked} if asked else {})


def resumed(asked: Config) -> tuple[Config, RunRecord | None]:
    """The configuration to go on with, and the run's record; the asked and None for a new one.

    Raises:
        UserError: if there is no run, its config.json is damaged, or what was said contradicts it.
    """
    command: Any = asked
    if not command.resume:
        return asked, None
    path = command.out / "config.json"
    if not path.is_file():
        raise UserError(
            f"--resume {shown(command.out)}: there is no run there (config.json is missing)"
        )
    stored = read_run(command.out)
    if not stored.data:
        raise UserError(f"{shown(path)}: damaged (data is missing)")
    if stored.config.get("device") == "gpu":  # the word for cuda in version 0.1.0
        stored = replace(stored, config=stored.config | {"device": "cuda"})
    return merge_for_resume(asked, stored.config), stored


def merge_for_resume(asked: Config, stored: Json) -> Config:
    """The stored run's configuration, provided that nothing that was said contradicts it.

    What was not said stays as the run has it. `--steps` may grow: the schedule is then that of the
    longer run from here on.

    Args:
        asked: whose class names, in `may_differ`, the fields that are taken from it where said.
        stored: what `as_json` gave when the run began.

    Raises:
        UserError: naming every other field that was said and differs from the run's, or what in
            `stored` cannot be.
    """
    make: Any = type(asked)
    command: Any = asked
    place = f"{shown(command.out)}/config.json"
    hints = get_type_hints(make)
    repeated = stored.get(ASKED, {})
    if not isinstance(repeated, dict):
        raise UserError(f"{place}: damaged ({ASKED} is {str(repeated)[:40]!r})")
    different: list[str] = []
    longer: Any = None
    settings: Json = {}
    for field in fields(make):
        name, value = field.name, getattr(asked, field.name)
        was = stored.get(name, field.default)
        if name in stored and not _fits(was, hints[name]):
            raise UserError(f"{place}: damaged ({name} is {str(was)[:40]!r})")
        was = tuple(was) if isinstance(was, list) else was
        given = name in said(asked) and value is not None
        grows = name == MAY_GROW and given and was is not None and value > was
        if grows:
            longer = (was, value)
        if name in OF_THE_COMMAND or (given and (name in command.may_differ or grows)):
            settings[name] = value
            continue
        settings[name] = was
        again = repeated.get(name, was)
        again = tuple(again) if isinstance(again, list) else again
        if given and _plain(value) not in (_plain(was), again):
            different.append(_differs(name, value, was))
    if different and longer:
        different.append(_differs(MAY_GROW, longer[1], longer[0]))
    if different:
        raise UserError(
            f"--resume {shown(command.out)}: {'; '.join(different)}. Leave these out to go on with "
            "the run's own settings, or choose another --out. (--steps may be larger than the "
            "run's, to train on.)"
        )
    if longer:
        _say_longer(*longer)
    try:
        return make(said=said(asked), **settings)
    except UserError as error:
        raise UserError(f"{place}: {error}") from error


def _differs(name: str, value: Any, was: Any) -> str:
    return f"--{_flag(name)} is {value} but the run has {'none' if was is None else was}"


def _say_longer(was: int, now: int) -> None:
    log.warning(
        "--steps %d instead of %d: the learning rate follows the schedule of %d updates from here "
        "on, so it rises again; not the same as %d updates from the start",
        now,
        was,
        now,
        now,
    )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value of JSON can be a field of this type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        is_list = isinstance(value, list | tuple) and len(value) == len(inner)
        return is_list and all(map(_fits, value, inner))
    if hint in (int, float):
        numbers = int if hint is int else int | float
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, str if hint is Path else hint)


def _flag(name: str) -> str:
    return name.replace("_", "-")
