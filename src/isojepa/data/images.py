"""Image files in, one uint8 tensor of squares out; what cannot be read is skipped and named."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from isojepa.data.folder import Listing
from isojepa.errors import UserError

GREY_MODES = {"1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N"}
MAX_PIXELS = 500_000_000  # beyond this a file is taken for a decompression bomb

warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Unreadable(Exception):
    """A file that holds no usable image; the message is the reason shown to the user."""


class Square(NamedTuple):
    """A whole image resized to a square, and the shape it had."""

    pixels: UInt8[np.ndarray, "c s s"]
    aspect: float
    """Width over height of the original."""


def to_square(image: Image.Image, side: int, channels: int) -> Square:
    """Turn a Pillow image of any mode into a square of 1 (grey) or 3 (RGB) channels.

    The whole image is kept, squeezed to side x side; views are cut in its original geometry.
    EXIF rotation is applied, transparency is laid over white, 16-bit values are scaled to 8 bits,
    of an animation the first frame is taken.
    """
    image = ImageOps.exif_transpose(image)
    width, height = image.size
    image = _to_8_bit(image, "L" if channels == 1 else "RGB")
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = np.asarray(image).reshape(side, side, channels).transpose(2, 0, 1)
    return Square(np.ascontiguousarray(pixels), width / height)


def read_square(path: Path, side: int, channels: int) -> Square:
    """Read one file as `to_square` does; raises `Unreadable` with the reason."""
    try:
        if path.stat().st_size == 0:
            raise Unreadable("empty file (0 bytes)")
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Unreadable(f"{image.width}x{image.height} pixels is beyond the limit")
            image.draft(None, (2 * side, 2 * side))
            return to_square(image, side, channels)
    except UnidentifiedImageError as error:
        raise Unreadable("not an image that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise Unreadable("too many pixels, a decompression bomb?") from error
    except PermissionError as error:
        raise Unreadable("permission denied") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise
        raise Unreadable(f"damaged or truncated: {error}") from error


def _to_8_bit(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "F":
        raise Unreadable("floating-point pixels: convert to 8 or 16 bits first")
    if image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable("32-bit pixels: convert to 8 or 16 bits first")
        image = Image.fromarray((values // 257).astype(np.uint8))
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image if image.mode == mode else image.convert(mode)


class Headers(NamedTuple):
    """What a sample of the files' headers says, before any pixel is decoded."""

    short_side: int
    """Median over the sample of the shorter side, in pixels."""
    channels: int
    """1 when every sampled image is grey, else 3."""


def read_headers(listing: Listing, sample: int = 512) -> Headers:
    """Read the headers of an even sample of the files.

    Raises:
        UserError: if none of them is an image.
    """
    chosen = np.unique(np.linspace(0, len(listing.names) - 1, sample).astype(int))
    sides, grey = [], True
    for i in chosen:
        try:
            with Image.open(listing.root / listing.names[i]) as image:
                sides.append(min(image.size))
                grey = grey and image.mode in GREY_MODES
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue
    if not sides:
        raise UserError(f"--data {listing.root}: none of the files is an image Pillow can read")
    return Headers(int(np.median(sides)), 1 if grey else 3)


@dataclass(frozen=True)
class ImageSet:
    """Images of one folder as squares, in memory or decoded when asked for."""

    listing: Listing
    side: int
    channels: int
    aspects: Float[Tensor, " n"]
    pixels: UInt8[Tensor, "n c s s"] | None
    """All squares, or None when they do not fit in memory and are decoded at each use."""
    held_out: Bool[np.ndarray, " n"]
    skipped: list[tuple[str, str]]
    """(name, reason) of the files that hold no usable image."""

    def __len__(self) -> int:
        return len(self.listing.names)

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        return self.listing.labels

    def read(self, indices: Sequence[int] | Tensor) -> UInt8[Tensor, "b c s s"]:
        """The squares at the given positions."""
        if self.pixels is not None:
            return self.pixels[torch.as_tensor(indices)]
        paths = [self.listing.root / self.listing.names[int(i)] for i in indices]
        with ThreadPoolExecutor(_threads()) as pool:
            squares = pool.map(lambda path: read_square(path, self.side, self.channels), paths)
            return torch.from_numpy(np.stack([square.pixels for square in squares]))


def read_images(
    listing: Listing,
    *,
    side: int,
    channels: int,
    memory_bytes: int | None = None,
    track: Callable[[Iterator, int, str], Iterator] = lambda items, _total, _what: items,
) -> ImageSet:
    """Decode every file of the listing once, skipping and naming those that hold no image.

    Args:
        side: side of the squares, in pixels.
        channels: 1 or 3.
        memory_bytes: squares are kept in memory up to this size, otherwise decoded at each use;
            a quarter of the machine's memory by default.
        track: wraps the iterator over files to show progress.

    Raises:
        UserError: if no file holds an image.
    """
    budget = _quarter_of_memory() if memory_bytes is None else memory_bytes
    keep_pixels = len(listing.names) * channels * side * side <= budget
    shape = (len(listing.names) if keep_pixels else 0, channels, side, side)
    pixels = np.empty(shape, np.uint8)
    aspects: list[float] = []
    kept: list[int] = []
    skipped: list[tuple[str, str]] = []
    results = track(_read_all(listing, side, channels), len(listing.names), "reading images")
    for i, result in enumerate(results):
        if isinstance(result, Unreadable):
            skipped.append((listing.names[i], str(result)))
            continue
        if keep_pixels:
            pixels[len(kept)] = result.pixels
        aspects.append(result.aspect)
        kept.append(i)
    if not kept:
        raise UserError(
            f"--data {listing.root}: none of the {len(skipped)} files is a usable image; "
            f"the first, {skipped[0][0]!r}: {skipped[0][1]}"
        )
    return ImageSet(
        listing.subset(kept),
        side,
        channels,
        torch.tensor(aspects, dtype=torch.float32),
        torch.from_numpy(pixels[: len(kept)]) if keep_pixels else None,
        np.zeros(len(kept), bool),
        skipped,
    )


def channel_statistics(
    images: ImageSet, indices: Sequence[int], sample: int = 2000
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel over an even sample, pixels scaled to [0, 1].

    The deviation is at least 1/255, so that constant images do not divide by zero.
    """
    chosen = np.unique(np.linspace(0, len(indices) - 1, sample).astype(int))
    pixels = images.read([indices[i] for i in chosen]).double() / 255
    std = pixels.std((0, 2, 3)).clamp_min(1 / 255)
    return pixels.mean((0, 2, 3)).tolist(), std.tolist()


def _read_all(listing: Listing, side: int, channels: int) -> Iterator[Square | Unreadable]:
    def attempt(name: str) -> Square | Unreadable:
        try:
            return read_square(listing.root / name, side, channels)
        except Unreadable as error:
            return error

    with ThreadPoolExecutor(_threads()) as pool:
        for start in range(0, len(listing.names), 1024):  # bounded: results wait in memory
            yield from pool.map(attempt, listing.names[start : start + 1024])


def _threads() -> int:
    return min(16, os.cpu_count() or 1)


def _quarter_of_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
    except (AttributeError, ValueError, OSError):  # not on every platform
        return 4 * 2**30
