"""Files of several pages, each page an image of its own."""

from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Int64

from isojepa.boundaries import shown
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.items import ItemSource, home_of
from isojepa.encoders.sources.listing import ending
from isojepa.machine import cores
from isojepa.pixels.items import Array, Item
from isojepa.pixels.tiff_pages import Stack
from isojepa.pixels.tiff_rasters import tiff_kind
from isojepa.pixels.unreadable import Unreadable
from isojepa.progress import Track, untracked

ENDINGS = {".tif", ".tiff"}
KEPT = 16  # stacks of which the places of the pages are kept
ALONE = -1  # in the place of a page's number: the file is read as any other


class Pages:
    """Images by their file and their page in it."""

    def __init__(
        self, source: ItemSource, names: Sequence[str], where: Int64[np.ndarray, "n 2"]
    ) -> None:
        self.source, self.names = source, names
        self.where = where
        """Place of the file in the source, and number of the page, `ALONE` for all of it."""
        self._stacks: OrderedDict[int, Stack] = OrderedDict()
        self._lock = Lock()

    def item(self, place: int) -> Item:
        file, page = self.where[place].tolist()
        if page == ALONE:
            return self.source.item(file)
        return Array(shown(self.names[place]), self._stack(file).read(page))

    def home(self, place: int) -> Path | None:
        """The file, with which its pages change."""
        return home_of(self.source, int(self.where[place, 0]))

    def _stack(self, file: int) -> Stack:
        with self._lock:
            stack = self._stacks.pop(file, None)
        if stack is None:
            item = self.source.item(file)
            assert not isinstance(item, Array)
            stack = Stack(item)
        with self._lock:
            self._stacks[file] = stack
            while len(self._stacks) > KEPT:
                self._stacks.popitem(last=False)
        return stack


def with_pages(listing: Listing, track: Track = untracked) -> Listing:
    """The listing with every page of its TIFF files as an image, held out file by file.

    Args:
        track: wraps the iterator over files to show progress.
    """
    n, source = len(listing.names), listing.opener()
    tiff = [i for i, name in enumerate(listing.names) if ending(name) in ENDINGS]

    def pages(i: int) -> int:
        try:
            item = source.item(i)
            return 1 if isinstance(item, Array) or tiff_kind(item) is None else len(Stack(item))
        except Unreadable:  # of which it is said when it is read
            return 1

    counts = np.ones(n, np.int64)
    with ThreadPoolExecutor(min(16, cores())) as pool:
        counts[tiff] = list(track(pool.map(pages, tiff), len(tiff), "counting pages"))
    counts = np.maximum(counts, 1)
    files = np.repeat(np.arange(n), counts)
    page = np.arange(len(files)) - np.repeat(np.cumsum(counts) - counts, counts)
    page[np.repeat(counts == 1, counts)] = ALONE
    names = [
        listing.names[i] if number == ALONE else f"{listing.names[i]}#{number}"
        for i, number in zip(files.tolist(), page.tolist())
    ]
    stacks = int((counts > 1).sum())
    told = f"{stacks} of {n} files hold {int(counts[counts > 1].sum())} pages, each an image"
    of_files = listing.subset(files.tolist())
    return of_files._replace(
        names=names,
        source=Pages(source, names, np.column_stack([files, page])),
        places=None,
        files=files,
        notes=(*listing.notes, told) if stacks else listing.notes,
    )
