"""The images of a folder as one uint8 tensor of squares; what cannot be read is named."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from isojepa import machine
from isojepa.boundaries import shown
from isojepa.encoders.modalities.images.survey import Survey
from isojepa.encoders.modalities.modality import Statistics
from isojepa.encoders.sources.folder import Listing
from isojepa.errors import UserError
from isojepa.pixels.decoding import formats, opened, read_square
from isojepa.pixels.deep import depth, is_deep
from isojepa.pixels.square import Square, is_grey, to_square
from isojepa.pixels.unreadable import Unreadable

__all__ = [
    "Headers", "ImageSet", "Squares", "Unreadable",
    "read_headers", "read_images", "read_square", "to_square",
]  # fmt: skip

log = logging.getLogger(__name__)
T = TypeVar("T")
SAMPLED = 32  # files read to guess the depth of the pixels before all are
BLOCK = 1024  # files whose squares may wait in memory at once


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
    chosen = np.unique(np.linspace(0, len(listing.names) - 1, sample).astype(int)).tolist()
    found = [x for x in _each(partial(_header, listing), chosen) if not isinstance(x, Unreadable)]
    if not found:
        first = listing.names[chosen[0]]
        why = next(_each(partial(_header, listing), chosen[:1]))
        raise UserError(
            f"--data {listing.root}: none of the files is an image that can be read; the first, "
            f"{shown(first)!r}: {why}"
        )
    sides, grey = zip(*found)
    return Headers(int(np.median(sides)), 1 if all(grey) else 3)


def _header(listing: Listing, i: int) -> tuple[int, bool]:
    with opened(listing.item(i)) as image:
        return min(image.size), is_grey(image)


class Squares(NamedTuple):
    """Some images as they are read: squeezed to squares, whole."""

    pixels: UInt8[Tensor, "n c s s"]
    aspects: Float[Tensor, " n"]
    """Width over height of the original images; on the CPU, where views are drawn."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one folder as squares, in memory or decoded when asked for: a `Dataset`."""

    listing: Listing
    side: int
    channels: int
    aspects: Float[Tensor, " n"]
    pixels: UInt8[Tensor, "n c s s"] | None
    """All squares, or None when they do not fit in memory and are decoded at each use."""
    held_out: Bool[np.ndarray, " n"]
    skipped: list[tuple[str, str]]
    """(name, reason) of the files that hold no usable image."""
    bits: int | None = None
    """Depth from which integers of more than 8 bits were scaled to 8; None where there are none."""
    notes: list[str] = field(default_factory=list)
    """What may surprise about the folder as a whole, a line each."""

    def __len__(self) -> int:
        return len(self.listing.names)

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        return self.listing.labels

    def read(self, indices: Sequence[int] | Tensor) -> Squares:
        """The squares at the given positions.

        Raises:
            UserError: if a file that was read before cannot be read any more.
        """
        chosen = torch.as_tensor(indices)
        pixels = self._decode(indices) if self.pixels is None else self.pixels[chosen]
        return Squares(pixels, self.aspects[chosen])

    def statistics(self, indices: Sequence[int], sample: int = 2000) -> Statistics:
        """Mean and deviation of each channel over an even sample, pixels scaled to [0, 1].

        The deviation is at least 1/255, so that constant images do not divide by zero.
        """
        chosen = np.unique(np.linspace(0, len(indices) - 1, sample).astype(int))
        pixels = self.read([indices[i] for i in chosen]).pixels.double() / 255
        std = pixels.std((0, 2, 3))
        if bool((std < 1 / 255).any()):
            log.warning(
                "the images hardly differ: the standard deviation of their pixels is %s of 255 "
                "grey levels per channel; look at them with --preview",
                ", ".join(f"{255 * x:.1f}" for x in std.tolist()),
            )
        return Statistics(pixels.mean((0, 2, 3)).tolist(), std.clamp_min(1 / 255).tolist())

    def _decode(self, indices: Sequence[int] | Tensor) -> UInt8[Tensor, "b c s s"]:
        read = partial(_square, self.listing, self.side, self.channels, self.bits)
        positions = [int(i) for i in indices]
        squares = []
        for i, square in zip(positions, _each(read, positions)):
            if isinstance(square, Unreadable):
                path = shown(self.listing.root / self.listing.names[i])
                raise UserError(f"{path}: was readable at the start and is not now: {square}")
            squares.append(square.pixels)
        return torch.from_numpy(np.stack(squares))


