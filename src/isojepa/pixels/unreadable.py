"""Files that hold no usable image: the exception, and what they are by their first bytes."""

from functools import partial
from pathlib import Path

from isojepa.boundaries import Blob
from isojepa.errors import UserError

START = 4096  # bytes looked at
HEIC = "a HEIC picture: `pip install pillow-heif` (or pi-heif) to read it, or export it as JPEG"
RAW = "a raw photograph of a camera: develop it to TIFF, PNG or JPEG"
VIDEO = "a video: extract its frames first, for example with ffmpeg"
ARCHIVE = "an archive: unpack it first"
SIGNATURES: list[tuple[int, bytes, str]] = [
    (0, b"%!PS", "an EPS drawing: export it as PNG"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS drawing: export it as PNG"),
    (0, b"%PDF", "a PDF document: export its pages as PNG"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file: write its images to files first"),
    (0, b"\x93NUMPY", "a NumPy array: write its images to PNG or TIFF first"),
    (128, b"DICM", "a DICOM file: export it as PNG or TIFF, with its window applied"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image (floating-point): convert to 8 or 16 bits first"),
    (0, b"#?RADIANCE", "a Radiance HDR image (floating-point): convert to 8 or 16 bits first"),
    (0, b"\xff\x0a", "a JPEG XL picture, which Pillow does not read: export it as PNG or JPEG"),
    (4, b"JXL \r\n\x87\n", "a JPEG XL picture, which Pillow does not read: export it as PNG"),
    (0, b"II\xbc\x01", "a JPEG XR picture, which Pillow does not read: export it as PNG"),
    (8, b"CR\x02", RAW),
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"IIRO", RAW),
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"IIU\0", RAW),
    (0, b"FOVb", RAW),
    (0, b"\x1a\x45\xdf\xa3", VIDEO),
    (8, b"AVI LIST", VIDEO),
    (0, b"FLV\x01", VIDEO),
    (0, b"\0\0\x01\xba", VIDEO),
    (0, b"\0\0\x01\xb3", VIDEO),
    (0, b"PK\x03\x04", ARCHIVE),
    (0, b"\x1f\x8b", ARCHIVE),
    (0, b"7z\xbc\xaf", ARCHIVE),
    (0, b"Rar!", ARCHIVE),
    (0, b"BZh", ARCHIVE),
    (0, b"\xfd7zXZ", ARCHIVE),
    (0, b"\x28\xb5\x2f\xfd", ARCHIVE),
    (257, b"ustar", ARCHIVE),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of Microsoft Office or a Thumbs.db"),
    (0, b"MATLAB 5.0", "a MATLAB file: write its images to PNG or TIFF first"),
    (0, b"gimp xcf", "a GIMP project: export it as PNG"),
    (0, b"AT&TFORM", "a DjVu document: export its pages as PNG"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF drawing: export it as PNG"),
    (40, b" EMF", "an EMF drawing: export it as PNG"),
    (0, b"GRIB", "a GRIB file of weather data: write its fields to TIFF first"),
    (0, b"BUFR", "a BUFR file of weather data, not an image"),
    (344, b"n+1\0", "a NIfTI volume: write its slices to PNG or TIFF first"),
    (344, b"ni1\0", "a NIfTI volume: write its slices to PNG or TIFF first"),
    (0, b"PAR1", "a Parquet table, not an image"),
    (0, b"SQLite format 3", "an SQLite database, not an image"),
    (0, b"\0\x05\x16\x07", "a side-car file of macOS (AppleDouble), not an image"),
]


class Unreadable(UserError):
    """A file that holds no usable image; the message is the reason shown to the user."""


def what_it_is(path: Path | Blob) -> str | None:
    """A phrase with the remedy for a file of a known kind that is no readable image; else None."""
    with path.open("rb") as file:
        start = file.read(START)
        for offset, magic, words in SIGNATURES:
            if start[offset : offset + len(magic)] == magic:
                return words
        if start[4:8] == b"ftyp":
            return _of_brands(start)
        if _only_zeros(start) and all(map(_only_zeros, iter(partial(file.read, 1 << 20), b""))):
            return "nothing but zeros: a download or a copy that was not finished"
    return _text(start)


def _only_zeros(block: bytes) -> bool:
    return block.count(0) == len(block)


def _of_brands(start: bytes) -> str | None:
    """What an ISO base media file is, by the brands it names."""
    brands = start[8 : max(12, int.from_bytes(start[:4], "big"))]
    if any(brand in brands for brand in (b"avif", b"avis")):
        return None  # left to Pillow's own words
    if any(brand in brands for brand in (b"hei", b"hev", b"mif1", b"mif2", b"msf1")):
        return HEIC
    return RAW if b"crx" in brands else VIDEO


def _text(start: bytes) -> str | None:
    """Drawings and other texts; None for bytes that are no text."""
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(start) < START or error.start < START - 4:  # no character cut at the end
            return None
        text = start[: error.start].decode("utf-8")
    if "<svg" in text.lower():
        return "an SVG drawing: export it as PNG"
    if "\0" in text:
        return None
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if not line or not line.isprintable():
        return None
    return f"a text, not an image: it begins {line[:40]!r}"
