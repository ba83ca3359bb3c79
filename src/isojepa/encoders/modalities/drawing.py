"""Small pictures of samples that are no images, and sheets of them."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw

COLOURS = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233),
)  # fmt: skip
"""Of Okabe and Ito, that people of all kinds of sight tell apart."""
MOST_LINES = 6
MARGIN = 4


def line_pictures(
    x: Float[np.ndarray, "n c t"], height: int, width: int
) -> UInt8[np.ndarray, "n h w 3"]:
    """Series as lines over time, of the first six channels, each picture on its own scale.

    Args:
        x: NaN where there is no line.
    """
    pictures = []
    for lines in x[:, :MOST_LINES]:
        known = lines[np.isfinite(lines)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        level = (lines - low) / max(high - low, 1e-9)
        sheet = Image.new("RGB", (2 * width, 2 * height), "white")
        for line, colour in zip(level, COLOURS):
            _draw(ImageDraw.Draw(sheet), line, colour, 2 * width, 2 * height)
        pictures.append(np.asarray(sheet.resize((width, height), Image.Resampling.BOX)))
    return np.stack(pictures)


def _draw(
    draw: ImageDraw.ImageDraw,
    line: np.ndarray,
    colour: tuple[int, int, int],
    width: int,
    height: int,
) -> None:
    across = np.linspace(2, width - 3, len(line))
    down = 3 + (1 - line) * (height - 7)
    known = np.isfinite(line)
    for run in np.split(np.arange(len(line)), np.flatnonzero(np.diff(known)) + 1):
        if not known[run[0]]:
            continue
        points = [(float(across[i]), float(down[i])) for i in run]
        draw.line(points if len(points) > 1 else points * 2, fill=colour, width=2)


def cell_pictures(x: Float[np.ndarray, "n d"], side: int) -> UInt8[np.ndarray, "n h w 3"]:
    """Rows as a square of cells: blue below the mean, orange above it, grey where unknown.

    Args:
        x: in standard deviations; NaN where unknown.
    """
    n, d = x.shape
    columns = int(np.ceil(np.sqrt(d)))
    cells = np.full((n, columns * columns), np.nan)
    cells[:, :d] = x
    part = np.tanh(np.nan_to_num(cells) / 1.5)[..., None]
    white, blue, orange = (np.array(c, float) for c in ((255, 255, 255), COLOURS[0], COLOURS[1]))
    colour = white + np.abs(part) * (np.where(part < 0, blue, orange) - white)
    colour[np.isnan(cells)] = 210
    colour[:, d:] = 255
    square = colour.reshape(n, columns, columns, 3).round().astype(np.uint8)
    place = np.arange(side) * columns // side
    return square[:, place][:, :, place]


def png_sheet(columns: Sequence[UInt8[np.ndarray, "rows h w 3"]]) -> bytes:
    """Columns of pictures on a white sheet."""
    tiles = [
        np.pad(c, ((0, 0), (MARGIN,) * 2, (MARGIN,) * 2, (0, 0)), constant_values=255)
        for c in columns
    ]
    sheet = np.concatenate([np.concatenate(list(column), 0) for column in tiles], 1)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG")
    return buffer.getvalue()
