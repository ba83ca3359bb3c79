"""A listing's images through the cache: what is known of each, and where its squares stand."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt64

from isojepa.encoders.modalities.images.cache import Decode, Wanted, open_filled
from isojepa.encoders.modalities.images.store import Store
from isojepa.encoders.sources.fingerprints import UNREADABLE
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.listing import ending
from isojepa.pixels.square import Square
from isojepa.pixels.unreadable import Unreadable
from isojepa.progress import Track


class StoredImages(NamedTuple):
    """All images of a listing."""

    store: Store
    rows: Int64[np.ndarray, " n"]
    """Where the squares stand in the store; -1 of those that are not there."""
    squares: list[Square | Unreadable]
    """What is known of each image, without pixels, or why it cannot be read."""


def read_stored(folder: Path, wanted: Wanted, decode: Decode, track: Track) -> StoredImages:
    """Have the images of a listing in the cache.

    Args:
        folder: of caches.
        wanted: the listing's images, by `marks_of`.
        decode: (positions in the listing, bits) -> their squares.
        track: wraps the iterator over images to show progress.

    Raises:
        Uncacheable: if the disk does not take them.
    """
    marked = wanted.marks != UNREADABLE
    places = np.flatnonzero(marked)
    store, found = open_filled(
        folder,
        wanted._replace(marks=wanted.marks[marked]),
        lambda positions, bits: decode(places[positions].tolist(), bits),
        track,
    )
    rows = np.full(len(wanted.marks), -1, np.int64)
    rows[places] = found.rows
    known = store.squares(found.rows[found.rows >= 0])
    # What could not be opened to take its fingerprint: why it cannot is not kept
    others = decode(np.flatnonzero(~marked).tolist(), wanted.bits)

    def each() -> Iterator[Square | Unreadable]:
        for row, mark in zip(rows.tolist(), wanted.marks.tolist()):
            if row >= 0:
                yield next(known)
            elif mark == UNREADABLE:
                yield next(others)
            else:
                yield Unreadable(store.reasons[mark, wanted.bits])

    return StoredImages(store, rows, list(each()))


def marks_of(listing: Listing) -> UInt64[np.ndarray, " n"]:
    """What decides over the pixels of each file: contents, ending, and for files of which the
    fingerprint sees parts only, when they changed. 0 for files that cannot be opened."""
    assert listing.prints is not None
    ends = [ending(name) for name in listing.names]
    codes = {end: _code(end) for end in set(ends)}
    marks = listing.prints ^ np.array([codes[end] for end in ends], np.uint64)
    if listing.changed is not None:
        marks ^= _mixed(listing.changed.astype(np.uint64))
    marks = _mixed(marks)
    marks[marks == UNREADABLE] = 1
    marks[listing.prints == UNREADABLE] = UNREADABLE
    return marks


def _code(end: str) -> int:
    digest = hashlib.blake2b(end.encode(errors="replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _mixed(x: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """A bijection of 64 bits that spreads each over all (SplitMix64's finaliser)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
