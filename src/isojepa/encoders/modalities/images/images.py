"""The images of a folder as one uint8 tensor of squares; what cannot be read is named."""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa import machine
from isojepa.boundaries import shown
from isojepa.caches.behind import may_fill_behind
from isojepa.caches.folder import Uncacheable, chosen_folder
from isojepa.encoders.modalities.images.cache import Decode, Wanted
from isojepa.encoders.modalities.images.cached import Cached
from isojepa.encoders.modalities.images.files import each, sampled_depth, square_of
from isojepa.encoders.modalities.images.filling import Filling, fill_behind
from isojepa.encoders.modalities.images.from_cache import marks_of, read_stored
from isojepa.encoders.modalities.images.headers import Headers, read_headers
from isojepa.encoders.modalities.images.survey import Survey
from isojepa.encoders.modalities.modality import Dataset, Statistics
from isojepa.encoders.sources.folder import Listing
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_square
from isojepa.pixels.deep import depth
from isojepa.pixels.rasters import Ranges
from isojepa.pixels.square import Square, to_square
from isojepa.pixels.unreadable import Unreadable
from isojepa.progress import Track, untracked

__all__ = [
    "Headers", "ImageSet", "Squares", "Unreadable",
    "read_headers", "read_images", "read_square", "to_square",
]  # fmt: skip

log = logging.getLogger(__name__)
BLOCK = 128  # squares that are looked at together


class Squares(NamedTuple):
    """Some images as they are read: squeezed to squares, whole."""

    pixels: UInt8[Tensor, "n c s s"]
    aspects: Float[Tensor, " n"]
    """Width over height of the original images; on the CPU, where views are drawn."""


@dataclass(frozen=True, kw_only=True)
class ImageSet(Dataset[Squares]):
    """Images of one folder as squares, in memory or decoded when asked for."""

    side: int
    channels: int
    aspects: Float[Tensor, " n"]
    pixels: UInt8[Tensor, "n c s s"] | None = None
    """All squares in memory; None where they are in the cache, or are decoded at each use."""
    bits: int | None = None
    """Depth from which integers of more than 8 bits were scaled to 8; None where there are none."""
    cached: Cached | Filling | None = None
    """All squares in the cache, or on their way there; None where they are in memory, or are
    decoded at each use."""
    ranges: Ranges | None = None
    """Of each channel, what becomes black and white, where the images are numbers; else None."""

    def read(self, indices: Sequence[int] | Tensor) -> Squares:
        """The squares at the given positions.

        Raises:
            UserError: if a file that was read before cannot be read any more.
        """
        chosen = torch.as_tensor(indices)
        if self.pixels is not None:
            return Squares(self.pixels[chosen], self.aspects[chosen])
        if self.cached is not None:
            pixels = self.cached.read(chosen.tolist())
        else:
            pixels = np.stack([x.pixels for x in self.from_files(chosen.tolist())])
        return Squares(torch.from_numpy(pixels), self.aspects[chosen])

    def from_files(self, positions: Sequence[int]) -> Iterator[Square]:
        """Decode the files at the given positions, whatever is in memory or in the cache.

        Raises:
            UserError: if a file that was read before cannot be read any more.
        """
        read = partial(square_of, self.listing, self.side, self.channels, self.bits, self.ranges)
        for i, square in zip(positions, each(read, positions)):
            if isinstance(square, Unreadable):
                path = shown(self.listing.root / self.listing.names[i])
                raise UserError(f"{path}: was readable at the start and is not now: {square}")
            yield square

    def statistics(self, indices: Sequence[int], sample: int = 2000) -> Statistics:
        """Mean and deviation of each channel over an even sample, pixels scaled to [0, 1].

        The deviation is at least 1/255, so that constant images do not divide by zero.
        """
        even = np.unique(np.linspace(0, len(indices) - 1, sample).astype(int))
        chosen = torch.as_tensor([indices[i] for i in even])
        counts = torch.zeros(self.channels, 256, dtype=torch.float64)
        for part in chosen.split(BLOCK):
            for channel, values in enumerate(self.read(part).pixels.transpose(0, 1)):
                counts[channel] += torch.bincount(values.flatten(), minlength=256)
        mean, std = _moments(counts)
        if bool((std < 1 / 255).any()):
            log.warning(
                "the images hardly differ: the standard deviation of their pixels is %s of 255 "
                "grey levels per channel; look at them with --preview",
                ", ".join(f"{255 * x:.1f}" for x in std.tolist()),
            )
        return Statistics(mean.tolist(), std.clamp_min(1 / 255).tolist())


def _moments(counts: Float[Tensor, "c 256"]) -> tuple[Float[Tensor, " c"], Float[Tensor, " c"]]:
    """Mean and deviation of bytes, as shares of 255, by how often each value occurs."""
    n, values = counts.sum(1), torch.arange(256, dtype=torch.float64) / 255
    mean = counts @ values / n
    squares = counts * (values - mean[:, None]) ** 2
    return mean, (squares.sum(1) / (n - 1)).sqrt()


