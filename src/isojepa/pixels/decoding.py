"""Image files opened by the decoders that may, in silence, and the true reason when none can."""

import ctypes
import importlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from io import SEEK_END, BufferedReader, BytesIO
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, UnidentifiedImageError

from isojepa.boundaries import Blob, contents, reading, reason, trying
from isojepa.pixels.deep import is_deep
from isojepa.pixels.items import Array, Item
from isojepa.pixels.numbers import Header, header_of, raster_of
from isojepa.pixels.rasters import Ranges, Raster, square_of_raster, wrong_count
from isojepa.pixels.square import Square, is_grey, squeeze
from isojepa.pixels.tiff_tags import COMPRESSION, refuse_raw_photograph, tag, why_not_tiff
from isojepa.pixels.unreadable import HEIC, Unreadable, what_it_is

MAX_PIXELS = 500_000_000  # beyond this a file is taken for a decompression bomb
# Drawings would be handed to Ghostscript or to Windows; the others are stubs without a decoder.
SHUT = {"EPS", "WMF", "HDF5", "BUFR", "GRIB", "MPEG"}
HEIF_READERS = ("pillow_heif", "pi_heif")
SHORTEST = 16  # bytes that Pillow looks at to tell a format; it falls over less
WITHOUT_MAGIC = {"SPIDER", "TGA", "PCD", "IPTC"}  # formats that almost any bytes may pretend to be

# What Pillow and libtiff say of a file becomes the reason for skipping it, not lines on the screen.
warnings.filterwarnings("ignore", module=r"PIL\b")
logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
_library = ctypes.CDLL(Image.core.__file__)  # its symbols include those of the libtiff it loads
with suppress(AttributeError):  # not on Windows
    _library.TIFFSetErrorHandler(None)
    _library.TIFFSetWarningHandler(None)
_registering = Lock()


def read_square(
    item: Item, side: int, channels: int, bits: int | None = None, ranges: Ranges | None = None
) -> Square:
    """Read one image as `to_square` does, or as `square_of_raster` what Pillow has no mode for.

    Args:
        ranges: where images are numbers in units of their own: of each channel, what becomes black
            and white.

    Raises:
        Unreadable: with the reason, whatever a decoder raises; nothing else leaves this function.
    """
    raster = raster_of(item, channels)
    if raster is not None:
        return square_of_raster(raster, side, channels, bits, ranges)
    assert not isinstance(item, Array)
    with opened(item) as image, reading(item, "an image", _damaged):
        if channels not in (1, 3):
            raise Unreadable(wrong_count(1 if is_grey(image) else 3, channels))
        if ranges is not None:
            return square_of_raster(_as_numbers(image), side, channels, bits, ranges)
        image.draft(None, (2 * side, 2 * side))
        return squeeze(image, side, channels, bits)


def read_header(item: Item, channels: int | None = None) -> Header:
    """Size, channels and kind of an image, without decoding it where its format allows.

    Raises:
        Unreadable: if it is none.
    """
    raster = raster_of(item, channels)
    if raster is not None:
        return header_of(raster)
    assert not isinstance(item, Array)
    with opened(item) as image:
        return Header(min(image.size), 1 if is_grey(image) else 3, image.mode == "F")


def peak_of(item: Item) -> int | None:
    """The greatest value of whole numbers of more than 8 bits; None for other images.

    Raises:
        Unreadable: if it is none.
    """
    raster = raster_of(item)
    if raster is not None:
        values = raster.values
        is_deep_raster = values.dtype.kind in "ui" and values.dtype.itemsize > 1
        return int(values.max()) if is_deep_raster else None
    assert not isinstance(item, Array)
    with opened(item) as image:
        deep = is_deep(image)
    return read_square(item, 1, 1).info.peak if deep else None


def read_numbers(item: Item, channels: int) -> np.ndarray:
    """The values (h, w, c) of an image of numbers.

    Raises:
        Unreadable: if it is none, or a picture of 8 bits.
    """
    raster = raster_of(item, channels)
    if raster is None:
        assert not isinstance(item, Array)
        with opened(item) as image, reading(item, "an image", _damaged):
            raster = _as_numbers(image)
    if raster.values.dtype == np.uint8:
        raise Unreadable("pixels of 8 bits, where others are numbers in units of their own")
    return raster.values


