"""Scraps of documents, 64 pixels, in several styles: prose, code, tables, lists, titles and more.

    python experiments/suite/documents.py --out sets/documents

Real text, from the documentation strings, the code and the tables of the standard library and of
installed packages, set in different typefaces, inks and papers. Test scraps have other typefaces
and other papers than training scraps. Which way up matters; colour is a nuisance.
"""

import inspect
import random as words_of
import string
import textwrap
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from made import SPLITS, Picture, font, main, some

SIDE, SHEET, TRAIN, TEST = 64, 192, 400, 100
STYLES = {
    "train": (("DejaVuSans", "roboto", "merriweather", "space_mono"), (0.0, 0.12)),
    "test": (("STIXGeneral", "montserrat", "inconsolata", "playfair_display"), (0.12, 0.25)),
}
"""Typefaces, and how far a paper's colour lies from white."""
Canvas: TypeAlias = ImageDraw.ImageDraw
Rng: TypeAlias = np.random.Generator
Ink: TypeAlias = tuple[int, int, int]
Draw = Callable[[Canvas, Rng, str, Ink], None]


def _sentence(rng: Rng, length: int) -> str:
    text = " ".join((inspect.getdoc(string) or "", inspect.getdoc(textwrap.TextWrapper) or "",
                     inspect.getdoc(words_of.Random) or ""))  # fmt: skip
    found = text.split()
    start = int(rng.integers(len(found)))
    return " ".join((found[start:] + found)[:length])


def _lines(
    draw: Canvas,
    face: ImageFont.FreeTypeFont,
    ink: Ink,
    lines: list[str],
    left: float,
    top: float,
    step: float,
) -> None:
    for k, line in enumerate(lines):
        draw.text((left, top + k * step), line, fill=ink, font=face)


def prose(draw: Canvas, rng: Rng, family: str, ink: Ink) -> None:
    size = int(rng.integers(13, 19))
    text = textwrap.wrap(_sentence(rng, 120), 46)
    _lines(draw, font(family, size), ink, text, -rng.uniform(0, 60), -rng.uniform(0, 20),
           1.3 * size)  # fmt: skip


def code(draw: Canvas, rng: Rng, family: str, ink: Ink) -> None:
    size = int(rng.integers(13, 19))
    source = inspect.getsource(textwrap).splitlines()
    source = [line for line in source if line.strip()]
    start = int(rng.integers(len(source) - 20))
    _lines(draw, font(family, size), ink, source[start : start + 20], 4, -rng.uniform(0, 20),
           1.3 * size)  # fmt: skip


def table(draw: Canvas, rng: Rng, family: str, ink: Ink) -> None:
    size, across = int(rng.integers(12, 17)), int(rng.integers(40, 64))
    face, step = font(family, size), 1.5 * size
    x0, y0 = -rng.uniform(0, across), -rng.uniform(0, step)
    for r in range(20):
        draw.line((0, y0 + r * step, SHEET, y0 + r * step), fill=ink)
        for c in range(6):
            number = f"{rng.uniform(0, 99):.1f}"
            draw.text((x0 + c * across + 4, y0 + r * step + 2), number, fill=ink, font=face)
    for c in range(7):
        draw.line((x0 + c * across, 0, x0 + c * across, SHEET), fill=ink)


def bullets(draw: Canvas, rng: Rng, family: str, ink: Ink) -> None:
    size = int(rng.integers(13, 19))
    left, top = rng.uniform(10, 40), -rng.uniform(0, 20)
    for k in range(10):
        y = top + k * 1.9 * size
        r = size / 5
        draw.ellipse((left, y + size / 2 - r, left + 2 * r, y + size / 2 + r), fill=ink)
        words = _sentence(rng, int(rng.integers(2, 5)))
        draw.text((left + size, y), words, fill=ink, font=font(family, size))


def title(draw: Canvas, rng: Rng, family: str, ink: Ink) -> None:
    size = int(rng.integers(34, 56))
    words = textwrap.wrap(_sentence(rng, 6).title(), 9)
    _lines(draw, font(family, size), ink, words, rng.uniform(-30, 10), rng.uniform(-10, 30),
           1.2 * size)  # fmt: skip


def form(draw: Canvas, rng: Rng, family: str, ink: Ink) -> None:
    size = int(rng.integers(12, 17))
    face, top = font(family, size), -rng.uniform(0, 20)
    for k in range(8):
        y, x = top + k * 2.6 * size, rng.uniform(-20, 20)
        draw.text((x, y), _sentence(rng, 1)[:8] + ":", fill=ink, font=face)
        draw.rectangle((x + 70, y - 2, x + 175, y + 1.5 * size), outline=ink)


def chart(draw: Canvas, rng: Rng, _family: str, ink: Ink) -> None:
    bars = int(rng.integers(4, 9))
    width, base = SHEET / bars, rng.uniform(140, 185)
    draw.line((0, base, SHEET, base), fill=ink, width=2)
    for k in range(bars):
        x, height = k * width, rng.uniform(10, 130)
        draw.rectangle((x + 4, base - height, x + width - 4, base), fill=ink)


def plot(draw: Canvas, rng: Rng, _family: str, ink: Ink) -> None:
    draw.line((16, 0, 16, 176), fill=ink, width=2)
    draw.line((16, 176, SHEET, 176), fill=ink, width=2)
    for _ in range(int(rng.integers(1, 4))):
        y = 90 + np.cumsum(rng.normal(0, 9, 23))
        points = [(16 + 8 * k, float(v)) for k, v in enumerate(y)]
        draw.line(points, fill=ink, width=2)


KINDS = {f.__name__: f for f in (prose, code, table, bullets, title, form, chart, plot)}


def pictures(share: float, seed: int) -> Iterator[Picture]:
    for split in SPLITS:
        families, far = STYLES[split]
        for i, (label, draw) in enumerate(KINDS.items()):
            rng = np.random.default_rng([seed, i, split == "test"])
            for _ in range(some(TRAIN if split == "train" else TEST, share)):
                pixels = _scrap(draw, families[rng.integers(len(families))], far, rng)
                yield Picture(split, label, pixels)


def _scrap(draw: Draw, family: str, far: tuple[float, float], rng: Rng) -> np.ndarray:
    paper = 1 - rng.uniform(*far) * rng.uniform(0.3, 1, 3)
    ink = rng.uniform(0, 0.45, 3)
    sheet = Image.new("RGB", (SHEET, SHEET), _bytes(paper))
    draw(ImageDraw.Draw(sheet), rng, family, _bytes(ink))
    sheet = sheet.rotate(rng.uniform(-2, 2), Image.Resampling.BILINEAR, fillcolor=_bytes(paper))
    small = np.asarray(sheet.resize((SIDE, SIDE), Image.Resampling.BOX), float)
    noise = rng.normal(0, rng.uniform(1, 6), small.shape)
    return (small + noise).clip(0, 255).round().astype(np.uint8)


def _bytes(colour: np.ndarray) -> Ink:
    r, g, b = (int(v) for v in 255 * colour)
    return r, g, b


if __name__ == "__main__":
    main(pictures)
