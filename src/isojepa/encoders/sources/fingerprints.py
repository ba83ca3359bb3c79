"""A short mark of a file's contents, to know it again under any name and in any place."""

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from isojepa.encoders.sources.folder import Listing
from isojepa.machine import cores

WHOLE = 2**20  # bytes; of larger files, PIECES of PIECE bytes at even distances are read
PIECES, PIECE = 16, 2**16
UNREADABLE = 0


def fingerprint(path: Path) -> int:
    """64 bits of a hash of a file's size and contents; 0 if it cannot be read.

    Up to 1 MiB the whole file counts, beyond that sixteen pieces of 64 KiB from its beginning to
    its end: of compressed pictures, any other picture differs in all of them.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
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
    names, root = listing.names, listing.root

    def marks() -> Iterator[int]:
        with ThreadPoolExecutor(min(16, 4 * cores())) as pool:  # they wait for the disk
            for start in range(0, len(names), 4096):
                paths = (root / name for name in names[start : start + 4096])
                yield from pool.map(fingerprint, paths, chunksize=64)

    found = track(marks(), len(names), "comparing files")
    return listing._replace(prints=np.fromiter(found, np.uint64, len(names)))
