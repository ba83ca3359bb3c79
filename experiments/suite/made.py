"""How a set of the suite is made: pictures from a script, a folder of PNG files out.

A script yields `Picture`s; `make` writes OUT/train/CLASS/00001.png and OUT/test/CLASS/00001.png,
as `isojepa pretrain` reads them, and OUT.csv with the true factors where there are any. Everything
is a function of the script and its seed: two machines with the same wheels write the same files.
"""

import csv
import importlib.util
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tyro
from PIL import Image, ImageFont

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")


class Picture(NamedTuple):
    """One image of a set."""

    split: Split
    label: str | None
    """Its class; None where a set has factors in place of classes."""
    pixels: np.ndarray
    """(h, w) or (h, w, 3), uint8."""
    factors: dict[str, float] | None = None
    """What a simulator knows of it."""


Maker = Callable[[float, int], Iterator[Picture]]
"""(share of the full size in (0, 1], seed) -> the pictures of a set."""


@dataclass(frozen=True, kw_only=True)
class Config:
    out: Path
    """Folder to write; replaced where an earlier one is whole or half there."""
    share: float = 1.0
    """Share of the full set to make, for trials."""
    seed: int = 0
    """Of everything random."""


def make(maker: Maker, out: Path, *, share: float = 1.0, seed: int = 0) -> Path:
    """Write a set, under another name first so that a folder of that name is always whole.

    Training images come first; a test image that is one of them is left out.
    """
    part = out.with_name(f"{out.name}.part")
    for old in (part, out):
        shutil.rmtree(old, ignore_errors=True)
    rows: list[dict[str, object]] = []
    trained_on: set[bytes] = set()
    for i, picture in enumerate(maker(share, seed)):
        content = picture.pixels.tobytes()
        if picture.split == "train":
            trained_on.add(content)
        elif content in trained_on:
            continue  # such as two recordings of silence
        place = part / picture.split / (picture.label or "")
        place.mkdir(parents=True, exist_ok=True)
        file = place / f"{i:05d}.png"
        Image.fromarray(picture.pixels).save(file)
        if picture.factors is not None:
            rows.append({"path": f"{picture.split}/{file.name}", **picture.factors})
    if rows:
        with out.with_suffix(".csv").open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)
    part.rename(out)
    return out


def main(maker: Maker) -> None:
    """The command line of a set's script."""
    config = tyro.cli(Config)
    made = make(maker, config.out, share=config.share, seed=config.seed)
    print(f"{made}: {sum(1 for _ in made.rglob('*.png'))} images")


def some(number: int, share: float, least: int = 2) -> int:
    """A share of a number, but at least a few."""
    return max(least, round(number * share))


def package(name: str) -> Path:
    """The folder of an installed package, which is not imported: only its files are wanted."""
    found = importlib.util.find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{name} is not installed: pip install -e '.[suite]'")
    return Path(found.submodule_search_locations[0])


def font(family: str, size: int) -> ImageFont.FreeTypeFont:
    """The upright face of a `fontpkg` family, or one of matplotlib's fonts by its file's name."""
    own = package("matplotlib") / "mpl-data" / "fonts" / "ttf" / f"{family}.ttf"
    if own.is_file():
        return ImageFont.truetype(str(own), size)
    files = sorted((package(f"fontpkg_{family}") / "files").glob("*.[to]tf"))
    upright = [f for f in files if "Italic" not in f.name and "Bold" not in f.name]
    return ImageFont.truetype(str((upright or files)[0]), size)


def photograph(name: str) -> np.ndarray:
    """One of scikit-image's, as its wheel has it: (h, w) or (h, w, 3), uint8."""
    found = sorted((package("skimage") / "data").glob(f"{name}.*"))
    return np.asarray(Image.open(found[0]).convert("RGB"))


def contrasting(rng: np.random.Generator, apart: float = 0.35) -> tuple[np.ndarray, np.ndarray]:
    """Two random colours whose luma differs, so that one can be read on the other."""
    luma = np.array([0.299, 0.587, 0.114])
    while True:
        ink, paper = rng.uniform(0, 1, (2, 3))
        if abs((ink - paper) @ luma) >= apart:
            return ink, paper


def painted(mask: np.ndarray, ink: np.ndarray, paper: np.ndarray) -> np.ndarray:
    """A mask in [0, 1] of shape (h, w) drawn in one colour on another, or on an image in [0, 1]."""
    mixed = paper + mask[..., None] * (ink - paper)
    return (255 * mixed.clip(0, 1)).round().astype(np.uint8)
