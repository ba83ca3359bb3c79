"""A labelled set of small grey patches, cut from photographs that ship inside Python wheels.

    python experiments/textures.py --out textures

Seventeen photographs come with the wheels of scikit-image and scikit-learn: nothing is downloaded.
A patch's class is the photograph it was cut from. What would give the class away without any
notion of content is removed: patches are grey and share one mean and one standard deviation.
Training and test patches come from different blocks of each photograph, with an unused margin
between blocks, so that no pixel is ever in both.

Takes 5 seconds on one core; needs the `test` extra. README.md beside this file has the scores.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
import sklearn.datasets
import tyro
from jaxtyping import Float, Int, UInt8
from PIL import Image
from rich.console import Console
from rich.table import Table

PHOTOGRAPHS = {
    "astronaut": 1,
    "brick": 1,
    "camera": 1,
    "chelsea": 1,
    "china": 1,
    "coffee": 1,
    "coins": 1,
    "flower": 1,
    "grass": 1,
    "gravel": 1,
    "hubble_deep_field": 1,
    "ihc": 1,
    "motorcycle_left": 1,
    "page": 1,
    "retina": 2,
    "rocket": 1,
    "text": 1,
}
"""Each photograph, and the factor by which it is shrunk first (the retina is smooth at 32 pixels).

Left out: drawings and logos, the second view of the motorcycle, and the cell, the moon and the
moving clock, of which more than three quarters are nearly constant.
"""

MINIMUM_DEVIATION = 6.0
"""Patches with a smaller standard deviation, of 255, are sky or wall: normalised, they would show
only noise and JPEG blocks."""
MEAN, DEVIATION = 128.0, 40.0
"""Of every patch, before it is clipped to [0, 255]."""
MARGIN = 8
"""Unused pixels between neighbouring blocks."""


@dataclass(frozen=True, kw_only=True)
class Config:
    out: Path
    """Folder to write train/CLASS/0001.png and test/CLASS/0001.png into; must not hold any yet."""
    size: int = 32
    """Side of a patch, in pixels; 16 to 48."""
    per_class: int = 250
    """Training patches of each class; a third as many test patches come on top."""
    seed: int = 0
    """Chooses the patches; the blocks are always the same."""

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 48:
            raise SystemExit(f"--size must be between 16 and 48, got {self.size}")
        if self.per_class < 3:
            raise SystemExit(f"--per-class must be at least 3, got {self.per_class}")


class Patches(NamedTuple):
    """Patches of one photograph, and where each was cut."""

    images: UInt8[np.ndarray, "n size size"]
    corners: Int[np.ndarray, "n 2"]
    """Top and left pixel in the shrunk photograph."""


def main(config: Config) -> None:
    for part in ("train", "test"):
        if (config.out / part).exists():
            raise SystemExit(f"{config.out / part} exists: choose another --out or remove it")
    table = Table("class", "train", "test", title=f"{len(PHOTOGRAPHS)} classes")
    for index, name in enumerate(PHOTOGRAPHS):
        rng = np.random.default_rng([config.seed, index])
        counts = {"train": config.per_class, "test": config.per_class // 3}
        for part, count in counts.items():
            images = cut(name, part == "test", config.size, count, rng).images
            write(config.out / part / name, images)
        table.add_row(name, str(counts["train"]), str(counts["test"]))
    Console().print(table)


def cut(name: str, test: bool, size: int, count: int, rng: np.random.Generator) -> Patches:
    """Distinct patches from the training or the test blocks of one photograph, normalised."""
    image = photograph(name)
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    corners = candidate_corners(image.shape, size, test)
    corners = corners[windows[tuple(corners.T)].std((1, 2)) >= MINIMUM_DEVIATION]
    if len(corners) < count:
        raise SystemExit(
            f"{name} has only {len(corners)} patches of {size} pixels where {count} are needed: "
            "lower --per-class or --size"
        )
    corners = corners[rng.choice(len(corners), count, replace=False)]
    return Patches(normalise(windows[tuple(corners.T)]), corners)


def photograph(name: str) -> Float[np.ndarray, "height width"]:
    """Luminance of one photograph, 0 to 255, shrunk by its factor."""
    folders = (
        Path(skimage.__file__).parent / "data",
        Path(sklearn.datasets.__file__).parent / "images",
    )
    path = next(path for folder in folders for path in folder.glob(f"{name}.*"))
    with Image.open(path) as image:
        return np.asarray(image.convert("L").reduce(PHOTOGRAPHS[name]), np.float32)


def candidate_corners(shape: tuple[int, ...], size: int, test: bool) -> Int[np.ndarray, "n 2"]:
    """Top left corners, an eighth of a patch apart, of patches inside training or test blocks.

    Blocks are about three patches wide. Every fourth diagonal of blocks is for testing, so that
    every part of the scene is near both kinds.
    """
    corners = [
        (top, left)
        for row, (y_start, y_stop) in enumerate(_blocks(shape[0], size))
        for column, (x_start, x_stop) in enumerate(_blocks(shape[1], size))
        if ((row + column) % 4 == 1) == test
        for top in range(y_start, y_stop - size + 1, size // 8)
        for left in range(x_start, x_stop - size + 1, size // 8)
    ]
    return np.array(corners)


def _blocks(length: int, size: int) -> list[tuple[int, int]]:
    """Start and stop of the blocks along one side, margins excluded."""
    edges = np.linspace(0, length, max(round(length / (3 * size)), 2) + 1).astype(int)
    return [(int(a) + MARGIN // 2, int(b) - MARGIN // 2) for a, b in pairwise(edges)]


def normalise(patches: Float[np.ndarray, "n s s"]) -> UInt8[np.ndarray, "n s s"]:
    """Give every patch the same mean and standard deviation."""
    centred = patches - patches.mean((1, 2), keepdims=True)
    scaled = centred / centred.std((1, 2), keepdims=True) * DEVIATION + MEAN
    return scaled.round().clip(0, 255).astype(np.uint8)


def write(folder: Path, images: UInt8[np.ndarray, "n s s"]) -> None:
    """Save as 0001.png, 0002.png, and so on."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images, 1):
        Image.fromarray(image).save(folder / f"{number:04d}.png")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
