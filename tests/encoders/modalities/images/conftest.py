"""A folder with one of everything that users' folders hold."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(width: int = 24, height: int = 16) -> Image.Image:
    """A smooth colour picture, red on the left, bright at the bottom."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    pixels = np.stack([255 * (1 - x), 255 * y, 128 * np.ones_like(x)], -1)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Readable images of every awkward kind."""
    rgb = picture()
    rgb.save(tmp_path / "rgb.png")
    rgb.save(tmp_path / "photo.jpg", quality=95)
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    rgb.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    rgb.convert("L").save(tmp_path / "grey.png")
    rgb.convert("1").save(tmp_path / "bilevel.png")
    alpha = rgb.convert("RGBA")
    alpha.putalpha(Image.new("L", rgb.size, 0))
    alpha.save(tmp_path / "transparent.png")
    palette = rgb.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "palette_transparent.png", transparency=0)
    deep = (np.asarray(rgb.convert("L")).astype(np.uint16)) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.fromarray(deep).save(tmp_path / "deep.tiff")
    turned = rgb.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer has to turn it by 90 degrees clockwise
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    frames = [picture(), Image.new("RGB", (24, 16), "blue")]
    frames[0].save(tmp_path / "animated.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (1, 1), "red").save(tmp_path / "one_pixel.png")
    Image.new("L", (10_000, 10), 77).save(tmp_path / "wide.png")
    Image.new("RGB", (10_000, 10_000), (10, 200, 30)).save(tmp_path / "huge.jpg", quality=30)
    return tmp_path


@pytest.fixture
def wrecks(tmp_path: Path) -> dict[str, str]:
    """Files that are no images, by the words that must name the reason; written to tmp_path."""
    rgb = picture(64, 64)
    rgb.save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    rgb.save(tmp_path / "whole.png")
    png = bytearray((tmp_path / "whole.png").read_bytes())
    (tmp_path / "cut.png").write_bytes(png[: len(png) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "named.jpg").write_text("neither is this")
    bomb = bytearray(png)
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    (tmp_path / "bomb.png").write_bytes(bomb)
    Image.fromarray(np.linspace(0, 1, 64).reshape(8, 8).astype(np.float32)).save(
        tmp_path / "float.tiff"
    )
    return {
        "cut.jpg": "damaged or truncated",
        "cut.png": "damaged or truncated",
        "empty.png": "0 bytes",
        "notes.txt": "not an image",
        "named.jpg": "not an image",
        "bomb.png": "",
        "float.tiff": "floating-point",
    }
