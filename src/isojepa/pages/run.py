"""A run folder on disk -> `Run`: everything the report draws, with what is missing left empty."""

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from PIL import Image

from isojepa.boundaries import reading, shown
from isojepa.encoders.evaluation.results import Scores, read_scores
from isojepa.errors import UserError
from isojepa.files import Json, load_arrays
from isojepa.runs.checkpoints import Best, read_best
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import CONFIG, RunRecord
from isojepa.runs.tables import read_skipped
from isojepa.runs.typed import LARGEST, from_json
from isojepa.theme.curves import Curve

AXES = {"thumbnails": 4, "embeddings": 2, "projections": 2, "paths": 1}
"""Arrays of sample.npz and how many axes they have."""
MOST_CLASSES = 10**7


class Sample(NamedTuple):
    """Some of the data with what the encoder and the projector made of them; sample.npz."""

    thumbnails: UInt8[np.ndarray, "n h w c"]
    """Small pictures, c in {1, 3}, at most 64 pixels a side."""
    embeddings: Float32[np.ndarray, "n d"]
    """From the network as it was trained; an exported encoder makes them white after that."""
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
    """One run folder; all but `path`, `name` and `record` may be empty."""

    path: Path
    name: str
    """What the page calls it: the folder's name."""
    record: RunRecord
    """config.json."""
    metrics: list[Json] = field(default_factory=list)
    """metrics.jsonl, an object a line."""
    scores: dict[str, Scores] = field(default_factory=dict)
    """scores.json, by representation."""
    sample: Sample | None = None
    views: bytes | None = None
    """views.png."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of the files that could not be read."""
    best: Best | None = None
    """Update whose state is kept in checkpoints/best, with its scores."""

    @property
    def settings(self) -> Json:
        """The fields of the training configuration."""
        return self.record.config

    def curve(self, key: str) -> Curve:
        """Steps and values of one metric; both empty if it was never logged."""
        logged = [(m.get("step"), m.get(key)) for m in self.metrics]
        points = [(step, value) for step, value in logged if _drawn(step) and _drawn(value)]
        steps, values = np.array(points, dtype=np.float64).reshape(-1, 2).T
        return steps, values


def _drawn(value: object) -> bool:
    """Whether a logged number has a place on a curve; NaN and infinity do."""
    if not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < LARGEST


def load_run(path: Path, name: str | None = None) -> Run:
    """Read a run folder; `name` is what the page calls it, by default the folder's name.

    Raises:
        UserError: if the folder or its config.json is missing, or a file in it is malformed.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder: give the folder that `isojepa pretrain` wrote.")
    if not (path / CONFIG).is_file():
        raise UserError(f"{path} has no {CONFIG}, so it is not a finished or running run.")
    with reading(path / CONFIG, "JSON"):
        content = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    if isinstance(content, dict):
        content = {"config": {}} | content
    return Run(
        path=path,
        name=path.resolve().name if name is None else name,
        record=from_json(RunRecord, content, path / CONFIG),
        metrics=read_metrics(path),
        scores=read_scores(path / "scores.json"),
        sample=_read_sample(path / "sample.npz"),
        views=_read_views(path / "views.png"),
        skipped=read_skipped(path),
        best=read_best(path / "checkpoints"),
    )


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
    with reading(path, "arrays"), load_arrays(path) as archive:
        thumbnails, embeddings, projections, paths = (archive[name] for name in AXES)
        labels = archive.get("labels")
        sample = Sample(
            thumbnails=thumbnails,
            embeddings=embeddings.astype(np.float32),
            projections=projections.astype(np.float32),
            paths=paths.astype(str),
            labels=None if labels is None else labels.astype(np.int64),
            class_names=_class_names(labels, archive.get("class_names")),
        )
    _check_sample(sample, path)
    return sample


def _check_sample(sample: Sample, path: Path) -> None:
    n, pictures, labels = len(sample.embeddings), sample.thumbnails, sample.labels
    axes = AXES if labels is None else AXES | {"labels": 1}
    for name, count in axes.items():
        array = getattr(sample, name)
        if array.ndim != count or len(array) != n or not all(array.shape[1:]):
            raise UserError(f"{shown(path)}: damaged ({name} has the shape {array.shape})")
    if pictures.dtype != np.uint8 or pictures.shape[-1] not in (1, 3):
        what = f"{pictures.dtype} of shape {pictures.shape}"
        raise UserError(f"{shown(path)}: damaged (thumbnails are {what})")
    if labels is not None and n and (labels.min() < -1 or labels.max() >= MOST_CLASSES):
        raise UserError(f"{shown(path)}: damaged (labels are out of range)")


def _class_names(labels: np.ndarray | None, names: np.ndarray | None) -> tuple[str, ...]:
    if labels is None:
        return ()
    named = [] if names is None else [str(name) for name in names]
    most = min(int(labels.max(initial=-1)), MOST_CLASSES)
    return (*named, *(f"class {i}" for i in range(len(named), most + 1)))


def picture_width(content: bytes) -> int:
    """Width in pixels of an encoded picture."""
    with Image.open(io.BytesIO(content)) as image:
        return image.width
