"""Odd images are read or refused with the true reason."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from isojepa.encoders.modalities.images.images import Unreadable, read_square, to_square
from isojepa.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest takes ours off


MODES = ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA", "RGBX",
         "RGBa", "La", "I;16", "I;16L", "I;16B", "I;16N"]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_is_read_or_refused(mode: str, channels: int) -> None:
    image = Image.new(mode, (8, 4))
    if mode == "F":
        with pytest.raises(UserError, match="floating-point"):
            to_square(image, 4, channels)
    else:
        assert to_square(image, 4, channels).pixels.shape == (channels, 4, 4)


def exif(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    head = {"<": b"II*\0\x08\0\0\0", ">": b"MM\0*\0\0\0\x08"}[order] + struct.pack(
        order + "H", len(entries)
    )
    return b"Exif\0\0" + head + b"".join(
        struct.pack(order + "HHI4s", *entry) for entry in sorted(entries)
    ) + bytes(4)  # fmt: skip


TURNED = (0x0112, 3, 1, struct.pack("<H", 6))


MALFORMED = {
    "unit as a large number": (0x0128, 4, 1, struct.pack("<I", 70000)),
    "unit as text": (0x0128, 2, 2, b"a\0"),
    "resolution as text": (0x011A, 2, 3, b"72\0"),
    "resolution that points nowhere": (0x011A, 5, 1, b"\xff" * 4),
    "model that points nowhere": (0x0110, 2, 99, b"\xff" * 4),
    "make longer than the file": (0x010F, 2, 2**31, b"\1"),
    "date as a fraction": (0x0132, 10, 1, b"\x1a\0\0\0"),
    "width as text": (0x0100, 2, 3, b"16\0"),
    "unknown type": (0x0100, 77, 3, b"16\0"),
    "further directory at the end of the world": (0x8769, 9, 1, b"\xff" * 4),
    "place at the end of the world": (0x8825, 9, 1, b"\xff" * 4),
}


def half_white(size: tuple[int, int] = (30, 20)) -> Image.Image:
    image = Image.new("RGB", size)
    image.paste("white", (0, 0, size[0] // 2, size[1]))
    return image


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("entry", MALFORMED.values(), ids=MALFORMED)
def test_malformed_tags_do_not_hide_the_orientation(
    tmp_path: Path, form: str, entry: tuple[int, int, int, bytes]
) -> None:
    half_white().save(tmp_path / "x", form, exif=exif(TURNED, entry))
    square = read_square(tmp_path / "x", 8, 1)
    assert square.aspect == 20 / 30
    assert square.pixels[0, 0].min() > 250
    assert square.pixels[0, -1].max() < 5


@pytest.mark.parametrize("number", range(9))
@pytest.mark.parametrize("order", "<>")
def test_each_orientation_is_undone(tmp_path: Path, number: int, order: str) -> None:
    half_white().save(
        tmp_path / "x.png", exif=exif((0x0112, 3, 1, struct.pack(order + "H", number)), order=order)
    )
    with Image.open(tmp_path / "x.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image).resize((8, 8)).convert("L"))
    assert np.abs(read_square(tmp_path / "x.png", 8, 1).pixels[0].astype(int) - expected).max() < 20


@pytest.mark.parametrize("entry", [(0x8769, 9, 1, b"\xff" * 4), (0x0128, 2, 2, b"a\0")])
def test_a_tiff_is_turned_once_whatever_its_tags(
    tmp_path: Path, entry: tuple[int, int, int, bytes]
) -> None:
    pixels = np.asarray(half_white().convert("L"))
    number, kind, count, value = entry
    extra = [(number, kind, count, struct.unpack("<i", value.ljust(4, b"\0"))[0], True)]
    if kind == 2:
        extra = [(number, "s", 0, "a", True)]
    tifffile.imwrite(
        tmp_path / "x.tif", pixels, photometric="minisblack",
        extratags=[(274, "H", 1, 6, True), *extra],
    )  # fmt: skip
    square = read_square(tmp_path / "x.tif", 8, 1)
    assert square.aspect == 20 / 30
    assert square.pixels[0, 0].min() > 250 > 5 > square.pixels[0, -1].max()


def jpeg_of_12_bits() -> bytes:
    buffer = io.BytesIO()
    half_white().save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    content[content.find(b"\xff\xc0") + 4] = 12
    return bytes(content)


FOREIGN = {
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "EPS"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
    "PDF": (b"%PDF-1.7\n", "PDF"),
    "SVG": (b'<?xml version="1.0"?>\n<svg xmlns="x"/>', "SVG"),
    "JPEG XL": (b"\xff\x0a" + b"\1" * 50, "JPEG XL"),
    "JPEG XL in a box": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(50), "JPEG XL"),
    "EXR": (b"\x76\x2f\x31\x01" + bytes(50), "OpenEXR"),
    "NPY": (b"\x93NUMPY\1\0" + bytes(50), "NumPy"),
    "DICOM": (bytes(128) + b"DICM" + bytes(50), "DICOM"),
    "MP4": (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + bytes(50), "video"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200), "pip install pillow-heif"),
    "HEIC by another brand": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), "pillow-heif"),
    "CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "raw photograph"),
    "CR3": (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(100), "raw photograph"),
    "ZIP": (b"PK\3\4" + bytes(50), "archive"),
    "LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    "HTML": (b"<!DOCTYPE html>", "web page"),
    "JSON": (b'{"message": "Not found"}', "a text, not an image"),
    "empty": (b"", "0 bytes"),
    "zeros": (bytes(5000), "nothing but zeros"),
    "half a JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", "damaged or truncated"),
    "two bytes of a JPEG": (b"\xff\xd8", "2 bytes only"),
    "12-bit JPEG": (jpeg_of_12_bits(), "12-bit"),
    "noise": (np.random.default_rng(1).bytes(3000), "not an image"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_true_reason_is_given(tmp_path: Path, kind: str) -> None:
    content, words = FOREIGN[kind]
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(Unreadable, match=words):
        read_square(tmp_path / "x.png", 8, 3)


@pytest.mark.parametrize("number", [50706, 330])  # DNG's version; further directories
def test_the_thumbnail_of_a_raw_photograph_is_no_image(tmp_path: Path, number: int) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", np.zeros((8, 8), np.uint8), photometric="minisblack",
        subfiletype=1, extratags=[(333, "I", 1, 8, True)],
    )  # fmt: skip
    content = (tmp_path / "x.tif").read_bytes()
    content = content.replace(struct.pack("<HH", 333, 4), struct.pack("<HH", number, 4))
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(Unreadable, match="raw photograph"):
        read_square(tmp_path / "x.tif", 8, 3)


def test_closed_and_absent_files(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no such file"):
        read_square(tmp_path / "gone.png", 8, 3)
    with pytest.raises(Unreadable, match="directory"):
        read_square(tmp_path, 8, 3)


def test_libtiff_is_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    half_white().save(tmp_path / "x.tif", compression="tiff_adobe_deflate")
    content = bytearray((tmp_path / "x.tif").read_bytes())
    content[8:40] = b"\xff" * 32
    (tmp_path / "x.tif").write_bytes(content)
    with pytest.raises(Unreadable, match="damaged"):
        read_square(tmp_path / "x.tif", 8, 3)
    assert capfd.readouterr() == ("", "")


def test_a_damaged_second_frame_does_not_cost_the_first(tmp_path: Path) -> None:
    more = {"save_all": True, "append_images": [Image.new("RGB", (30, 20), "blue")]}
    half_white().save(tmp_path / "x.gif", **more)
    content = (tmp_path / "x.gif").read_bytes()
    second = content.rfind(b"\x2c")  # the descriptor of the last frame
    (tmp_path / "x.gif").write_bytes(content[: second + 3])
    assert np.ptp(read_square(tmp_path / "x.gif", 8, 1).pixels) == 255


def test_images_that_are_no_files_have_a_reason_too() -> None:
    with pytest.raises(UserError, match="the image: floating-point"):
        to_square(Image.new("F", (8, 8)), 4, 1)
