"""A Pillow image of any mode becomes one uint8 square, upright, of one or three channels."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from isojepa.boundaries import reading
from isojepa.data.deep import deep_pixels, deep_source
from isojepa.data.tiff_tags import bands_left_out, refuse_signed
from isojepa.data.unreadable import Unreadable

GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
ALPHA_MODES = {"RGBA", "LA", "PA", "La", "RGBa"}
ORIENTATION = 0x0112  # the tag of EXIF and TIFF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
GREY_RAW_MODES = {"LA;16B"}  # what Pillow widens to RGBA though the file is grey
PACKED_GREYS = {"L;2": 85, "L;4": 17}  # raw mode: factor by which Pillow widens them to 8 bits


class Seen(NamedTuple):
    """What a file was like before it became a square."""

    short_side: int
    grey: bool
    """Stored in a grey mode."""
    peak: int | None = None
    """Greatest value of integer pixels deeper than 8 bits; None of other pixels."""
    bright: int = 0
    """The value of such pixels that 0.1 % of them exceed."""
    several: bool = False
    """Whether there are further pages or frames; the first is read."""
    bands: int = 0
    """Bands of the file, where there are more than are read; else 0."""


class Square(NamedTuple):
    """A whole image resized to a square, and the shape it had."""

    pixels: UInt8[np.ndarray, "c s s"]
    aspect: float
    """Width over height of the original."""
    seen: Seen


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
    name = getattr(image, "filename", "") or "the image"
    with reading(Path(os.fsdecode(name)), "an image"):
        return squeeze(image, side, channels, bits)


def squeeze(image: Image.Image, side: int, channels: int, bits: int | None) -> Square:
    """`to_square` without its boundary: whatever a decoder raises passes as it is.

    Raises:
        Unreadable: for pixels that are floating-point or negative.
    """
    several = bool(getattr(image, "is_animated", False)) and image.format != "PSD"
    bands = bands_left_out(image)
    source = deep_source(image)
    raw = str(source.raw_mode)
    grey = image.mode in GREY_MODES or raw in GREY_RAW_MODES
    image.load()
    refuse_signed(image)
    deep = deep_pixels(image, source, bits)
    flat = _over_white(image if deep is None else deep.image, PACKED_GREYS.get(raw, 1))
    flat = _as_mode(flat, "L" if channels == 1 else "RGB")
    turn = UPRIGHT.get(_orientation(image))
    flat = flat if turn is None else flat.transpose(turn)
    width, height = flat.size
    if flat.size != (side, side):
        flat = flat.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = np.asarray(flat).reshape(side, side, channels).transpose(2, 0, 1)
    peak, bright = (None, 0) if deep is None else (deep.peak, deep.bright)
    seen = Seen(min(width, height), grey, peak, bright, several, bands)
    return Square(np.ascontiguousarray(pixels), width / height, seen)


def _orientation(image: Image.Image) -> Any:
    """The EXIF orientation, of a loaded image; the other tags may be as malformed as they like."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:  # the block is no EXIF: the pixels are none the worse for it
        return None
    return value[0] if isinstance(value, tuple | bytes) and value else value


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
