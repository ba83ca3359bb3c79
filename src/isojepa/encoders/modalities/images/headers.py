"""What the files' headers say, before any pixel is decoded."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isojepa.boundaries import shown
from isojepa.caches.folder import chosen_folder
from isojepa.encoders.modalities.images.cache import decoders
from isojepa.encoders.modalities.images.files import each
from isojepa.encoders.modalities.images.from_cache import marks_of
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.remembered import remembered
from isojepa.errors import UserError
from isojepa.pixels.decoding import opened
from isojepa.pixels.square import is_grey
from isojepa.pixels.unreadable import Unreadable

VERSION = 1  # of what is kept of a header
NO_IMAGE = 0


class Headers(NamedTuple):
    """What the files' headers say, before any pixel is decoded."""

    short_side: int
    """Median of the shorter side, in pixels."""
    channels: int
    """1 when every image is grey, else 3."""


def read_headers(listing: Listing, sample: int = 20_000) -> Headers:
    """Read the headers of the files, of an even sample where there are more than `sample`.

    Raises:
        UserError: if none of them is an image.
    """
    chosen = np.unique(np.linspace(0, len(listing.names) - 1, sample).astype(int))
    part = listing.subset(chosen.tolist())

    def read(positions: list[int]) -> Iterator[int]:
        for x in each(partial(_header, part), positions):
            yield NO_IMAGE if isinstance(x, Unreadable) else x

    if part.prints is None:
        found = np.fromiter(read(list(range(len(chosen)))), np.uint64, len(chosen))
    else:
        found = remembered(_table(part), marks_of(part), read)
    found = found[found != NO_IMAGE]
    if not len(found):
        why = next(each(partial(_header, part), [0]))
        raise UserError(
            f"--data {listing.root}: none of the files is an image that can be read; the first, "
            f"{shown(part.names[0])!r}: {why}"
        )
    return Headers(int(np.median(found >> np.uint64(1))), 1 if (found & np.uint64(1)).all() else 3)


def _table(listing: Listing) -> Path | None:
    folder = chosen_folder()
    if folder is None:
        return None
    named = f"{VERSION} {decoders()} {listing.root.resolve()}".encode(errors="replace")
    return folder / "headers" / hashlib.sha256(named).hexdigest()[:12]


def _header(listing: Listing, i: int) -> int:
    """The shorter side and whether it is grey, in one number; raises `Unreadable`."""
    with opened(listing.item(i)) as image:
        return min(image.size) << 1 | is_grey(image)