def _as_numbers(image: Image.Image) -> Raster:
    """A picture of one channel of more than 8 bits as numbers."""
    if image.mode != "F" and image.mode != "I" and not image.mode.startswith("I;16"):
        raise Unreadable("pixels of 8 bits, where others are numbers in units of their own")
    return Raster(np.array(image)[..., None])


@contextmanager
def opened(path: Path | Blob) -> Iterator[Image.Image]:
    """Open an image file; its pixels are decoded when they are asked for.

    Raises:
        Unreadable: if it is none, cannot be decoded here, or is too large.
    """
    with reading(path, "an image", Unreadable), path.open("rb") as file, _open(path, file) as image:
        refuse_raw_photograph(image)
        if image.width * image.height > MAX_PIXELS:
            raise Unreadable(f"{image.width}x{image.height} pixels is beyond the limit")
        _refuse_missing_decoder(image)
        yield image


def formats() -> tuple[str, ...]:
    """The formats that files may have: Pillow's and those of installed plugins, drawings apart."""
    with _registering:
        return _formats()


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    name = next((name for name in HEIF_READERS if importlib.util.find_spec(name)), None)
    if name is not None and "HEIF" not in Image.ID:
        with trying(f"{name}, which reads HEIC pictures"):
            importlib.import_module(name).register_heif_opener()
    return tuple(name for name in Image.ID if name not in SHUT)


def _open(path: Path | Blob, file: BufferedReader | BytesIO) -> Image.Image:
    try:
        return Image.open(file, formats=formats())
    except Image.DecompressionBombError as error:
        raise Unreadable("too many pixels, a decompression bomb?") from error
    except Exception as error:
        raise Unreadable(_why_not(path, file, error)) from error


def _why_not(path: Path | Blob, file: BufferedReader | BytesIO, error: Exception) -> str:
    known = contents(path) or what_it_is(path)
    if known is not None and not (known == HEIC and "HEIF" in formats()):
        return known
    with suppress(Exception):  # the tags of a TIFF may be damaged too
        if tiff := why_not_tiff(path):
            return tiff
    if file.seek(0, SEEK_END) >= SHORTEST and not isinstance(error, UnidentifiedImageError):
        return str(_damaged(reason(error)))
    return _decoders_words(file) or "not an image that Pillow can read"


def _decoders_words(file: BufferedReader | BytesIO) -> str | None:
    """Why the decoder whose mark a file bears refuses it: `Image.open` keeps that to itself."""
    file.seek(0)
    start = file.read(SHORTEST)
    if len(start) < SHORTEST:
        return f"damaged or truncated: {len(start)} bytes only"
    for name in formats():
        factory, accepts = Image.OPEN[name]
        accepted = accepts is not None and name not in WITHOUT_MAGIC and accepts(start)
        if isinstance(accepted, str):  # "... AVIF support not installed"
            return f"{name}: {accepted}"
        if accepted:
            file.seek(0)
            try:
                factory(file, "")
            except Exception as error:
                return f"damaged, or of a kind of {name} that Pillow does not know: {reason(error)}"
    return None


def _refuse_missing_decoder(image: Image.Image) -> None:
    """A decoder that this Pillow was built without is no damage of the file."""
    for tile in getattr(image, "tile", [])[:1]:
        name = tile.codec_name
        if name not in Image.DECODERS and not hasattr(Image.core, f"{name}_decoder"):
            raise Unreadable(f"this Pillow was built without the decoder {name}: reinstall it")
        scheme = tag(image, COMPRESSION)
        configured = getattr(_library, "TIFFIsCODECConfigured", None)
        if name == "libtiff" and configured is not None and not configured(scheme):
            words = image.info.get("compression", scheme)
            raise Unreadable(f"a TIFF of compression {words}, which this Pillow cannot undo")


def _damaged(why: str) -> Unreadable:
    return Unreadable(f"damaged or truncated: {why}")
