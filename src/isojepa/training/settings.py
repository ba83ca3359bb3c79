"""What the configurations of all runs share: checks, their record as JSON, and resuming from it."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from isojepa.errors import UserError

Config = TypeVar("Config")


def require(condition: bool, message: str) -> None:
    """Raise `UserError` with the message unless the condition holds."""
    if not condition:
        raise UserError(message)


def require_at_least_one(config: Any, names: Iterable[str]) -> None:
    """Raise `UserError` for a field that is given and below 1."""
    for name in names:
        value = getattr(config, name)
        require(value is None or value >= 1, f"--{_flag(name)} must be at least 1")


def as_paths(config: Any, *names: str) -> None:
    """Make paths of fields given as strings, as Python callers may write them."""
    for name in names:
        if isinstance(getattr(config, name), str):
            object.__setattr__(config, name, Path(getattr(config, name)))


def as_json(config: Any, plan: Any = None) -> dict[str, Any]:
    """The configuration, settled by the named tuple `plan` if any, as plain JSON values."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    if plan is not None:
        values |= plan._asdict()
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def merge_for_resume(asked: Config, stored: dict[str, Any], may_differ: set[str]) -> Config:
    """The stored run's configuration, provided that nothing asked for contradicts it.

    Args:
        asked: a configuration with the fields `data` and `out`.
        stored: what `as_json` gave when the run began.
        may_differ: fields that are taken from `asked`.

    Raises:
        UserError: naming every other field that differs from the run's.
    """
    make: Any = type(asked)
    default = make(data=asked.data, out=asked.out)  # type: ignore[attr-defined]
    different: list[str] = []
    settings: dict[str, Any] = {}
    for name in (field.name for field in fields(make)):
        said, usual = getattr(asked, name), getattr(default, name)
        was = stored.get(name, usual)
        was = tuple(was) if isinstance(was, list) else was
        if name in may_differ:
            settings[name] = was if said is None and name.endswith("_every") else said
            continue
        settings[name] = was
        if said not in (was, usual):
            different.append(f"--{_flag(name)} is {said} but the run has {was}")
    if different:
        raise UserError(
            f"--resume {default.out}: {'; '.join(different)}. Leave these out to go on with the "
            "run's own settings, or choose another --out"
        )
    return make(**settings)


def _flag(name: str) -> str:
    return name.replace("_", "-")
