"""Pillow's resize to a square as tensor operations, for graphs that take pixels of any size.

What `to_square` does to 8-bit pixels with `Image.resize((side, side), BICUBIC, reducing_gap=3)`,
to the last bit: blocks are averaged first where an image is at least six times as large, then
columns and rows are filtered in turn, with weights of 22 bits and a rounding to bytes after each.
Newer versions of Pillow begin with the rows of tall images.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, UInt8
from PIL import Image
from torch import Tensor

Size = int | torch.SymInt
GAP = 3
"""The `reducing_gap`: averaged blocks leave at least as many pixels for each of the square's."""
WEIGHT_BITS, BLOCK_BITS = 22, 24  # of Pillow's fixed-point arithmetic


def squeeze_pixels(
    pixels: UInt8[Tensor, "n h w c"], side: int, *, rows_first: bool
) -> UInt8[Tensor, "n c side side"]:
    """Whole images resized to squares; height and width may be symbols of an export.

    Args:
        pixels: at least 2 x 2.
        rows_first: whether tall images are filtered along their columns first, as
            `begins_with_rows` says that the Pillow at hand does.
    """
    _, height, width, _ = pixels.shape
    down, across = _factor(height, side), _factor(width, side)
    image = _averaged(pixels, down, across)
    rows = _bicubic(image.shape[2], height / down, side)
    columns = _bicubic(image.shape[3], width / across, side)
    if not rows_first:
        return _columns_first(image, rows, columns)
    less_height = torch.scalar_tensor(image.shape[2] - side)
    less_width = torch.scalar_tensor(image.shape[3] - side)
    tall = (less_height > 0) & (less_height > 2 * less_width)
    by_rows, by_columns = _rows_first(image, rows, columns), _columns_first(image, rows, columns)
    return torch.where(tall, by_rows, by_columns)  # a branch would be compiled when run eagerly


@cache
def begins_with_rows() -> bool:
    """Whether the installed Pillow filters along the columns first where an image is tall."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 17, 1), np.uint8)
    want = Image.fromarray(pixels[..., 0]).resize((16, 16), Image.Resampling.BICUBIC)
    got = squeeze_pixels(torch.from_numpy(pixels)[None], 16, rows_first=True)
    return bool((got[0, 0].numpy() == np.asarray(want)).all())


def _averaged(pixels: Tensor, down: Size, across: Size) -> Float64[Tensor, "n c h w"]:
    """Means of blocks, rounded to whole numbers as Pillow's `reduce` does."""
    blocks, columns = _block_sums(pixels.int(), across, axis=2)
    blocks, rows = _block_sums(blocks, down, axis=1)
    counts = rows[:, None] * columns
    multiplier = torch.floor((2.0**BLOCK_BITS / counts.float()).double())  # in single precision
    sums = blocks.permute(0, 3, 1, 2).double() + torch.floor(counts.double() / 2)
    return torch.floor(sums * multiplier / 2**BLOCK_BITS)


def _rows_first(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return _rounded(_rounded(rows @ image) @ columns.mT).to(torch.uint8)


def _columns_first(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return _rounded(rows @ _rounded(image @ columns.mT)).to(torch.uint8)


def _factor(source: Size, side: int) -> Size:
    """Width of the blocks that are averaged first, in pixels."""
    factor: Any = torch.sym_max(1, source // (GAP * side))
    return factor


def _block_sums(image: Tensor, width: Any, axis: int) -> tuple[Tensor, Tensor]:
    """Sums over blocks along an axis, the last one what is left, and how many pixels each has."""
    source = image.shape[axis]
    blocks: Any = (source + width - 1) // width
    starts = torch.arange(blocks) * width
    ends = (starts + width).clamp(max=source)
    sums = image.cumsum(axis, dtype=torch.int32).index_select(axis, ends - 1)
    first = torch.zeros_like(sums.narrow(axis, 0, 1))
    before = torch.cat([first, sums.narrow(axis, 0, blocks - 1)], axis)
    return sums - before, ends - starts


def _bicubic(source: Size, extent: Any, target: int) -> Float64[Tensor, "target source"]:
    """Weights of `target` pixels spread over `extent` of `source` pixels, in units of 2^-22."""
    single = torch.scalar_tensor(extent, dtype=torch.float32)  # as Pillow holds its box
    scale = single.double() / target
    stretch = scale.clamp_min(1)
    centre = (torch.arange(target, dtype=torch.float64) + 0.5) * scale
    distance = torch.arange(source, dtype=torch.float64) + 0.5 - centre[:, None]
    x = (distance / stretch).abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    weights = torch.where(x < 1, near, torch.where(x < 2, far, 0))
    weights = weights / weights.sum(1, keepdim=True) * 2**WEIGHT_BITS
    return torch.where(weights < 0, (weights - 0.5).ceil(), (weights + 0.5).floor())


def _rounded(sums: Tensor) -> Tensor:
    return torch.floor(sums / 2**WEIGHT_BITS + 0.5).clamp(0, 255)
