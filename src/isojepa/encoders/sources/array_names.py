"""Which arrays of a file hold images, which their labels, and of which part of a split they are."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isojepa.boundaries import shown
from isojepa.encoders.sources.roles import role
from isojepa.errors import UserError

IMAGES = {"x", "image", "images", "imgs", "img", "data", "arr", "pixels", "samples", "0"}
LABELS = {"y", "label", "labels", "target", "targets", "class", "classes"}
CLASS_NAMES = ("class_names", "classnames", "label_names")
Described = Mapping[str, tuple[tuple[int, ...], np.dtype]]


class ChosenArrays(NamedTuple):
    """Arrays of one part, by name."""

    images: str
    labels: str | None
    classes: str | None
    """Names of the classes that the labels count."""
    is_test: bool


def choose_arrays(path: Path, arrays: Described) -> list[ChosenArrays]:
    """The arrays of images of a file with their labels: one, or the parts of a split.

    Raises:
        UserError: if there is none, or it is not clear which is meant.
    """
    found = [
        n for n, (shape, kind) in arrays.items() if len(shape) in (3, 4) and kind.kind in "buif"
    ]
    where = f"--data {shown(path)}"
    if not found:
        listed = ", ".join(f"{shown(n)}: {shape} {kind}" for n, (shape, kind) in arrays.items())
        objects = any(kind.hasobject for _, kind in arrays.values())
        why = "; arrays of objects are not read, since they would have to be unpickled" * objects
        raise UserError(
            f"{where}: no array of images, (n, h, w) or (n, h, w, c) ({listed[:200]}){why}"
        )
    kinds = [r.kind if (r := role(_part(name))) else None for name in found]
    if len(found) > 1 and (len(set(kinds)) < 2 or not set(kinds) <= {"train", "test", "extra"}):
        raise UserError(
            f"{where}: several arrays of images ({', '.join(map(shown, found))}); leave one, or "
            "call them train_images and test_images"
        )
    classes = next((name for name in CLASS_NAMES if name in arrays), None)
    return [
        ChosenArrays(name, _labels(name, arrays, alone=len(found) == 1), classes, kind == "test")
        for name, kind in zip(found, kinds)
    ]


def _labels(images: str, arrays: Described, *, alone: bool) -> str | None:
    """The labels of the same part, one for each image."""
    n = arrays[images][0][0]
    for name, (shape, kind) in arrays.items():
        is_one_each = shape in ((n,), (n, 1)) and kind.kind in "uifUS"
        is_named = bool(set(_words(name)) & LABELS) and name not in CLASS_NAMES
        if is_one_each and is_named and (alone or _part(name) == _part(images)):
            return name
    return None


def _words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Za-z]+|\d+", name)]


def _part(name: str) -> str:
    """What is left of an array's name: x_train and train_images are both train."""
    return " ".join(word for word in _words(name) if word not in IMAGES | LABELS)