def read_images(
    listing: Listing,
    *,
    side: int,
    channels: int,
    bits: int | None = None,
    ranges: Ranges | None = None,
    memory_bytes: int | None = None,
    track: Track = untracked,
) -> ImageSet:
    """Decode every file of the listing once, skipping and naming those that hold no image.

    Integers of more than 8 bits are scaled to 8 by one factor for the whole folder. It is guessed
    from a few files; should others turn out deeper, what was scaled otherwise is read again.

    Args:
        side: side of the squares, in pixels.
        channels: 1, 3, or as many as all images have.
        bits: depth of integers of more than 8 bits, as settled in training; by default the fewest
            bits that hold all of the folder's values.
        ranges: of each channel, what becomes black and white, if the images are numbers in units
            of their own.
        memory_bytes: squares are kept in memory up to this size in bytes, otherwise decoded at each
            use; by default a quarter of what this process may take.
        track: wraps the iterator over files to show progress.

    Raises:
        UserError: if no file holds an image.
    """
    guess = bits if bits is not None or ranges is not None else sampled_depth(listing)
    folder = chosen_folder()
    if folder is not None and listing.prints is not None:
        what = shown(listing.root.absolute())
        wanted = Wanted(marks_of(listing), side, channels, guess, what, ranges)
        if may_fill_behind() and guess == bits:
            images = _read_behind(listing, wanted, bits, folder)
            if images is not None:
                return images
        try:
            return _read_cached(listing, wanted, bits, folder, track)
        except Uncacheable as refusal:
            log.warning("%s: decoding in memory, for this run alone", str(refusal).rstrip("."))
    total, survey = len(listing.names), Survey(side, channels)
    pixels = _room((total, channels, side, side), memory_bytes)
    read = partial(square_of, listing, side, channels, guess, ranges)
    squares = track(each(read, range(total)), total, "reading images")
    kept, aspects, skipped = _collect(squares, listing.names, pixels, survey)
    settled = _settled(listing, skipped, survey, bits)
    held = None if pixels is None else torch.from_numpy(pixels[: len(kept)])
    images = _image_set(listing.subset(kept), survey, aspects, held, skipped, settled, ranges)
    _read_again(
        images, [i for i, (peak, _) in survey.deep.items() if (guess or depth(peak)) != settled]
    )
    return images


def _read_behind(
    listing: Listing, wanted: Wanted, bits: int | None, folder: Path
) -> ImageSet | None:
    """The images at once, those not in the cache to be decoded when they are asked for; None where
    few are not."""
    begun = fill_behind(
        folder, wanted, listing, partial(_decoder, wanted), lambda i: images.from_files(i), bits
    )
    if begun is None:
        return None
    aspects = torch.from_numpy(begun.filling.aspects)
    images = ImageSet(
        listing=begun.listing,
        side=wanted.side,
        channels=wanted.channels,
        aspects=aspects,
        held_out=np.zeros(len(aspects), bool),
        skipped=begun.skipped,
        bits=bits,
        cached=begun.filling,
        ranges=wanted.ranges,
    )
    return images


def _decoder(wanted: Wanted, listing: Listing) -> Decode:
    """Decodes a listing's files at given positions and depth, as wanted."""

    def decode(positions: Sequence[int], depth: int | None) -> Iterator[Square | Unreadable]:
        form = wanted.side, wanted.channels, depth, wanted.ranges
        return each(partial(square_of, listing, *form), positions)

    return decode


def _read_cached(
    listing: Listing, wanted: Wanted, bits: int | None, folder: Path, track: Track
) -> ImageSet:
    """The images with their squares in the cache, the same in all as without one."""
    decode, survey = _decoder(wanted, listing), Survey(wanted.side, wanted.channels)
    stored = read_stored(folder, wanted, decode, track)
    kept, aspects, skipped = _collect(stored.squares, listing.names, None, survey)
    settled = _settled(listing, skipped, survey, bits)
    if survey.deep and settled != wanted.bits:
        stored = read_stored(folder, wanted._replace(bits=settled), decode, track)
    kept_listing, ranges = listing.subset(kept), wanted.ranges
    images = _image_set(kept_listing, survey, aspects, None, skipped, settled, ranges)
    return replace(images, cached=Cached(stored.store, stored.rows[kept], images.from_files))


def _image_set(
    listing: Listing,
    survey: Survey,
    aspects: list[float],
    pixels: UInt8[Tensor, "n c s s"] | None,
    skipped: list[tuple[str, str]],
    bits: int | None,
    ranges: Ranges | None,
) -> ImageSet:
    return ImageSet(
        listing=listing,
        side=survey.side,
        channels=survey.channels,
        aspects=torch.tensor(aspects, dtype=torch.float32),
        pixels=pixels,
        held_out=np.zeros(len(aspects), bool),
        skipped=skipped,
        bits=bits,
        notes=survey.notes(bits),
        ranges=ranges,
    )


def _settled(
    listing: Listing, skipped: list[tuple[str, str]], survey: Survey, bits: int | None
) -> int | None:
    """The depth of deep pixels, once all images have been seen."""
    if not survey.total:
        raise UserError(
            f"--data {listing.root}: none of the {len(skipped)} files is a usable image; "
            f"the first, {shown(skipped[0][0])!r}: {skipped[0][1]}"
        )
    return bits if bits is not None else survey.bits()


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
