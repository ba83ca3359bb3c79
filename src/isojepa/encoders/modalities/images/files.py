"""The files of a listing as images: one, or many by several threads."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np

from isojepa import machine
from isojepa.encoders.sources.folder import Listing
from isojepa.pixels.decoding import formats, peak_of, read_square
from isojepa.pixels.deep import depth
from isojepa.pixels.rasters import Ranges
from isojepa.pixels.square import Square
from isojepa.pixels.unreadable import Unreadable

T = TypeVar("T")
SAMPLED = 32  # files read to guess the depth of the pixels before all are
BLOCK = 1024  # results that may wait in memory at once


def square_of(
    listing: Listing, side: int, channels: int, bits: int | None, ranges: Ranges | None, i: int
) -> Square:
    """The image at a position as a square; raises `Unreadable`."""
    return read_square(listing.item(i), side, channels, bits, ranges)


def sampled_depth(listing: Listing) -> int | None:
    """Depth of the integers of more than 8 bits in a few of the files; None without any."""
    chosen = np.unique(np.linspace(0, len(listing.names) - 1, SAMPLED).astype(int)).tolist()
    found = [x for x in each(partial(_peak, listing), chosen) if isinstance(x, int)]
    return depth(max(found)) if found else None


def _peak(listing: Listing, i: int) -> int | None:
    return peak_of(listing.item(i))


def each(function: Callable[[int], T], items: Iterable[int]) -> Iterator[T | Unreadable]:
    """The function of each item, in order, by several threads; `Unreadable` is a result too."""

    def attempt(item: int) -> T | Unreadable:
        try:
            return function(item)
        except Unreadable as error:
            return error

    formats()  # plugins are registered before there are threads
    items = list(items)
    if not items:
        return
    with ThreadPoolExecutor(min(16, machine.cores())) as pool:
        for start in range(0, len(items), BLOCK):  # bounded: results wait in memory
            yield from pool.map(attempt, items[start : start + BLOCK])
