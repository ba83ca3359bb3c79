"""26 capital letters of 32 pixels in random colours, test letters in other typefaces.

    python experiments/suite/letters.py --out sets/letters

Fonts of matplotlib's wheel and of the fontpkg wheels (SIL Open Font License). Colour is a nuisance;
which way up matters. Kept for the final check: no default was chosen by it.
"""

import string
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from made import SPLITS, Picture, contrasting, font, main, painted, some

FONTS = {
    "train": ("DejaVuSans", "DejaVuSerif", "cmtt10", "roboto", "oswald", "pacifico", "space_mono",
              "caveat", "bungee", "cinzel"),
    "test": ("STIXGeneral", "lobster", "inconsolata", "playfair_display", "indie_flower",
             "press_start_2p"),
}  # fmt: skip
SIDE, TRAIN, TEST = 32, 240, 72


def pictures(share: float, seed: int) -> Iterator[Picture]:
    for split in SPLITS:
        families = FONTS[split]
        for i, letter in enumerate(string.ascii_uppercase):
            rng = np.random.default_rng([seed, i, split == "test"])
            for _ in range(some(TRAIN if split == "train" else TEST, share)):
                mask = drawn_letter(families[rng.integers(len(families))], letter, rng)
                ink, paper = contrasting(rng)
                yield Picture(split, letter,
                              painted(mask, ink, paper))  # fmt: skip


def drawn_letter(family: str, letter: str, rng: np.random.Generator) -> np.ndarray:
    """A letter turned by a few degrees, at a random place and size; a mask in [0, 1]."""
    face = font(family, 4 * round(rng.uniform(0.55, 0.85) * SIDE))
    left, top, right, bottom = face.getbbox(letter)
    canvas = Image.new("L", (4 * SIDE, 4 * SIDE))
    x = rng.uniform(0.3, 0.7) * (4 * SIDE - (right - left)) - left
    y = rng.uniform(0.3, 0.7) * (4 * SIDE - (bottom - top)) - top
    ImageDraw.Draw(canvas).text((x, y), letter, fill=255, font=face)
    canvas = canvas.rotate(rng.uniform(-12, 12), Image.Resampling.BILINEAR)
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255


if __name__ == "__main__":
    main(pictures)
