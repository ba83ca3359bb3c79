"""Pictures of simple shapes by NumPy: a few hundred pixels each, with soft edges.

Coordinates are in pixels, (0, 0) the centre of the upper left one. Only the part of the picture
that a shape touches is computed.
"""

import numpy as np
from jaxtyping import Float32, UInt8

Picture = Float32[np.ndarray, "y x c"]
Colour = tuple[int, int, int]


def blank(size: int, colour: Colour) -> Picture:
    """A picture of one colour."""
    return np.full((size, size, 3), colour, np.float32)


def as_bytes(picture: Picture) -> UInt8[np.ndarray, "y x c"]:
    """The picture as it is stored: cut off, as the platform's drawing does, not rounded."""
    return picture.astype(np.uint8)


def paint_dot(picture: Picture, x: float, y: float, std: float, colour: Colour) -> None:
    """Paint a Gaussian dot of peak opacity 1 at (x, y), in place; nothing beyond 4 deviations."""
    size, reach = len(picture), 4 * std
    left, top = (max(0, int(np.ceil(c - reach))) for c in (x, y))
    right, bottom = (min(size, int(c + reach) + 1) for c in (x, y))
    if left >= right or top >= bottom:
        return
    across = np.exp(-0.5 * ((np.arange(left, right, dtype=np.float32) - x) / std) ** 2)
    down = np.exp(-0.5 * ((np.arange(top, bottom, dtype=np.float32) - y) / std) ** 2)
    _blend(picture[top:bottom, left:right], np.outer(down, across), colour)


def paint_box(
    picture: Picture, x: tuple[float, float], y: tuple[float, float], colour: Colour
) -> None:
    """Paint a rectangle between two x and two y, in place; pixels are covered by their share."""
    pixels = np.arange(len(picture), dtype=np.float32)
    across, down = (
        np.clip(np.minimum(pixels + 0.5, high) - np.maximum(pixels - 0.5, low), 0, 1)
        for low, high in (x, y)
    )
    xs, ys = across.nonzero()[0], down.nonzero()[0]
    if len(xs) and len(ys):
        part = np.s_[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
        _blend(picture[part], np.outer(down[part[0]], across[part[1]]), colour)


def paint_bar(
    picture: Picture,
    start: tuple[float, float],
    end: tuple[float, float],
    width: float,
    colour: Colour,
) -> None:
    """Paint a bar with round ends between two points (x, y), in place, its edge one pixel soft."""
    size, reach = len(picture), width / 2 + 1
    (x0, y0), (x1, y1) = start, end
    left, top = (max(0, int(np.floor(min(a, b) - reach))) for a, b in ((x0, x1), (y0, y1)))
    right, bottom = (min(size, int(max(a, b) + reach) + 2) for a, b in ((x0, x1), (y0, y1)))
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32) - x0
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - y0
    dx, dy = x1 - x0, y1 - y0
    along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
    distance = np.hypot(x - along * dx, y - along * dy)
    opacity = np.clip(width / 2 + 0.5 - distance, 0, min(1.0, width))
    _blend(picture[top:bottom, left:right], opacity, colour)


def _blend(part: Picture, opacity: np.ndarray, colour: Colour) -> None:
    opacity = opacity.astype(np.float32)[..., None]
    part += opacity * (np.asarray(colour, np.float32) - part)
