"""Icons of 32 pixels in random colours, test icons of other families: colour is a nuisance.

    python experiments/suite/icons.py --out sets/icons

From the icon fonts in qtawesome's wheel. A class is the first word of an icon's name: "camera",
"camera-retro" and "camera-slash-fill" are cameras. Material Design, Font Awesome and Codicons are
trained on; Phosphor and Remix Icon, drawn by others, are tested on. Each icon is drawn several
times, in random colours, at a random place and size.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from made import SPLITS, Picture, contrasting, main, package, painted, some

FAMILIES = {
    "train": ("materialdesignicons6", "fontawesome6-solid", "fontawesome6-regular", "codicon",
              "elusiveicons"),
    "test": ("phosphor", "remixicon"),
}  # fmt: skip
CLASSES = (
    "anchor", "bell", "battery", "book", "bookmark", "briefcase", "bug", "bus", "calendar",
    "camera", "car", "clipboard", "cloud", "compass", "database", "eye", "file", "fire", "flag",
    "flask", "folder", "gift", "heart", "image", "key", "keyboard", "leaf", "lightbulb", "lock",
    "map", "moon", "music", "pencil", "phone", "robot", "rocket", "shield", "star", "sun",
    "thermometer", "train", "truck", "umbrella", "wallet", "wifi",
)  # fmt: skip
SIDE, MOST, TRAIN, TEST = 32, 60, 200, 60
"""Pixels; icons of a class and family; images of a class."""


def pictures(share: float, seed: int) -> Iterator[Picture]:
    for split in SPLITS:
        families = FAMILIES[split]
        fonts = {name: _file(name) for name in families}
        glyphs = {name: _codes(name) for name in families}
        for i, label in enumerate(CLASSES):
            rng = np.random.default_rng([seed, i, split == "test"])
            drawn = [(f, code) for f in families for code in _of_class(glyphs[f], label)]
            for _ in range(some(TRAIN if split == "train" else TEST, share)):
                family, code = drawn[rng.integers(len(drawn))]
                mask = drawn_glyph(fonts[family], chr(int(code, 16)), rng)
                ink, paper = contrasting(rng)
                yield Picture(split, label,
                              painted(mask, ink, paper))  # fmt: skip


def drawn_glyph(file: str, character: str, rng: np.random.Generator) -> np.ndarray:
    """A glyph at a random place and size on SIDE x SIDE pixels, as a mask in [0, 1]."""
    size = rng.uniform(0.6, 0.9) * SIDE
    face = ImageFont.truetype(file, 4 * round(size))
    box = face.getbbox(character)
    canvas = Image.new("L", (4 * SIDE, 4 * SIDE))
    room = [4 * SIDE - (box[2] - box[0]), 4 * SIDE - (box[3] - box[1])]
    corner = [rng.uniform(0.25, 0.75) * r - box[k] for k, r in enumerate(room)]
    ImageDraw.Draw(canvas).text(tuple(corner), character, fill=255, font=face)
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255


def _of_class(codes: dict[str, str], label: str) -> list[str]:
    first = {name: re.sub("^(ri|ph)-", "", name).split("-")[0] for name in codes}
    return [codes[name] for name in sorted(codes) if first[name] == label][:MOST]


def _file(family: str) -> str:
    return str(next(f for f in sorted(_fonts().glob(f"{family}*.ttf"))))


def _codes(family: str) -> dict[str, str]:
    file = next(f for f in sorted(_fonts().glob(f"{family}*charmap*.json")))
    codes: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    return codes


def _fonts() -> Path:
    return package("qtawesome") / "fonts"


if __name__ == "__main__":
    main(pictures)
