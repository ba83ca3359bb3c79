"""An item is what one image is decoded from; a source opens its items, wherever they lie.

All that follows (fingerprints, the record of what was held out, squares, names of what is skipped)
is the same for every kind of source: it sees items only.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Protocol, runtime_checkable

from isojepa.pixels.items import Item


@runtime_checkable
class ItemSource(Protocol):
    """Items by their places, in an order that stays: any place at any time, from any thread."""

    def item(self, place: int) -> Item:
        """What one image is decoded from.

        Raises:
            Unreadable: with the reason, if it cannot be had.
        """


def home_of(source: ItemSource, place: int) -> Path | None:
    """The file on the disk with which an item changes, by the source's own method `home`; None
    where it has none: such an item is read anew to know whether it has changed."""
    home = getattr(source, "home", None)
    return None if home is None else home(place)


class Files:
    """Files of their own, wherever they lie."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def item(self, place: int) -> Item:
        return self.paths[place]

    def home(self, place: int) -> Path | None:
        return self.paths[place]


class Joined:
    """Sources one after the other.

    Args:
        sources: each with its number of places.
    """

    def __init__(self, sources: Sequence[tuple[ItemSource, int]]) -> None:
        self.sources = [source for source, _ in sources]
        self.starts = list(accumulate((n for _, n in sources), initial=0))

    def item(self, place: int) -> Item:
        which = bisect_right(self.starts, place) - 1
        return self.sources[which].item(place - self.starts[which])

    def home(self, place: int) -> Path | None:
        which = bisect_right(self.starts, place) - 1
        return home_of(self.sources[which], place - self.starts[which])
