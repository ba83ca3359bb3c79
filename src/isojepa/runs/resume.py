"""Going on with a run: its own settings, and what was said now compared with them."""

import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import NamedTuple, TypeVar, get_type_hints

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.config import RunConfig
from isojepa.runs.record import CONFIG, RunRecord, read_run
from isojepa.runs.settings import ASKED, flag, plain, said
from isojepa.runs.typed import entry_from_json, read_json

log = logging.getLogger(__name__)
Config = TypeVar("Config", bound=RunConfig)
OF_THE_COMMAND = {"out", "resume", "overwrite", "preview"}  # what is done now, not how the run is
OF_ITS_OWN = {*OF_THE_COMMAND, "data", "like", "wandb", "mlflow"}  # of one run and no other
MAY_GROW = {"steps", "env_steps"}


def resumed(asked: Config) -> tuple[Config, RunRecord | None]:
    """The configuration to go on with, and the run's record; the asked and None for a new one.

    Raises:
        UserError: if there is no run, its config.json is damaged, or what was said contradicts it.
    """
    if not asked.resume:
        return asked, None
    path = asked.out / CONFIG
    if not path.is_file():
        raise UserError(f"--resume {shown(asked.out)}: there is no run there ({CONFIG} is missing)")
    stored = read_run(asked.out)
    if not stored.data:
        raise UserError(f"{shown(path)}: damaged (data is missing)")
    if stored.config.get("device") == "gpu":  # the word for cuda in version 0.1.0
        stored = replace(stored, config=stored.config | {"device": "cuda"})
    return merge_for_resume(asked, stored.config), stored


def like(asked: Config, path: Path | None) -> Config:
    """With another run's settings, or those of a JSON file, where nothing was said.

    Args:
        path: the run's folder or the file; None leaves all as it is.

    Raises:
        UserError: if it holds no settings, or one that cannot be.
    """
    if path is None:
        return asked
    file = path / CONFIG if path.is_dir() else path
    content = read_json(file)
    stored = content.get("config", content) if isinstance(content, dict) else None
    hints = get_type_hints(type(asked))
    names = {field.name for field in fields(asked)} - said(asked) - OF_ITS_OWN
    if not isinstance(stored, dict) or not names & stored.keys():
        raise UserError(f"--like {shown(file)}: no settings of a run")
    taken = {n: entry_from_json(hints[n], stored[n], file, n) for n in names & stored.keys()}
    if taken.get("steps") is not None or "steps" in said(asked):
        taken.pop("minutes", None)  # what they came to has been settled
    if "minutes" in said(asked):
        taken.pop("steps", None)
    return replace(asked, **{name: value for name, value in taken.items() if value is not None})


class _Setting(NamedTuple):
    """One setting of a run that is gone on with."""

    name: str
    now: object
    was: object
    again: object
    """The run's as it was said, where it was settled otherwise."""
    given: bool
    """Whether it was said now."""

    @property
    def grows(self) -> bool:
        numbers = isinstance(self.now, int) and isinstance(self.was, int)
        return self.name in MAY_GROW and self.given and numbers and self.now > self.was  # type: ignore[operator]

    def taken(self, may_differ: frozenset[str]) -> bool:
        """Whether what was said now counts, in place of the run's own."""
        return self.name in OF_THE_COMMAND or (
            self.given and (self.name in may_differ or self.grows)
        )

    @property
    def differs(self) -> bool:
        return self.given and plain(self.now) not in (plain(self.was), plain(self.again))

    def in_words(self) -> str:
        was = "none" if self.was is None else self.was
        return f"--{flag(self.name)} is {self.now} but the run has {was}"


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
    settings = _settings(asked, stored)
    taken = [one for one in settings if one.taken(asked.may_differ)]
    longer = [one for one in taken if one.grows]
    different = [one for one in settings if one not in taken and one.differs]
    if different:
        words = "; ".join(one.in_words() for one in (*different, *longer))
        raise UserError(
            f"--resume {shown(asked.out)}: {words}. Leave these out to go on with the run's own "
            "settings, or choose another --out. (--steps may be larger than the run's, to train "
            "on.)"
        )
    for one in longer:
        log.warning(
            "--steps %d instead of %d: the learning rate follows the schedule of %d updates from "
            "here on, so it rises again; not the same as %d updates from the start",
            *(one.now, one.was, one.now, one.now),
        )
    merged = {one.name: one.now if one in taken else one.was for one in settings}
    try:
        return type(asked)(said=said(asked), **merged)  # type: ignore[arg-type]
    except UserError as error:
        raise UserError(f"{shown(asked.out / CONFIG)}: {error}") from error


def _settings(asked: RunConfig, stored: Json) -> list[_Setting]:
    path, hints = asked.out / CONFIG, get_type_hints(type(asked))
    repeated = entry_from_json(dict[str, object], stored.get(ASKED, {}), path, ASKED)
    settings = []
    for field in fields(asked):
        name, now, was = field.name, getattr(asked, field.name), field.default
        if name in stored:
            was = entry_from_json(hints[name], stored[name], path, name)
        given = name in said(asked) and now is not None
        settings.append(_Setting(name, now, was, repeated.get(name, was), given))
    return settings
