"""A world model's run folder on disk -> all that its page shows; what is missing stays empty."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from isojepa.embeddings.measurement import LEAST_ROWS, Measurement, measure
from isojepa.embeddings.samples import from_array
from isojepa.errors import UserError
from isojepa.pages.run import Run, read_run

Arrays = dict[str, np.ndarray]


class Control(NamedTuple):
    """One evaluation of control: a file control*.json and the film beside it."""

    name: str
    result: dict[str, Any]
    film: bytes | None
    """A GIF."""

    @property
    def protocol(self) -> str:
        """Strict or published."""
        return str(self.result.get("protocol", "unknown"))


class Part(NamedTuple):
    """What one verb left behind: its JSON and its arrays; both empty if it was not run."""

    result: dict[str, Any]
    arrays: Arrays

    def __bool__(self) -> bool:
        return bool(self.result)


@dataclass(frozen=True, kw_only=True)
class WorldRun:
    """One run folder of `isojepa world train`."""

    run: Run
    """Configuration and curves."""
    controls: tuple[Control, ...]
    """The strict protocol first."""
    probes: Part
    surprise: Part
    decoder: Part
    film: bytes | None
    """imagined.gif."""
    shape: Measurement | None
    """A diagnosis of the held-out embeddings, without its tests; None without probes."""

    @property
    def embedding_dim(self) -> int | None:
        """Dimensions of the embedding."""
        return self.run.settings.get("embedding_dim")

    def last(self, key: str) -> float | None:
        """The value of a metric when it was last measured."""
        values = self.run.curve(key)[1]
        return float(values[-1]) if len(values) else None

    def ahead(self, name: str) -> list[float]:
        """The last held-out errors 1, 2, ... blocks ahead, of `rollout` or `persistence`."""
        found: list[float] = []
        while (value := self.last(f"held_out_{name}_{len(found) + 1}")) is not None:
            found.append(value)
        return found


def read_world_run(path: Path) -> WorldRun:
    """Read a run folder.

    Raises:
        UserError: if the folder is no run, or a file in it is malformed.
    """
    probes = _part(path, "probes")
    film = path / "imagined.gif"
    return WorldRun(
        run=read_run(path),
        controls=_controls(path),
        probes=probes,
        surprise=_part(path, "surprise"),
        decoder=_part(path, "decoder"),
        film=film.read_bytes() if film.is_file() else None,
        shape=_shape(probes.arrays.get("z")),
    )


def _part(path: Path, name: str) -> Part:
    result, arrays = path / f"{name}.json", path / f"{name}.npz"
    if not result.is_file():
        return Part({}, {})
    return Part(_read_json(result), _read_arrays(arrays) if arrays.is_file() else {})


def _controls(path: Path) -> tuple[Control, ...]:
    found = []
    for file in sorted(path.glob("control*.json")):
        result = _read_json(file)
        if "success" not in result:
            continue
        film = file.with_suffix(".gif")
        content = film.read_bytes() if film.is_file() else None
        found.append(Control(file.stem, result, content))
    return tuple(sorted(found, key=lambda c: (c.protocol != "strict", c.name)))


def _shape(z: np.ndarray | None) -> Measurement | None:
    if z is None or len(z) < LEAST_ROWS or not np.isfinite(z).all():
        return None
    return measure(from_array(z, "held-out embeddings"), test=False, n_null=99)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__} where an object is expected")
    return content


def _read_arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, OSError, BadZipFile) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
