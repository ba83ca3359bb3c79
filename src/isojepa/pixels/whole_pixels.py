"""Instructions for Pillow's decoders by which both bytes of 16 can be had, format by format."""

from typing import Any, Protocol, runtime_checkable

from PIL import Image

from isojepa.pixels.tiff_tags import BITS, PLANAR, tag
from isojepa.pixels.unreadable import Unreadable

SGI_HEADER = 512
CODESTREAM = b"\xff\x4f\xff\x51"  # of JPEG 2000: it begins, and its sizes follow
LOOKED_THROUGH = 2**20  # bytes before which the codestream of a JP2 file begins


@runtime_checkable
class Tile(Protocol):
    """Pillow's instruction for one of its decoders."""

    codec_name: str
    args: Any
    """What the decoder is told: nothing, the raw mode, or a tuple that begins with it."""

    def _replace(self, **changes: object) -> "Tile": ...


def whole_tiles(image: Image.Image) -> list[Tile]:
    """The image's instructions, mended; grey ones of 16 bits get the mode that holds them.

    Raises:
        Unreadable: for floating-point textures, which Pillow cuts to bytes.
    """
    tiles = list(getattr(image, "tile", []))
    if not tiles:
        return []
    if image.format == "SGI":
        return _sgi(image, tiles)
    if tiles[0].codec_name == "bcn" and str(tiles[0].args[1]).startswith("BC6H"):
        raise Unreadable("floating-point pixels (BC6H): convert to 8 or 16 bits first")
    if tiles[0].codec_name == "ppm" and tiles[0].args == ("RGB", 65_535):
        return [tiles[0]._replace(codec_name="raw", args="RGB;16B")]
    return _planes(image, tiles)


def declared_bits(image: Image.Image) -> int | None:
    """Bits of a channel of a JPEG 2000 image, by its header; None for other formats."""
    if image.format != "JPEG2000" or image.fp is None:  # type: ignore[attr-defined]
        return None
    file = image.fp  # type: ignore[attr-defined]
    at = file.tell()
    file.seek(0)
    start = file.read(LOOKED_THROUGH)
    file.seek(at)
    # Two lengths of 16 bits, eight sizes of 32 and the count of channels before the first's depth
    first = start.find(CODESTREAM) + len(CODESTREAM) + 38
    return (start[first] & 0x7F) + 1 if len(CODESTREAM) + 38 <= first < len(start) else None


def _sgi(image: Image.Image, tiles: list[Tile]) -> list[Tile]:
    """Pillow decodes two bytes a channel itself, and keeps the upper one."""
    tile = tiles[0]
    if tile.codec_name == "sgi_rle" and tile.args[0] == "L;16B":
        image._mode = "I;16"
        return [tile._replace(args=("I;16B", *tile.args[1:]))]
    if tile.codec_name != "SGI16":
        return tiles
    _, *layout = tile.args
    if image.mode == "L":
        image._mode = "I;16"
        return [tile._replace(codec_name="raw", args=("I;16B", *layout))]
    size = 2 * image.width * image.height
    return [
        tile._replace(codec_name="raw", offset=SGI_HEADER + i * size, args=(f"{band};16B", *layout))
        for i, band in enumerate(image.getbands())
    ]


def _planes(image: Image.Image, tiles: list[Tile]) -> list[Tile]:
    """Uncompressed planes of 16 bits, which Pillow reads as planes of 8 and more than it has."""
    if tag(image, PLANAR) != 2 or tag(image, BITS) != 16 or tiles[0].codec_name != "raw":
        return tiles
    if image.mode not in {"RGB", "RGBA", "CMYK"}:
        return tiles
    order = "L" if image.tag_v2.prefix == b"II" else "B"  # type: ignore[attr-defined]
    return [
        tile._replace(args=(f"{tile.args[0]};16{order}", *tile.args[1:]))
        for tile in tiles
        if tile.args[0] in image.getbands()
    ]
