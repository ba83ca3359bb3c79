"""What the files' headers say, before any pixel is decoded."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from isojepa.boundaries import shown
from isojepa.caches.folder import chosen_folder
from isojepa.encoders.modalities.images.cache import decoders
from isojepa.encoders.modalities.images.files import each
from isojepa.encoders.modalities.images.from_cache import marks_of
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.remembered import looked_up, read_remembered, remembered
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_header
from isojepa.pixels.numbers import MOST_CHANNELS
from isojepa.pixels.unreadable import Unreadable

VERSION = 2  # of what is kept of a header
NO_IMAGE = 0
CHANNELS = 2 * MOST_CHANNELS  # beyond any count of channels
CLEAR = 0.95  # share of images of one count of channels, from which the others are left out


class Headers(NamedTuple):
    """What the files' headers say, before any pixel is decoded."""

    short_side: int
    """Median of the shorter side, in pixels."""
    channels: int
    """1 when every image is grey, 3 for colours; else what all images have, or nearly all."""
    ranged: bool = False
    """Whether most are numbers in units of their own rather than pictures."""
    mixed: str | None = None
    """What to say where counts of channels that are no colours differ."""


def read_headers(listing: Listing, channels: int | None = None, sample: int = 20_000) -> Headers:
    """Read the headers of the files, of an even sample where there are more than `sample`.

    Args:
        channels: that are asked for, where that is known.

    Raises:
        UserError: if none of them is an image.
    """
    chosen = np.unique(np.linspace(0, len(listing.names) - 1, sample).astype(int))
    part = listing.subset(chosen.tolist())

    def read(positions: list[int]) -> Iterator[int]:
        for x in each(partial(_header, part, channels), positions):
            yield NO_IMAGE if isinstance(x, Unreadable) else x

    if part.prints is None:
        found = np.fromiter(read(list(range(len(chosen)))), np.uint64, len(chosen))
    else:
        found = remembered(_table(part, channels), marks_of(part), read)
    places = np.flatnonzero(found != NO_IMAGE)
    found = found[places].astype(np.int64)
    if not len(found):
        why = next(each(partial(_header, part, channels), [0]))
        raise UserError(
            f"--data {listing.root}: none of the files is an image that can be read; the first, "
            f"{shown(part.names[0])!r}: {why}"
        )
    counts = (found >> 1) % CHANNELS
    settled, mixed = _count(counts, [part.names[i] for i in places.tolist()])
    sides = found // (2 * CHANNELS)
    return Headers(int(np.median(sides)), settled, bool(2 * (found & 1).sum() > len(found)), mixed)


def known_without(listing: Listing, channels: int | None = None) -> Bool[np.ndarray, " n"]:
    """Which files are known to have no header that can be read: of those looked at before."""
    path = _table(listing, channels)
    if path is None:
        return np.zeros(len(listing.names), bool)
    found, known = looked_up(read_remembered(path), marks_of(listing))
    return known & (found == NO_IMAGE)


def _count(counts: Int64[np.ndarray, " n"], names: Sequence[str]) -> tuple[int, str | None]:
    """The channels to read, and what to say if they are not clear."""
    values, first, many = np.unique(counts, return_index=True, return_counts=True)
    if set(values.tolist()) <= {1, 3}:
        return int(values.max()), None
    most = int(values[many.argmax()])
    if many.max() >= CLEAR * many.sum():
        return most, None
    words = ", ".join(
        f"{n} of {value} (for example '{shown(names[i])}')"
        for value, i, n in zip(values.tolist(), first.tolist(), many.tolist())
    )
    return most, f"mixed channel counts: {words}"


def _table(listing: Listing, channels: int | None) -> Path | None:
    folder = chosen_folder()
    if folder is None:
        return None
    kind = f"{VERSION} {decoders()} {channels if channels not in (1, 3) else None}"
    named = f"{kind} {listing.root.resolve()}".encode(errors="replace")
    return folder / "headers" / hashlib.sha256(named).hexdigest()[:12]


def _header(listing: Listing, channels: int | None, i: int) -> int:
    """Shorter side, channels and kind in one number; raises `Unreadable`."""
    header = read_header(listing.item(i), channels)
    return (header.short_side * CHANNELS + header.channels) << 1 | header.ranged
