"""The sets of the suite: what each is for, and which are kept for the final check.

python experiments/suite/sets.py --out sets        # makes all of them: a minute on one core
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from made import Maker, make


class Kind(NamedTuple):
    """What a set asks of an encoder."""

    holds: str
    upright: bool = False
    """Whether orientation matters: a mirrored or turned image is another thing, or none."""
    colour: str = "none"
    """signal, nuisance, or none where images are grey or colours are always the same."""
    small: bool = False
    """Whether what is asked for is a small part of the image."""
    reserved: bool = False
    """Used for the final check of the defaults only, never for choosing them."""


SETS = {
    "digits": Kind("handwritten digits, 8 px", upright=True),
    "mnist": Kind("handwritten digits, 28 px", upright=True),
    "faces": Kind("faces and what is around them, 25 px"),
    "photographs": Kind("patches of photographs, 48 px", colour="signal"),
    "micrographs": Kind("patches of stains and tissues, 40 px", reserved=True),
    "icons": Kind("icons of other families, 32 px", colour="nuisance"),
    "letters": Kind(
        "letters of other typefaces, 32 px", upright=True, colour="nuisance", reserved=True
    ),
    "scenes": Kind("a digit on a photograph, 48 px", upright=True, colour="nuisance", small=True),
    "documents": Kind("scraps of documents, 64 px", upright=True, colour="nuisance"),
    "simulator": Kind("PushT, 64 px, six factors", upright=True, small=True),
    "spectrograms": Kind("currents of appliances, 32 px", upright=True),
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Make the sets that are not there yet."""

    out: Path = Path("sets")
    only: tuple[str, ...] = tuple(SETS)
    share: float = 1.0
    """Share of the full sets to make, for trials."""


def maker(name: str) -> Maker:
    """What makes a set: the `pictures` of the script of its name."""
    found: Maker = importlib.import_module(name).pictures
    return found


def made(name: str, home: Path, share: float = 1.0) -> Path:
    """The folder of a set, made first where it is missing."""
    folder = home / (name if share == 1 else f"{name}-{share:g}")
    return folder if folder.is_dir() else make(maker(name), folder, share=share)


def main() -> None:
    config = tyro.cli(Config)
    for name in config.only:
        folder = made(name, config.out, config.share)
        print(f"{folder}: {sum(1 for _ in folder.rglob('*.png'))} images, {SETS[name].holds}")


if __name__ == "__main__":
    main()
