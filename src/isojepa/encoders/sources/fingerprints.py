"""A short mark of an image's contents, to know it again under any name and in any place."""

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Int64, UInt64

from isojepa.caches.folder import chosen_folder
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.items import home_of
from isojepa.encoders.sources.remembered import remembered
from isojepa.machine import cores
from isojepa.pixels.items import Array, Item
from isojepa.pixels.unreadable import Unreadable
from isojepa.progress import Track, untracked

WHOLE = 2**20  # bytes; of larger files, PIECES of PIECE bytes at even distances are read
PIECES, PIECE = 16, 2**16
UNREADABLE = 0
KIND = "files"  # of cache
TICK = 2 * 10**9  # nanoseconds; file systems' clocks are no finer than that everywhere


def fingerprint(item: Item) -> int:
    """64 bits of a hash of a file's size and contents; 0 if it cannot be read.

    A picture has the same one wherever it lies: in a folder, an archive or a table. Up to 1 MiB the
    whole file counts, beyond that sixteen pieces of 64 KiB from its beginning to its end: of
    compressed pictures, any other picture differs in all of them; arrays count whole.
    """
    try:
        with item.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.blake2b(str(size).encode(), digest_size=8)
            if size <= WHOLE or isinstance(item, Array):
                digest.update(file.read())
            else:
                for piece in range(PIECES):
                    file.seek(piece * (size - PIECE) // (PIECES - 1))
                    digest.update(file.read(PIECE))
    except OSError:
        return UNREADABLE
    return int.from_bytes(digest.digest(), "big") or 1


def with_fingerprints(listing: Listing, track: Track = untracked) -> Listing:
    """The listing with the fingerprints of its files.

    A file whose place, size and times are those that it had in an earlier run is not read again.

    Args:
        track: wraps the iterator over files to show progress.
    """
    states, changed, when = _states(listing)

    def mark(i: int) -> int:
        try:
            return fingerprint(listing.item(i))
        except Unreadable:
            return UNREADABLE

    def marks(positions: list[int]) -> Iterator[int]:
        with ThreadPoolExecutor(min(16, 4 * cores())) as pool:  # they wait for the disk
            for start in range(0, len(positions), 4096):
                yield from pool.map(mark, positions[start : start + 4096], chunksize=64)

    def tracked(positions: list[int]) -> Iterator[int]:
        return track(marks(positions), len(positions), "comparing files")

    folder = chosen_folder()
    place = hashlib.sha256(os.fsencode(os.path.realpath(listing.root))).hexdigest()[:12]
    table = None if folder is None else folder / KIND / place
    began = time.time_ns()
    # A file that was written a moment ago may be written again without its times showing it
    prints = remembered(table, states, tracked, lasting=lambda: when < began - TICK)
    return listing._replace(prints=prints, changed=changed)


def _states(
    listing: Listing,
) -> tuple[UInt64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Of each image, by its file's status alone: a digest of name and status, 0 where there is
    none; when the contents of a file too large to be hashed whole changed, 0 for others; when
    anything did."""
    n = len(listing.names)
    states, changed, when = np.zeros(n, np.uint64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    for i, (name, home) in enumerate(zip(listing.names, _homes(listing))):
        if home is None:
            continue
        try:
            status = os.stat(home)  # noqa: PTH116
        except OSError:
            continue
        times = status.st_mtime_ns, status.st_ctime_ns
        state = struct.pack("<QQqq", status.st_ino & (2**64 - 1), status.st_size, *times)
        digest = hashlib.blake2b(state + os.fsencode(name), digest_size=8).digest()
        states[i], when[i] = int.from_bytes(digest, "little"), max(times)
        changed[i] = times[0] if status.st_size > WHOLE else 0
    return states, changed, when


def _homes(listing: Listing) -> Iterator[str | None]:
    """The file on the disk that each image changes with; None where that is not known."""
    if listing.source is None:
        base = f"{listing.root}/"
        yield from (base + name for name in listing.names)
        return
    places = range(len(listing.names)) if listing.places is None else listing.places.tolist()
    for place in places:
        home = home_of(listing.source, place)
        yield None if home is None else str(home)
