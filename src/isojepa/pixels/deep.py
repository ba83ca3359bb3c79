"""Integer pixels of more than 8 bits, scaled to 8 by the depth that is really used.

Cameras write 10, 12 or 14 bits into files of 16. Pillow reads grey ones as they are and cuts
colours to their upper bytes; here the lower bytes are read too, where they matter.
"""

import sys
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from isojepa.pixels.tiff_tags import BITS, FORMAT, PHOTOMETRIC, PLANAR, UNSIGNED, tag
from isojepa.pixels.unreadable import Unreadable
from isojepa.pixels.whole_pixels import Tile, declared_bits, whole_tiles

DEEPEST = 16  # bits of a channel of colour
SAMPLE = 65_536  # pixels looked at for the bright end
WHITE_IS_ZERO = 0  # TIFF's photometric interpretation


class TileSource(NamedTuple):
    """Where an image that is not loaded yet comes from: enough to read it a second time."""

    file: str | IO[bytes] | None
    format: str | None
    tiles: list[Tile]
    """Pillow's instructions for its decoders."""
    raw_mode: str | None
    """How the file stores its pixels, in Pillow's words."""
    bits: int | None
    """Of a channel, as declared, where a decoder cuts them to 8 and nothing else tells."""


class Deep(NamedTuple):
    """An image of 8 bits that was deeper."""

    image: Image.Image
    peak: int
    """Greatest value before scaling, transparent pixels apart."""
    bright: int
    """The value that 0.1 % of the pixels exceed."""


def depth(peak: int) -> int:
    """The fewest bits, 8 at least, that hold values up to `peak`."""
    return max(8, int(peak).bit_length())


