"""A Pillow image of any mode becomes one uint8 square, upright, of one or three channels."""

import os
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.pixels.deep import deep_pixels, deep_source
from isojepa.pixels.orientation import turn_of
from isojepa.pixels.tiff_tags import bands_left_out, refuse_signed
from isojepa.pixels.unreadable import Unreadable

GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
ALPHA_MODES = {"RGBA", "LA", "PA", "La", "RGBa"}
WIDENED_GREY = "LA;16B"  # raw mode of grey PNG that Pillow widens to RGBA
PACKED_GREYS = {"L;2": 85, "L;4": 17}  # raw mode: factor by which Pillow widens them to 8 bits


class ImageInfo(NamedTuple):
    """What a file was like before it became a square, and what the square holds."""

    short_side: int
    grey: bool
    """Stored in a grey mode."""
    peak: int | None
    """Greatest value of integer pixels deeper than 8 bits; None of other pixels."""
    bright: int
    """The value of such pixels that 0.1 % of them exceed."""
    several: bool
    """Whether there are further pages or frames; the first is read."""
    bands: int
    """Bands of the file, where there are more than are read; else 0."""
    colourful: bool
    """Whether any two channels of the square differ."""
    flat: bool
    """Whether the square is of one single colour."""
    digest: int
    """Equal for equal squares."""


class Square(NamedTuple):
    """A whole image resized to a square, and the shape it had."""

    pixels: UInt8[np.ndarray, "c s s"]
    aspect: float
    """Width over height of the original."""
    info: ImageInfo


def to_square(image: Image.Image, side: int, channels: int, bits: int | None = None) -> Square:
    """Turn a Pillow image of any mode into a square of 1 (grey) or 3 (RGB) channels.

    The whole image is kept, squeezed to side x side; views are cut in its original geometry.
    EXIF rotation is applied, transparency is laid over white, of an animation the first frame is
    taken. Colours of 16 bits must not be loaded yet: Pillow cuts them to their upper bytes.

    Args:
        bits: integers of more than 8 bits are scaled to 8 such that 2^bits - 1, and what lies
            above, becomes white; by default the fewest bits that hold this image's values.

    Raises:
        UserError: if the pixels cannot be decoded, are floating-point or negative.
    """
    path = Path(os.fsdecode(getattr(image, "filename", "") or "the image"))
    try:
        with reading(path, "an image"):
            return squeeze(image, side, channels, bits)
    except Unreadable as error:
        raise UserError(f"{shown(path)}: {error}") from error


def squeeze(image: Image.Image, side: int, channels: int, bits: int | None) -> Square:
    """`to_square` without its boundary: whatever a decoder raises passes as it is.

    Raises:
        Unreadable: for pixels that are floating-point or negative.
    """
    bands = bands_left_out(image)
    source = deep_source(image)
    raw, grey = str(source.raw_mode), is_grey(image)
    turn = turn_of(image)
    image.load()
    refuse_signed(image)
    deep = deep_pixels(image, source, bits)
    flat = _over_white(image if deep is None else deep.image, PACKED_GREYS.get(raw, 1))
    flat = _as_mode(flat, "L" if channels == 1 else "RGB")
    flat = flat if turn is None else flat.transpose(turn)
    width, height = flat.size
    if flat.size != (side, side):
        flat = flat.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = np.asarray(flat).reshape(side, side, channels).transpose(2, 0, 1)
    pixels = np.array(pixels, order="C")  # Pillow's own memory is read-only
    peak, bright = (None, 0) if deep is None else (deep.peak, deep.bright)
    info = ImageInfo(
        short_side=min(width, height),
        grey=grey,
        peak=peak,
        bright=bright,
        several=_has_more(image),
        bands=bands,
        colourful=not all_equal(pixels, pixels[:1]),
        flat=all_equal(pixels, pixels[:, :1, :1]),
        digest=crc32(pixels.data),
    )
    return Square(pixels, width / height, info)


def is_grey(image: Image.Image) -> bool:
    """Whether an image, not loaded yet, is stored in grey, with transparency or without."""
    raw = [tile.args for tile in getattr(image, "tile", [])[:1]]
    return image.mode in GREY_MODES or raw == [WIDENED_GREY]


def _has_more(image: Image.Image) -> bool:
    """Whether pages or frames follow; asked last, as Pillow may go there and fall over them."""
    try:
        return bool(getattr(image, "is_animated", False)) and image.format != "PSD"
    except Exception:  # further frames that are damaged: the first one has been read
        return True


def all_equal(pixels: np.ndarray, to: np.ndarray) -> bool:
    """Whether `pixels == to` everywhere; most differ in the middle already."""
    middle = pixels.shape[1] // 2
    row = pixels[:, middle] == (to[:, middle] if to.shape[1] > 1 else to[:, 0])
    return bool(row.all() and (pixels == to).all())


def _over_white(image: Image.Image, factor: int) -> Image.Image:
    if image.mode == "F":
        raise Unreadable("floating-point pixels: convert to 8 or 16 bits first")
    if image.mode in {"La", "RGBa"}:  # premultiplied
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    transparent = image.info.get("transparency")
    if image.mode == "L" and isinstance(transparent, int) and factor > 1:
        image.info["transparency"] = transparent * factor
    if image.mode in ALPHA_MODES or transparent is not None:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image


def _as_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == "LAB":  # Pillow knows the way to RGB only
        image = image.convert("RGB")
    return image if image.mode == mode else image.convert(mode)
