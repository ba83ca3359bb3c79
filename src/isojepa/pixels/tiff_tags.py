"""What the tags of a TIFF file say that Pillow's modes do not."""

from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import COMPRESSION_INFO, ImageFileDirectory_v2

from isojepa.boundaries import Blob
from isojepa.pixels.unreadable import Unreadable

SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = (
    254, 256, 257, 258, 259, 262, 277,
)  # fmt: skip
PLANAR, STRIPS, TILES, SUB_IFDS, FORMAT, DNG_VERSION = 284, 273, 324, 330, 339, 50706
MAGIC = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
UNSIGNED, SIGNED, FLOATING = 1, 2, 3  # sample formats


def tags_of(file: BufferedReader | BytesIO) -> ImageFileDirectory_v2 | None:
    """The tags of a file's first page; None if it is no TIFF."""
    start = file.read(8)
    if start[:4] not in MAGIC:
        return None
    if b"+" in start[2:4]:  # BigTIFF
        start += file.read(8)
    tags = ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    return tags


def tag(image: Image.Image, number: int) -> Any:
    """The first value of a tag; None where there is none, it is malformed, or this is no TIFF."""
    tags = getattr(image, "tag_v2", None)
    try:
        return None if tags is None else first_of(tags.get(number))
    except Exception:  # a tag of another type than it should be; Pillow judges those it needs
        return None


def bands_left_out(image: Image.Image) -> int:
    """How many bands a TIFF image has, if Pillow reads fewer of them; else 0."""
    samples = tag(image, SAMPLES)
    return samples if isinstance(samples, int) and samples > len(image.getbands()) else 0


def refuse_signed(image: Image.Image) -> None:
    """Refuse negative pixels of 8 bits, which Pillow takes for bright ones."""
    if tag(image, FORMAT) != SIGNED or image.mode not in {"L", "RGB"}:
        return
    lowest = np.asarray(image).view(np.int8).min()
    if lowest < 0:
        raise Unreadable(f"negative pixels (down to {lowest}): shift them to 0 ... 255 first")


def refuse_raw_photograph(image: Image.Image) -> None:
    """Refuse raw files of cameras, of which Pillow would read the thumbnail."""
    tags = getattr(image, "tag_v2", ())
    if DNG_VERSION in tags or (tag(image, SUBFILE_TYPE) == 1 and SUB_IFDS in tags):
        raise Unreadable("a raw photograph (DNG or a camera's own kind): develop it to TIFF or PNG")


def why_not_tiff(path: Path | Blob) -> str | None:
    """Why Pillow cannot read a TIFF file, by its tags; None where they do not tell."""
    with path.open("rb") as file:
        tags = tags_of(file)
        if tags is None:
            return None
        bits, samples = first_of(tags.get(BITS, 1)), first_of(tags.get(SAMPLES, 1))
        if DNG_VERSION in tags:
            return "a raw photograph (DNG): develop it to TIFF or PNG"
        if not {WIDTH, HEIGHT} <= set(tags) or not {STRIPS, TILES} & set(tags):
            return "damaged or truncated: its tags cannot be read"
        compression = first_of(tags.get(COMPRESSION, 1))
        if compression not in COMPRESSION_INFO:
            return f"a TIFF of compression {compression}, which Pillow does not know: save it anew"
        if first_of(tags.get(FORMAT)) == FLOATING:
            return f"floating-point pixels ({bits} bits): convert to 8 or 16 bits first"
        if first_of(tags.get(FORMAT, UNSIGNED)) != UNSIGNED:
            return f"signed or complex pixels of {bits} bits: convert to 8 or 16 bits without sign"
        if isinstance(samples, int) and samples > 1:
            return (
                f"a TIFF of {samples} bands of {bits} bits, which Pillow does not read: save one "
                "band (grey) or three (RGB) of 8 or 16 bits"
            )
        return f"a TIFF of {bits}-bit pixels of a kind that Pillow does not know: save it anew"


def first_of(value: Any) -> Any:
    """The first of several values of a tag, or the only one."""
    return value[0] if isinstance(value, tuple) and value else value