def to_byte(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale 0 ... 2^bits - 1 to 0 ... 255; what lies above becomes 255."""
    white = 2**bits - 1
    if bits > DEEPEST:
        return (np.minimum(values.astype(np.int64), white) * 255 // white).astype(np.uint8)
    table = (np.arange(white + 1) * 255 // white).astype(np.uint8)
    return table[np.minimum(values, white)]


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet holds integers of more than 8 bits."""
    source = deep_source(image)
    deep = image.mode == "I" or image.mode.startswith("I;16") or source.bits == DEEPEST
    return deep or any(_other_byte(tile) for tile in source.tiles)


def deep_source(image: Image.Image) -> TileSource:
    """Where the image comes from; mends what Pillow gets wrong about 16 bits."""
    tiles = whole_tiles(image)
    if not tiles:
        return TileSource(None, None, [], None, None)
    image.tile = tiles  # type: ignore[attr-defined]
    args = tiles[0].args
    raw = args if isinstance(args, str) else (args[0] if args else None)
    file = getattr(image, "filename", "") or getattr(image, "fp", None)
    return TileSource(
        file, image.format, tiles, raw if isinstance(raw, str) else None, declared_bits(image)
    )


def deep_pixels(image: Image.Image, source: TileSource, bits: int | None) -> Deep | None:
    """The loaded image in 8 bits per channel if its integers are deeper; else None.

    Raises:
        Unreadable: for negative values, and where the lower bytes cannot be had.
    """
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey(image, bits)
    return _colour(image, source, bits)


def _grey(image: Image.Image, bits: int | None) -> Deep:
    values = np.asarray(image)
    if tag(image, BITS) == 32 and tag(image, FORMAT) in (None, UNSIGNED):
        values = values.view(np.uint32).astype(np.int64)  # Pillow takes all for signed
    if image.format == "FITS" and values.dtype == np.uint16:  # Pillow forgets the sign
        values = values.view(np.int16)
    if values.min() < 0:
        raise Unreadable(f"negative pixels (down to {values.min()}): shift them to 0 and up first")
    transparent = image.info.get("transparency")
    shown = values if transparent is None else values[values != transparent]
    peak, bright = ends(shown)
    grey = to_byte(values, bits or depth(peak))
    if tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts those of 8 bits only
        grey = 255 - grey
    if transparent is not None:
        grey[values == transparent] = 255
    return Deep(Image.fromarray(grey), peak, bright)


def _colour(image: Image.Image, source: TileSource, bits: int | None) -> Deep | None:
    others = [_other_byte(tile) for tile in source.tiles]
    swapped = [tile for tile in others if tile is not None]
    only_upper = source.bits == DEEPEST
    if not only_upper and (not swapped or len(swapped) < len(others)):
        return None
    upper, transparent = np.asarray(image), image.info.get("transparency")
    grey = source.raw_mode == "LA;16B" or image.mode == "LA"
    colours = 1 if grey else 4 if image.mode == "CMYK" else 3
    highest = int(upper[..., :colours].max()) - only_upper  # which its decoder rounds, up to 1 more
    whole = depth(highest << 8) == DEEPEST == (bits or DEEPEST)
    if whole and transparent is None:  # the upper bytes are all that matters
        return Deep(image, *ends(upper[..., :colours].astype(np.int32) << 8 | 255))
    if only_upper:
        raise Unreadable(
            "JPEG 2000 of less than 16 bits in 16, of which Pillow reads the upper byte only: save "
            "it as PNG or TIFF"
        )
    if tag(image, PLANAR) == 2 and source.tiles[0].codec_name == "libtiff":
        raise Unreadable(
            "compressed planes of less than 16 bits in 16, of which Pillow reads the upper bytes "
            "only: save them interleaved (planar configuration 1)"
        )
    lower = _second_reading(source, swapped)
    if source.raw_mode == "LA;16B":  # read as four bytes: both of grey, both of alpha
        values = lower[..., 0::2].astype(np.int32) << 8 | lower[..., 1::2]
        mode = "LA"
    else:
        values, mode = upper.astype(np.int32) << 8 | lower, image.mode
    hidden = None if transparent is None else (values == np.array(transparent)).all(-1)
    shown = values[..., :colours]
    peak, bright = ends(shown if hidden is None else shown[~hidden])
    bytes_ = to_byte(values, bits or depth(peak))
    for band in range(colours, values.shape[-1]):  # alpha has a range of its own
        if mode != "RGB":
            bytes_[..., band] = to_byte(values[..., band], depth(int(values[..., band].max())))
    if hidden is not None:
        bytes_[hidden] = 255
    bands = [Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(bytes_, -1, 0)]
    return Deep(Image.merge(mode, bands), peak, bright)


def ends(values: np.ndarray) -> tuple[int, int]:
    """The greatest value, and that which 0.1 % of them exceed."""
    if not values.size:
        return 0, 0
    flat = values.reshape(-1)
    sample = flat[:: max(1, flat.size // SAMPLE)]
    return int(flat.max()), int(np.percentile(sample, 99.9))


def _second_reading(source: TileSource, tiles: list[Tile]) -> np.ndarray:
    file = source.file
    if file is not None and not isinstance(file, str | bytes):
        file.seek(0)
    assert file is not None
    with Image.open(file, formats=[str(source.format)]) as again:
        again.tile = tiles  # type: ignore[assignment]
        again.load()
        return np.asarray(again)


def _other_byte(tile: Tile) -> Tile | None:
    """The same instruction for the byte of 16 that Pillow leaves out; None where it leaves none."""
    raw, *rest = [tile.args] if isinstance(tile.args, str) else tile.args or [None]
    if raw == "LA;16B":
        other = "RGBA"
    elif isinstance(raw, str) and raw[-4:] in {";16L", ";16B", ";16N"} and raw[0] != "I":
        own = raw[-1].replace("N", "L" if sys.byteorder == "little" else "B")
        other = raw[:-1] + ("B" if own == "L" else "L")
    else:
        return None
    return tile._replace(args=other if isinstance(tile.args, str) else (other, *rest))
