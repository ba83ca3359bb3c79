"""TIFF files of several pages, each page an image: stacks, time series, scanned documents.

What OME, ImageJ and tifffile call channels are an image's channels; every other axis counts images.
Overviews, thumbnails and masks, as the file marks them, are none.
"""

import logging
import math
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from isojepa.boundaries import Blob, reading
from isojepa.pixels.items import Encoded
from isojepa.pixels.tiff_rasters import channels_last, in_words, refuse_size, with_holes
from isojepa.pixels.unreadable import Unreadable

PLAIN = {0, 1, 2}  # photometric interpretations of which tifffile gives the values: grey and RGB
WHITE_IS_ZERO = 0


class _Place(NamedTuple):
    """Where the file has one image."""

    series: int
    pages: list[int]
    """Of the series: one for each channel that is a page of its own."""


class Stack:
    """The images of one TIFF, by their numbers; from any thread."""

    def __init__(self, item: Encoded) -> None:
        """Find the pages.

        Raises:
            Unreadable: if it is no TIFF that can be read, or tifffile is not there.
        """
        self.item, self._lock = item, Lock()
        try:
            import tifffile
        except ImportError as error:
            raise Unreadable("`pip install isojepa[data]` (tifffile) reads its pages") from error
        logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
        with self._reading():
            source = item.open("rb") if isinstance(item, Blob) else item
            self._file = tifffile.TiffFile(source)
            try:
                self._series = [x for x in self._file.series if _holds_images(x)]
                self._places = [
                    _Place(i, pages) for i, x in enumerate(self._series) for pages in _images(x)
                ]
            finally:
                self._close()

    def __len__(self) -> int:
        return len(self._places)

    def read(self, image: int) -> np.ndarray:
        """The values (h, w, c) of an image.

        Raises:
            Unreadable: if it cannot be read.
        """
        place = self._places[image]
        with self._lock, self._reading():
            self._file.filehandle.open()
            try:
                return self._values(self._series[place.series], place.pages)
            finally:
                self._close()

    def _reading(self) -> AbstractContextManager[None]:
        return reading(self.item, "a TIFF image", lambda why: Unreadable(in_words(why)))

    def _values(self, series: Any, numbers: list[int]) -> np.ndarray:
        key = series.keyframe
        refuse_size((len(numbers), *key.shape))
        pages = [series.pages[number] for number in numbers]
        if any(page is None for page in pages):
            raise Unreadable("a page of it is missing")
        if key.photometric not in PLAIN or key.bitspersample < 8:
            return self._as_shown(pages[0].index)
        axes = key.axes if len(pages) == 1 else f"C{key.axes}"
        found = [page.asarray() for page in pages]
        values = channels_last(found[0] if len(pages) == 1 else np.stack(found), axes)
        if key.photometric == WHITE_IS_ZERO and values.dtype.kind == "u":
            values = np.iinfo(values.dtype).max - values
        return with_holes(values, key)

    def _as_shown(self, page: int | tuple[int, ...]) -> np.ndarray:
        """A page of palette, CMYK or single bits, as Pillow shows it."""
        with self.item.open("rb") as file, Image.open(file) as image:
            image.seek(page if isinstance(page, int) else page[0])
            grey = image.mode in {"1", "L"}
            shown = np.asarray(image.convert("L" if grey else "RGB"))
        return shown[..., None] if grey else shown

    def _close(self) -> None:
        if not isinstance(self.item, Blob):  # or files would stay open, one for each stack
            self._file.filehandle.close()


def _holds_images(series: Any) -> bool:
    key = series.keyframe
    return {"Y", "X"} <= set(series.axes) and not (key.is_reduced or key.is_mask)


def _images(series: Any) -> list[list[int]]:
    """Of each image of a series, its pages: those of its channels lie in one image."""
    inner = series.keyframe.axes
    axes = series.axes.removesuffix(inner)
    shape = series.shape[: len(axes)]
    if len(series.axes) != len(axes) + len(inner) or math.prod(shape) != len(series.pages):
        return [[i] for i in range(len(series.pages))]
    numbers = np.arange(math.prod(shape)).reshape(shape)
    if "C" in axes and "S" not in inner:
        numbers = np.moveaxis(numbers, axes.index("C"), -1)
        return numbers.reshape(-1, numbers.shape[-1]).tolist()
    return numbers.reshape(-1, 1).tolist()
