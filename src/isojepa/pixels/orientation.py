"""How an image has to be turned, from its own tag alone: other tags may be malformed.

Pillow gives up the rest of an EXIF block at the first tag that points nowhere, and its
`exif_transpose` writes the block anew, which fails for tags of unexpected types.
"""

import re
import struct

from PIL import Image

from isojepa.pixels.tiff_tags import tag

ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}  # types of a tag's value
ENTRY = 12  # bytes of a tag in its directory


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; None if it is. To be asked before the image is loaded.

    Takes from Pillow the task of turning a TIFF while it is loaded.
    """
    if image.format == "TIFF":
        image.load_end = lambda: None  # type: ignore[attr-defined]
        return UPRIGHT.get(tag(image, ORIENTATION))
    block = _block(image)
    if block is not None and (value := orientation(block)) is not None:
        return UPRIGHT.get(value)
    return UPRIGHT.get(_others_words(image) or 0)


def orientation(block: bytes) -> int | None:
    """The orientation in a block of EXIF; None if there is none, or this is no such block."""
    block = re.sub(rb"^(Exif\0\0)+", b"", block)
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 8:
        return None
    (start,) = struct.unpack_from(order + "I", block, 4)
    count = int.from_bytes(block[start : start + 2], "little" if order == "<" else "big")
    last = min(start + 2 + ENTRY * count, len(block))
    for at in range(start + 2, last - ENTRY + 1, ENTRY):
        number, kind, _count = struct.unpack_from(order + "HHI", block, at)
        if number == ORIENTATION:
            return _integer(order, kind, block[at + 8 : at + ENTRY])
    return None


def _integer(order: str, kind: int, value: bytes) -> int | None:
    if kind in INTEGERS:
        return struct.unpack_from(order + INTEGERS[kind], value)[0]
    return int(value[:1]) if value[:1].isdigit() else None  # text


def _block(image: Image.Image) -> bytes | None:
    block = image.info.get("exif")
    text = image.info.get("Raw profile type exif")  # of ImageMagick's PNG files
    if block is None and isinstance(text, str):
        digits = "".join(text.split("\n")[3:])
        block = bytes.fromhex(digits) if re.fullmatch(r"([0-9a-fA-F]{2})*", digits) else None
    return block if isinstance(block, bytes) else None


def _others_words(image: Image.Image) -> int | None:
    """The orientation by XMP, or as a caller has set it in the image's EXIF."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:  # no EXIF block: the pixels are none the worse for it
        return None
    return value if isinstance(value, int) else None
