"""A run folder on disk -> `Run`: everything the report draws, with what is missing left empty."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.runs import checked
from isojepa.runs.checkpoints import Best, read_best
from isojepa.runs.metrics import read_metrics
from isojepa.runs.tables import read_skipped
from isojepa.theme.curves import Curve


class Sample(NamedTuple):
    """Some of the data with what the encoder and the projector made of them; sample.npz."""

    thumbnails: UInt8[np.ndarray, "n h w c"]
    """Small pictures, c in {1, 3}, at most 64 pixels a side."""
    embeddings: Float32[np.ndarray, "n d"]
    """From the encoder: what evaluation and export use."""
    projections: Float32[np.ndarray, "n k"]
    """From the projector: where SIGReg acts."""
    paths: np.ndarray
    """Where each picture came from, (n,) strings."""
    labels: Int64[np.ndarray, " n"] | None
    """Class of each picture, if known."""
    class_names: tuple[str, ...]
    """Name of each class; empty without labels."""

    def class_name(self, label: int) -> str:
        """Name of a label; a negative one means that the class is not known."""
        return self.class_names[label] if label >= 0 else "unlabelled"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run folder; all but `path`, `name` and `config` may be empty."""

    path: Path
    name: str
    """What the page calls it: the folder's name."""
    config: dict[str, Any]
    """config.json: config, command, versions, data, hardware, started, seconds."""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    """metrics.jsonl, a dict a line."""
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    """scores.json, by representation."""
    sample: Sample | None = None
    views: bytes | None = None
    """views.png."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of the files that could not be read."""
    best: Best | None = None
    """Update whose state is kept in checkpoints/best, with its scores."""

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of the training configuration."""
        return self.config.get("config") or {}

    def curve(self, key: str) -> Curve:
        """Steps and values of one metric; both empty if it was never logged."""
        points = [
            (m["step"], m[key])
            for m in self.metrics
            if isinstance(m.get(key), int | float)
            and isinstance(m.get("step"), int | float)
            and (isinstance(m[key], float) or abs(m[key]) < checked.LARGEST)
        ]
        steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
        return steps, values


def read_run(path: Path, name: str | None = None) -> Run:
    """Read a run folder; `name` is what the page calls it, by default the folder's name.

    Raises:
        UserError: if the folder or its config.json is missing, or a file in it is malformed.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: give the folder that `isojepa pretrain` wrote.")
    if not (path / "config.json").is_file():
        raise UserError(f"{path} has no config.json, so it is not a finished or running run.")
    made = checked.config(_read_json(path / "config.json"), path / "config.json")
    scores = path / "scores.json"
    return Run(
        path=path,
        name=path.resolve().name if name is None else name,
        config=made,
        metrics=read_metrics(path),
        scores=checked.scores(_read_json(scores), scores),
        sample=_read_sample(path / "sample.npz"),
        views=_read_views(path / "views.png"),
        skipped=read_skipped(path),
        best=read_best(path / "checkpoints"),
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UserError(f"{shown(path)} holds a {kind} where an object is expected.")
    return content


def _read_views(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    with reading(path, "an image"):
        content = path.read_bytes()
        picture_width(content)
    return content


def _read_sample(path: Path) -> Sample | None:
    if not path.is_file():
        return None
    with reading(path, "arrays"):
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        checked.arrays(arrays, path)
        labels = arrays.get("labels")
        labels = None if labels is None else labels.astype(np.int64)
        return Sample(
            thumbnails=arrays["thumbnails"],
            embeddings=arrays["embeddings"].astype(np.float32),
            projections=arrays["projections"].astype(np.float32),
            paths=arrays["paths"].astype(str),
            labels=labels,
            class_names=_class_names(labels, arrays.get("class_names")),
        )


def _class_names(labels: np.ndarray | None, names: np.ndarray | None) -> tuple[str, ...]:
    if labels is None:
        return ()
    known = [] if names is None else [str(name) for name in names]
    return (*known, *(f"class {i}" for i in range(len(known), int(labels.max(initial=-1)) + 1)))


def picture_width(content: bytes) -> int:
    """Width in pixels of an encoded picture."""
    with Image.open(io.BytesIO(content)) as image:
        return image.width
