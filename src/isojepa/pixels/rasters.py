"""Numbers as they stand in a file -> a square of bytes, channel by channel."""

from typing import NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from isojepa.pixels.deep import depth, ends, to_byte
from isojepa.pixels.square import ImageInfo, Square, all_equal
from isojepa.pixels.unreadable import Unreadable

LUMA = np.array([0.299, 0.587, 0.114])
Ranges = tuple[tuple[float, float], ...]
"""Of each channel, the values that become 0 and 255."""


class Raster(NamedTuple):
    """One image as numbers in its own units; NaN where a value is missing."""

    values: np.ndarray
    """(h, w, c), of a real type, in the machine's order of bytes."""
    several: bool = False
    """Whether its file has further pages or frames."""


def square_of_raster(
    raster: Raster, side: int, channels: int, bits: int | None, ranges: Ranges | None
) -> Square:
    """The image as a square of bytes.

    Whole numbers of 8 bits stay as they are; those of more, without sign, are scaled as pictures
    of that depth are. Everything else is mapped by the ranges of its channels, what lies beyond
    them cut, and missing values take the lower end.

    Args:
        bits: as `to_square` has it.
        ranges: one for each channel, if the encoder reads numbers by ranges.

    Raises:
        Unreadable: for other numbers than the encoder reads, or another count of channels.
    """
    values, bands = as_channels(raster.values, channels)
    height, width = values.shape[:2]
    peak, bright = None, 0
    if ranges is not None:
        planes = _by_ranges(values, ranges, side)
    else:
        shown, peak, bright = _by_bits(values, bits)
        planes = [_resized(Image.fromarray(np.ascontiguousarray(x)), side) for x in shown]
    pixels = np.stack(planes)
    info = ImageInfo(
        short_side=min(height, width),
        grey=raster.values.shape[-1] == 1,
        peak=peak,
        bright=bright,
        several=raster.several,
        bands=bands,
        colourful=not all_equal(pixels, pixels[:1]),
        flat=all_equal(pixels, pixels[:, :1, :1]),
        digest=crc32(pixels.data),
    )
    return Square(pixels, width / height, info)


def as_channels(values: np.ndarray, channels: int) -> tuple[np.ndarray, int]:
    """The channels of (h, w, c) that are read; and the number of bands if there are more, else 0.

    Colours become grey, grey is repeated, and of more bands the first three or the first are taken.

    Raises:
        Unreadable: where several channels are read that are no colours, and there are others.
    """
    found = values.shape[-1]
    if found == channels:
        return values, 0
    if channels not in (1, 3):
        raise Unreadable(wrong_count(found, channels))
    if channels == 1 and found == 3:
        grey = (values @ LUMA)[..., None]
        return (grey if values.dtype.kind == "f" else grey.round().astype(values.dtype)), 0
    if channels == 1 or found < 3:
        first = values[..., :1]
        return np.repeat(first, channels, -1), 0 if found == 1 else found
    return values[..., :3], found


def wrong_count(found: int, channels: int) -> str:
    """Why an image does not fit an encoder of so many channels."""
    return f"{found} channel{'s' if found != 1 else ''} where {channels} are read"


def _by_bits(
    values: np.ndarray, bits: int | None
) -> tuple[UInt8[np.ndarray, "c h w"], int | None, int]:
    planes = np.moveaxis(values, -1, 0)
    if values.dtype == np.uint8:
        return planes, None, 0
    if values.dtype.kind == "f":
        raise Unreadable(
            "floating-point pixels, where others are whole numbers: convert to 8 or 16 bits first"
        )
    lowest = int(values.min())
    if lowest < 0:
        raise Unreadable(f"negative pixels (down to {lowest}): shift them to 0 and up first")
    if values.dtype.itemsize == 1:
        return planes.astype(np.uint8), None, 0
    peak, bright = ends(values)
    return to_byte(planes, bits or min(depth(peak), 63)), peak, bright


def _by_ranges(values: np.ndarray, ranges: Ranges, side: int) -> list[UInt8[np.ndarray, "s s"]]:
    if values.dtype == np.uint8:
        raise Unreadable("pixels of 8 bits, where others are numbers in units of their own")
    planes = []
    for k, (low, high) in enumerate(ranges):
        plane = np.asarray(values[..., k], np.float64)
        plane = np.where(np.isfinite(plane), (plane - low) / (high - low), 0).clip(0, 1) * 255
        found = _resized(Image.fromarray(plane.astype(np.float32)), side)
        planes.append(found.round().clip(0, 255).astype(np.uint8))
    return planes


def _resized(plane: Image.Image, side: int) -> np.ndarray:
    if plane.size != (side, side):
        plane = plane.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.array(plane, order="C")
