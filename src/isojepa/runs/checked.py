"""What is read from a run's files has the types that the report counts on."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from isojepa.boundaries import shown
from isojepa.errors import UserError

NUMBERS = {
    "config": ("lambd", "batch_size", "knots", "t_max", "steps", "image_size", "projection_dim"),
    "data": ("images", "skipped", "train", "test", "image_size", "channels"),
}
MEASURED = ("linear", "knn", "kernel", "n_train", "n_test")
LARGEST = 1e300


def config(made: dict[str, Any], path: Path) -> dict[str, Any]:
    """config.json as it is.

    Raises:
        UserError: naming the entry that cannot be one.
    """
    for part in (*NUMBERS, "versions"):
        _require(isinstance(made.get(part) or {}, dict), path, part, made.get(part))
    for part, names in NUMBERS.items():
        _numbers(made.get(part) or {}, names, path)
    _numbers(made, ("seconds",), path)
    settings = made.get("config") or {}
    for name in ("batch_size", "knots", "t_max", "steps"):
        value = settings.get(name)
        _require(value is None or value > 0, path, name, value)
    for name, most in (("batch_size", 2**53), ("knots", 10_000), ("steps", 2**53)):
        value = settings.get(name)
        _require(value is None or (type(value) is int and value <= most), path, name, value)
    classes = (made.get("data") or {}).get("classes")
    names_of_classes = isinstance(classes, list) and all(isinstance(x, str) for x in classes)
    _require(classes is None or names_of_classes, path, "classes", classes)
    return made


def scores(table: dict[str, Any], path: Path) -> dict[str, dict[str, Any]]:
    """scores.json as it is.

    Raises:
        UserError: naming the entry that cannot be one.
    """
    for name, row in table.items():
        _require(isinstance(row, dict), path, name, row)
        _numbers(row, MEASURED, path)
        shots = row.get("shots") or {}
        _require(isinstance(shots, dict), path, "shots", shots)
        for shot, entry in shots.items():
            _require(str(shot).isdecimal(), path, "shots", shot)
            _require(entry is None or isinstance(entry, dict), path, f"shots {shot}", entry)
            _numbers(entry or {}, ("mean",), path)
            interval = (entry or {}).get("interval")
            pair = isinstance(interval, list) and len(interval) == 2 and all(map(_ok, interval))
            _require(interval is None or pair, path, f"shots {shot}", interval)
    return table


def arrays(sample: dict[str, np.ndarray], path: Path) -> None:
    """Raise `UserError` unless the arrays of sample.npz are of one length and of their shapes."""
    shapes = {"thumbnails": 4, "embeddings": 2, "projections": 2, "paths": 1}
    if sample.get("labels") is not None:
        shapes["labels"] = 1
    n = len(sample["embeddings"])
    for name, axes in shapes.items():
        array = sample[name]
        fits = array.ndim == axes and len(array) == n and all(array.shape[1:])
        _require(fits, path, name, f"an array of shape {array.shape}")
    pictures = sample["thumbnails"]
    _require(pictures.dtype == np.uint8, path, "thumbnails", f"of type {pictures.dtype}")
    _require(pictures.shape[-1] in (1, 3), path, "thumbnails", f"of shape {pictures.shape}")
    labels = sample.get("labels")
    if labels is not None and n:
        within = labels.min() >= -1 and labels.max() < 10**7
        _require(bool(within), path, "labels", "out of range")


def _numbers(entries: dict[str, Any], names: tuple[str, ...], path: Path) -> None:
    for name in names:
        _require(_ok(entries.get(name)), path, name, entries.get(name))


def _ok(value: Any) -> bool:
    if value is None:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < LARGEST and math.isfinite(value)


def _require(condition: bool, path: Path, name: str, value: Any) -> None:
    if not condition:
        raise UserError(f"{shown(path)}: damaged ({shown(name)} is {shown(str(value)[:60])})")
