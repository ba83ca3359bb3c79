"""Images that are numbers rather than pictures: many channels, fractions, signs, own units.

What Pillow shows as it was meant stays with Pillow. The rest comes here: arrays, DICOM, and TIFF of
floating-point or signed numbers or with more channels than colours.
"""

from typing import NamedTuple

import numpy as np

from isojepa.pixels.dicom import is_dicom, read_dicom
from isojepa.pixels.items import Array, Item
from isojepa.pixels.rasters import Raster
from isojepa.pixels.tiff_rasters import has_reader, read_tiff, tiff_kind
from isojepa.pixels.unreadable import Unreadable

MOST_CHANNELS = 64
"""Beyond this, an axis is rather that of rows or columns."""


class Header(NamedTuple):
    """What is known of numbers before they are read, or soon after."""

    short_side: int
    """In pixels."""
    channels: int
    ranged: bool
    """Whether they are mapped to bytes by ranges of values: not by their number of bits."""


def raster_of(item: Item, channels: int | None = None) -> Raster | None:
    """The numbers of an image that is none for Pillow; None of one that is.

    Args:
        channels: that are asked for, where that is known.

    Raises:
        Unreadable: if it cannot be read.
    """
    raster = _raster(item, channels)
    if raster is not None and not raster.values.size:
        raise Unreadable("it has no pixels")
    return raster


def _raster(item: Item, channels: int | None) -> Raster | None:
    if isinstance(item, Array):
        return _of_array(item)
    if is_dicom(item):
        return read_dicom(item)
    kind = tiff_kind(item)
    if kind is None or not has_reader():
        return None
    is_asked = kind.samples == channels and channels not in (1, 3)
    return read_tiff(item) if kind.is_raster or is_asked else None


def header_of(raster: Raster) -> Header:
    """What decides how numbers are mapped to bytes."""
    height, width, channels = raster.values.shape
    return Header(min(height, width), channels, is_ranged(raster.values))


def is_ranged(values: np.ndarray) -> bool:
    """Whether numbers need a range of values: fractions, negative ones, and channels of more than
    8 bits that are no colours, each with a range of its own."""
    if values.dtype == np.uint8:
        return False
    if values.dtype.kind == "f" or values.shape[-1] not in (1, 3):
        return True
    return values.dtype.kind == "i" and bool(values.min(initial=0) < 0)


def _of_array(item: Array) -> Raster:
    values = item.values
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or not values.size:
        raise Unreadable(f"an array of shape {values.shape}: (h, w) or (h, w, c) is one image")
    if values.shape[-1] > MOST_CHANNELS:
        raise Unreadable(
            f"an array of shape {values.shape}: {values.shape[-1]} channels? The channels come last"
        )
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind not in "uif":
        raise Unreadable(f"an array of {values.dtype}: whole or real numbers are read")
    return Raster(np.asarray(values, values.dtype.newbyteorder("=")))
