"""Which store holds the squares of some images, and filling it with those that it lacks.

A store's name is made of all that decides over its pixels: this module's version, the decoders and
their versions, the size; and of the contents of the images that it was begun with. No setting of a
model is in it, and no path. Images that came later are added to the store that has most of them.
"""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt64
from PIL import features

from isojepa.boundaries import shown
from isojepa.caches.folder import Uncacheable, locked, make_room, remove, touch, writing_to
from isojepa.encoders.modalities.images.store import RECORD, FoundSquares, Store
from isojepa.files import write_atomically
from isojepa.pixels.rasters import Ranges
from isojepa.pixels.square import Square
from isojepa.pixels.unreadable import Unreadable
from isojepa.progress import Track

log = logging.getLogger(__name__)
VERSION = 1  # of the decoding: raise it when the same file would give other pixels
KIND = "images"
DECODERS = ("pillow", "pillow-heif", "pi-heif", "numpy", "tifffile", "imagecodecs", "pydicom")
LIBRARIES = ("jpg", "jpg_2000", "zlib", "libtiff", "webp", "avif", "littlecms2")
BLOCK = 256  # squares between two times that the disk is waited for
POLL = 0.2  # seconds
Decode = Callable[[Sequence[int], int | None], Iterator["Square | Unreadable"]]
"""(positions, bits) -> their squares, in order."""


class Wanted(NamedTuple):
    """Images that are to be had as squares."""

    marks: UInt64[np.ndarray, " n"]
    """Of their contents."""
    side: int
    channels: int
    bits: int | None
    what: str
    """The images' place, for messages."""
    ranges: Ranges | None = None
    """By which numbers become bytes, if they do."""

    @property
    def geometry(self) -> str:
        """What decides over pixels, in twelve digits."""
        form = f"{self.side} {self.channels}" + (f" {self.ranges}" if self.ranges else "")
        return _digest(f"{VERSION} {decoders()} {RECORD.descr} {form}")

    @property
    def name(self) -> str:
        """Of a store that is begun with these images."""
        return f"{self.geometry}-{_digest(np.unique(self.marks).tobytes())}"


@cache
def decoders() -> str:
    """The libraries that decode, with their versions: others may give other pixels."""
    found = [f"{name} {_version(name)}" for name in DECODERS]
    found += [f"{name} {features.version(name)}" for name in LIBRARIES]
    return ", ".join([platform.machine(), *found])


def open_filled(
    folder: Path, wanted: Wanted, decode: Decode, track: Track
) -> tuple[Store, FoundSquares]:
    """A store that has all that can be known of the images: what it lacks is decoded into it.

    Where another process is filling it, its end is waited for.

    Args:
        folder: of caches.
        track: wraps the iterator over images to show progress.

    Raises:
        Uncacheable: if the disk does not take them.
    """
    pause = POLL
    while True:
        store, found = best(folder, wanted)
        if store is not None and not found.missing.any():
            touch(store.folder)
            return store, found
        place = home(folder, wanted, store)
        with locked(place) as held:
            if held:
                store = begin(folder, place, wanted)
                _fill(store, wanted, decode, track)
                return store, store.find(wanted.marks, wanted.bits)
        if pause == POLL:
            log.info("another process decodes the images of %s: waiting for it", wanted.what)
        time.sleep(pause)
        pause = min(5.0, 2 * pause)


def best(folder: Path, wanted: Wanted) -> tuple[Store | None, FoundSquares]:
    """The store that lacks the fewest of the images, if it is worth adding the others to it."""
    nothing = np.full(len(wanted.marks), -1, np.int64)
    chosen, found = None, FoundSquares(nothing, np.zeros(len(nothing), bool))
    for path in sorted((folder / KIND).glob(f"{wanted.geometry}-*")):
        store = _opened(path, wanted)
        if store is None:
            continue
        has = store.find(wanted.marks, wanted.bits)
        missing = int(has.missing.sum())
        # At least half of a store is of use to whoever adds to it
        worth = len(store.records) + missing <= 2 * len(nothing) and 2 * missing <= len(nothing)
        eligible = not missing or worth or path.name == wanted.name
        if eligible and (chosen is None or missing < int(found.missing.sum())):
            chosen, found = store, has
    return chosen, found


def _opened(path: Path, wanted: Wanted) -> Store | None:
    try:
        return Store(path, wanted.side, wanted.channels)
    except OSError:  # no store, or one that somebody has just deleted
        return None


def home(folder: Path, wanted: Wanted, store: Store | None) -> Path:
    """Where the images go: into the store that has most of them, or one of their own."""
    return store.folder if store is not None else folder / KIND / wanted.name


def begin(folder: Path, place: Path, wanted: Wanted) -> Store:
    """The store in a place whose lock is held; anew where it is damaged or not there."""
    store = _opened(place, wanted)
    if store is not None and store.truncated:
        log.warning("%s: these decoded images are damaged; decoding anew", shown(place))
        store = None
    lacks = slice(None) if store is None else store.find(wanted.marks, wanted.bits).missing
    count = len(np.unique(wanted.marks[lacks]))
    needed = count * (wanted.channels * wanted.side**2 + RECORD.itemsize)
    make_room(folder, KIND, needed, place.name, f"{count:,} images of {wanted.what}, decoded,")
    if store is not None:
        return store
    store = Store.made(place, wanted.side, wanted.channels)
    about = {"of": wanted.what, "side": wanted.side, "channels": wanted.channels}
    with writing_to(place):
        write_atomically(place / "about.json", json.dumps(about | {"decoders": decoders()}))
    return store


def _fill(store: Store, wanted: Wanted, decode: Decode, track: Track) -> None:
    """Decode what the store lacks, each content once; whose lock is held."""
    missing = np.flatnonzero(store.find(wanted.marks, wanted.bits).missing)
    marks, first = np.unique(wanted.marks[missing], return_index=True)
    order = np.argsort(first)
    positions, marks = missing[first[order]], marks[order]
    try:
        rows = store.grow(len(marks))
        squares = track(decode(positions.tolist(), wanted.bits), len(marks), "decoding images")
        for start, block in _blocks(squares):
            own = list(zip(marks[start : start + len(block)].tolist(), block))
            good = [(mark, x) for mark, x in own if not isinstance(x, Unreadable)]
            bad = {mark: str(x) for mark, x in own if isinstance(x, Unreadable)}
            store.refuse(bad, wanted.bits)
            taken, rows = rows[: len(good)], rows[len(good) :]
            store.write(taken, [mark for mark, _ in good], [x for _, x in good], wanted.bits)
    except Uncacheable:
        remove(store.folder)  # not cut off: somebody may be reading it, and goes on with the file
        raise
    touch(store.folder)


def _blocks(
    squares: Iterator[Square | Unreadable],
) -> Iterator[tuple[int, list[Square | Unreadable]]]:
    start, block = 0, []
    for square in squares:
        block.append(square)
        if len(block) == BLOCK:
            yield start, block
            start, block = start + BLOCK, []
    yield start, block


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _digest(content: str | bytes) -> str:
    content = content.encode() if isinstance(content, str) else content
    return hashlib.sha256(content).hexdigest()[:12]
