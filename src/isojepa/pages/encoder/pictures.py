"""Pictures as data URIs, one sprite sheet of thumbnails, and who resembles whom."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64, UInt8
from PIL import Image

from isojepa.theme.render import data_uri

MOST_PNG_VALUES = 1_200_000
"""A sheet of more values is stored as JPEG, which compresses photographs, and quickly."""
MOST_JPEG_BYTES = 1_400_000
"""Browsers take a CSS variable of 2 MiB, which base64 fills with 1.5 MB."""


class Sprites(NamedTuple):
    """Many thumbnails in one picture, for CSS to cut out by position."""

    uri: str
    columns: int
    rows: int
    cell: tuple[int, int]
    """Width and height of a thumbnail, in pixels of the sheet."""
    place: dict[int, tuple[int, int]]
    """Column and row of each sample on the sheet, by its index in the run's sample."""

    def size(self, width: int) -> tuple[int, int]:
        """Width and height of a thumbnail shown `width` pixels wide."""
        return width, round(width * self.cell[1] / self.cell[0])

    def position(self, index: int, width: int) -> str:
        """CSS background-position that shows a sample `width` pixels wide."""
        (column, row), (_, height) = self.place[index], self.size(width)
        return f"{-column * width}px {-row * height}px"

    def sheet_size(self, width: int) -> str:
        """CSS background-size for thumbnails shown `width` pixels wide."""
        return f"{self.columns * width}px {self.rows * self.size(width)[1]}px"


def sprite_sheet(thumbnails: UInt8[np.ndarray, "n h w c"], indices: Sequence[int]) -> Sprites:
    """Lay the thumbnails of `indices` out on a sheet, row by row."""
    _, h, w, c = thumbnails.shape
    columns = max(1, math.ceil(math.sqrt(len(indices) * h / w)))
    rows = max(1, math.ceil(len(indices) / columns))
    sheet = np.zeros((rows, columns, h, w, c), dtype=np.uint8)
    sheet.reshape(-1, h, w, c)[: len(indices)] = thumbnails[list(indices)]
    pixels = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, c)
    return Sprites(
        uri=_sheet_uri(Image.fromarray(pixels[..., 0] if c == 1 else pixels), pixels.size),
        columns=columns,
        rows=rows,
        cell=(w, h),
        place={index: (i % columns, i // columns) for i, index in enumerate(indices)},
    )


def _sheet_uri(image: Image.Image, values: int) -> str:
    if values <= MOST_PNG_VALUES:
        return data_uri(_encode(image, "PNG", optimize=True), "png")
    for quality in (88, 70, 50, 25, 5):
        jpeg = _encode(image, "JPEG", quality=quality, subsampling=0)
        if len(jpeg) <= MOST_JPEG_BYTES:
            break
    return data_uri(jpeg, "jpeg")


def _encode(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def cosine_neighbours(
    x: Float[np.ndarray, "n d"], queries: Int64[np.ndarray, " q"], k: int = 8
) -> tuple[Int64[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """The k samples of largest cosine similarity to each query, itself left out, nearest first."""
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    similarity = unit[queries] @ unit.T
    similarity[np.arange(len(queries)), queries] = -np.inf
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(k, len(x) - 1)]
    return nearest, np.take_along_axis(similarity, nearest, axis=1)


def spread_queries(
    labels: Int64[np.ndarray, " n"] | None, n: int, count: int = 10, seed: int = 0
) -> Int64[np.ndarray, " q"]:
    """About `count` samples to look at: in turn one of each class if known, else at random."""
    order = np.random.default_rng(seed).permutation(n)
    if labels is None:
        return order[:count]
    turn = np.empty(n, dtype=np.int64)  # how many of the same class come earlier in `order`
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    chosen = order[np.argsort(turn[order], kind="stable")][:count]
    return chosen[np.argsort(labels[chosen], kind="stable")]
