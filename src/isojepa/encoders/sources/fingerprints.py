"""A short mark of an image's contents, to know it again under any name and in any place."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.items import Item
from isojepa.machine import cores
from isojepa.pixels.unreadable import Unreadable

WHOLE = 2**20  # bytes; of larger files, PIECES of PIECE bytes at even distances are read
PIECES, PIECE = 16, 2**16
UNREADABLE = 0


def fingerprint(item: Item) -> int:
    """64 bits of a hash of a file's size and contents; 0 if it cannot be read.

    A picture has the same one wherever it lies: in a folder, an archive or a table. Up to 1 MiB the
    whole file counts, beyond that sixteen pieces of 64 KiB from its beginning to its end: of
    compressed pictures, any other picture differs in all of them.
    """
    try:
        with item.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.blake2b(str(size).encode(), digest_size=8)
            if size <= WHOLE:
                digest.update(file.read())
            else:
                for piece in range(PIECES):
                    file.seek(piece * (size - PIECE) // (PIECES - 1))
                    digest.update(file.read(PIECE))
    except OSError:
        return UNREADABLE
    return int.from_bytes(digest.digest(), "big") or 1


def with_fingerprints(
    listing: Listing,
    track: Callable[[Iterator, int, str], Iterator] = lambda items, _total, _what: items,
) -> Listing:
    """The listing with the fingerprints of its files.

    Args:
        track: wraps the iterator over files to show progress.
    """
    total = len(listing.names)

    def mark(i: int) -> int:
        try:
            return fingerprint(listing.item(i))
        except Unreadable:
            return UNREADABLE

    def marks() -> Iterator[int]:
        with ThreadPoolExecutor(min(16, 4 * cores())) as pool:  # they wait for the disk
            for start in range(0, total, 4096):
                yield from pool.map(mark, range(start, min(start + 4096, total)), chunksize=64)

    found = track(marks(), total, "comparing files")
    return listing._replace(prints=np.fromiter(found, np.uint64, total))