def read_images(
    listing: Listing,
    *,
    side: int,
    channels: int,
    bits: int | None = None,
    memory_bytes: int | None = None,
    track: Callable[[Iterator, int, str], Iterator] = lambda items, _total, _what: items,
) -> ImageSet:
    """Decode every file of the listing once, skipping and naming those that hold no image.

    Integers of more than 8 bits are scaled to 8 by one factor for the whole folder. It is guessed
    from a few files; should others turn out deeper, what was scaled otherwise is read again.

    Args:
        side: side of the squares, in pixels.
        channels: 1 or 3.
        bits: depth of integers of more than 8 bits, as settled in training; by default the fewest
            bits that hold all of the folder's values.
        memory_bytes: squares are kept in memory up to this size in bytes, otherwise decoded at each
            use; by default a quarter of what this process may take.
        track: wraps the iterator over files to show progress.

    Raises:
        UserError: if no file holds an image.
    """
    total = len(listing.names)
    guess = bits if bits is not None else _sampled_depth(listing)
    pixels = _room((total, channels, side, side), memory_bytes)
    survey = Survey(side, channels)
    read = partial(_square, listing, side, channels, guess)
    squares = track(_each(read, range(total)), total, "reading images")
    kept, aspects, skipped = _collect(squares, listing.names, pixels, survey)
    if not kept:
        raise UserError(
            f"--data {listing.root}: none of the {len(skipped)} files is a usable image; "
            f"the first, {shown(skipped[0][0])!r}: {skipped[0][1]}"
        )
    settled = bits if bits is not None else survey.bits()
    images = ImageSet(
        listing.subset(kept),
        side,
        channels,
        torch.tensor(aspects, dtype=torch.float32),
        None if pixels is None else torch.from_numpy(pixels[: len(kept)]),
        np.zeros(len(kept), bool),
        skipped,
        settled,
        survey.notes(settled),
    )
    _read_again(
        images, [i for i, (peak, _) in survey.deep.items() if (guess or depth(peak)) != settled]
    )
    return images


def _collect(
    squares: Iterable[Square | Unreadable],
    names: list[str],
    pixels: UInt8[np.ndarray, "n c s s"] | None,
    survey: Survey,
) -> tuple[list[int], list[float], list[tuple[str, str]]]:
    """Put the squares in their places: which files gave one, their aspects, and the others."""
    kept: list[int] = []
    aspects: list[float] = []
    skipped: list[tuple[str, str]] = []
    for i, square in enumerate(squares):
        if isinstance(square, Unreadable):
            skipped.append((names[i], str(square)))
            continue
        if pixels is not None:
            pixels[len(kept)] = square.pixels
        survey.add(len(kept), names[i], square)
        aspects.append(square.aspect)
        kept.append(i)
    return kept, aspects, skipped


def _read_again(images: ImageSet, indices: list[int]) -> None:
    """Replace squares in memory that were scaled by another depth than turned out in the end."""
    if images.pixels is not None:
        files = replace(images, pixels=None)
        for block in (indices[i : i + BLOCK] for i in range(0, len(indices), BLOCK)):
            images.pixels[block] = files.read(block).pixels


def _square(listing: Listing, side: int, channels: int, bits: int | None, i: int) -> Square:
    return read_square(listing.item(i), side, channels, bits)


def _sampled_depth(listing: Listing) -> int | None:
    """Depth of the integers of more than 8 bits in a few of the files; None without any."""
    chosen = np.unique(np.linspace(0, len(listing.names) - 1, SAMPLED).astype(int)).tolist()
    found = [x for x in _each(partial(_peak, listing), chosen) if isinstance(x, int)]
    return depth(max(found)) if found else None


def _peak(listing: Listing, i: int) -> int | None:
    item = listing.item(i)
    with opened(item) as image:
        deep = is_deep(image)
    return read_square(item, 1, 1).info.peak if deep else None


def _room(
    shape: tuple[int, int, int, int], budget: int | None
) -> UInt8[np.ndarray, "n c s s"] | None:
    """An array for all squares, or None where it is too large or the system refuses it."""
    budget = machine.memory_bytes() // 4 if budget is None else budget
    if math.prod(shape) > budget:
        return None
    try:
        return np.empty(shape, np.uint8)
    except MemoryError:
        return None


def _each(function: Callable[[int], T], items: Iterable[int]) -> Iterator[T | Unreadable]:
    """The function of each item, in order, by several threads; `Unreadable` is a result too."""

    def attempt(item: int) -> T | Unreadable:
        try:
            return function(item)
        except Unreadable as error:
            return error

    formats()  # plugins are registered before there are threads
    items = list(items)
    with ThreadPoolExecutor(min(16, machine.cores())) as pool:
        for start in range(0, len(items), BLOCK):  # bounded: results wait in memory
            yield from pool.map(attempt, items[start : start + BLOCK])
