"""TIFF of numbers, through tifffile: any type and number of channels, tiled or in planes.

Several pages are channels where the file says so (OME and ImageJ name their axes); otherwise the
first page is read.
"""

import importlib.util
import logging
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from isojepa.boundaries import Blob, reading
from isojepa.pixels.items import Encoded
from isojepa.pixels.rasters import Raster
from isojepa.pixels.tiff_tags import (
    BITS,
    DNG_VERSION,
    FLOATING,
    FORMAT,
    PHOTOMETRIC,
    SAMPLES,
    SIGNED,
    UNSIGNED,
    first_of,
    tags_of,
)
from isojepa.pixels.unreadable import Unreadable

DESCRIPTION, EXTRA_SAMPLES, NODATA = 270, 338, 42113
COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 4, 6: 3, 8: 3, 9: 3, 10: 3}
"""Channels that are colours, by photometric interpretation."""
ALPHA = {1, 2}
MOST_VALUES = 2_000_000_000
"""Of one image, beyond which it is taken for a decompression bomb."""


class TiffKind(NamedTuple):
    """What the tags of the first page say."""

    samples: int
    floating: bool
    signed: bool
    extra: bool
    """More channels than colours and transparency."""
    axes: bool
    """Its description names axes."""

    @property
    def is_raster(self) -> bool:
        """Whether Pillow would not show all of it, or in other units."""
        return self.floating or self.signed or self.extra or self.axes


def tiff_kind(item: Encoded) -> TiffKind | None:
    """What a TIFF is; None for other files and for those whose tags cannot be read."""
    with suppress(Exception), item.open("rb") as file:  # Pillow will say what is wrong with it
        tags = tags_of(file)
        if tags is None or DNG_VERSION in tags:
            return None
        samples, form = first_of(tags.get(SAMPLES, 1)), first_of(tags.get(FORMAT, UNSIGNED))
        extras = tags.get(EXTRA_SAMPLES, ())
        alpha = len(extras) > 0 and extras[0] in ALPHA
        colours = COLOURS.get(first_of(tags.get(PHOTOMETRIC, 1)), samples)
        words = str(tags.get(DESCRIPTION, ""))
        return TiffKind(
            samples=samples,
            floating=form == FLOATING,
            signed=form == SIGNED and first_of(tags.get(BITS, 1)) >= 8,
            extra=samples - alpha > colours,
            axes="<OME " in words or ("ImageJ=" in words and "channels=" in words),
        )
    return None


@cache
def has_reader() -> bool:
    """Whether tifffile is there; without it Pillow reads or refuses what it can."""
    return importlib.util.find_spec("tifffile") is not None


def read_tiff(item: Encoded) -> Raster:
    """The numbers of a TIFF, with NaN where it says that there are none.

    Raises:
        Unreadable: if it cannot be read.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)  # what it says becomes the reason
    with reading(item, "a TIFF image", lambda why: Unreadable(in_words(why))):
        source = item if not isinstance(item, Blob) else item.open("rb")
        with tifffile.TiffFile(source) as file:
            series = file.series[0]
            refuse_size(series.shape)
            whole = _is_whole(series.axes)
            page = series.keyframe
            values, axes = (series if whole else page).asarray(), (series if whole else page).axes
            several = len(file.pages) > (len(series.pages) if whole else 1)
            values = with_holes(channels_last(values, axes), page)
    return Raster(values, several)


def with_holes(values: np.ndarray, page: Any) -> np.ndarray:
    """Numbers in the machine's order of bytes, NaN where the page's tag says that there are none.

    Raises:
        ValueError: for what are no numbers.
    """
    if values.dtype.kind not in "uif":
        raise ValueError(f"pixels of {values.dtype}")
    values = np.asarray(values, values.dtype.newbyteorder("="))
    missing = page.tags.get(NODATA)
    if missing is not None:
        holes = values == float(str(missing.value).strip("\0 "))
        if holes.any():
            values = np.where(holes, np.nan, values.astype(np.float32))
    return values


def _is_whole(axes: str) -> bool:
    """Whether a series of pages is one image: rows, columns and channels, no time nor depth."""
    return set(axes) <= set("CSYX") and not {"C", "S"} <= set(axes)


def channels_last(values: np.ndarray, axes: str) -> np.ndarray:
    """(h, w, c), of an array with named axes; of further ones the first entry."""
    for axis in [a for a in axes if a not in "CSYX"]:
        values, axes = values.take(0, axes.index(axis)), axes.replace(axis, "", 1)
    channel = next((a for a in "CS" if a in axes), None)
    if channel is None:
        return values[..., None]
    return np.moveaxis(values, axes.index(channel), -1)


def refuse_size(shape: tuple[int, ...]) -> None:
    """Raise `Unreadable` for what is taken for a decompression bomb."""
    if np.prod([float(x) for x in shape]) > MOST_VALUES:
        raise Unreadable(f"{' x '.join(map(str, shape))} values are beyond the limit")


def in_words(why: str) -> str:
    """Why a file cannot be read, with what would help."""
    if "imagecodecs" in why:
        return f"{why}: `pip install imagecodecs`"
    return f"damaged or truncated: {why}"
