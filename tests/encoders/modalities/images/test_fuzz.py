"""Damaged image files of every format that Pillow writes: nothing but `Unreadable` comes out."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from isojepa.pixels.decoding import read_square
from isojepa.pixels.unreadable import Unreadable
from tests.pixels.test_whole_pixels import run_lengths, values, verbatim

pytestmark = [  # pytest takes off those of the package
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8))
DEEP = Image.fromarray(np.random.default_rng(1).integers(0, 4095, (12, 16), np.uint16))
EXIF = Image.Exif()
EXIF.update({0x0112: 6, 0x011A: 72.0, 0x0128: 2, 0x0132: "2020:01:01 00:00:00", 0x010F: "Maker"})


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def whole_files() -> dict[str, bytes]:
    """A small file of each kind, by name."""
    more = {"save_all": True, "append_images": [RGB.rotate(90)]}
    made = {
        "jpeg": saved(RGB, "JPEG"),
        "jpeg-exif": saved(RGB, "JPEG", exif=EXIF),
        "jpeg-progressive": saved(RGB, "JPEG", progressive=True),
        "jpeg-cmyk": saved(RGB.convert("CMYK"), "JPEG"),
        "png-exif": saved(RGB, "PNG", exif=EXIF),
        "png-deep": saved(DEEP, "PNG", transparency=5),
        "png-transparent": saved(RGB, "PNG", transparency=(255, 0, 0)),
        "png-animated": saved(RGB, "PNG", **more),
        "gif-animated": saved(RGB, "GIF", **more),
        "tiff-deep": saved(DEEP, "TIFF"),
        "tiff-exif": saved(RGB, "TIFF", exif=EXIF),
        "tiff-pages": saved(RGB, "TIFF", **more),
        "tiff-32-bits": saved(DEEP.convert("I"), "TIFF"),
        "mpo": saved(RGB, "MPO", **more),
        "jpeg2000-deep": saved(DEEP, "JPEG2000"),
        "psd": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x0c\0\0\0\x10\0\x08\0\3" + bytes(14)
        + RGB.tobytes(),
        "eps": saved(RGB, "EPS"),
        "sgi-deep": verbatim(values(3, 12)),
        "sgi-packed": run_lengths(values(4, 16)),
        "sgi-grey": run_lengths(values(1, 12)),
        "ppm-deep": b"P6 12 12 65535\n" + values(3, 12).tobytes(),
    }  # fmt: skip
    for mode in ("1", "L", "P", "LA", "RGBA"):
        made[f"png-{mode}"] = saved(RGB.convert(mode), "PNG")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        made[f"tiff-{compression}"] = saved(RGB, "TIFF", compression=compression)
    for form in ("BMP", "DDS", "DIB", "ICNS", "ICO", "IM", "JPEG2000", "PCX", "PPM", "SGI", "TGA"):
        made[form.lower()] = saved(RGB, form)
    for form, mode in (("BLP", "P"), ("GIF", "P"), ("MSP", "1"), ("SPIDER", "F"), ("XBM", "1")):
        made[form.lower()] = saved(RGB.convert(mode), form)
    made |= {f.lower(): saved(RGB, f) for f in ("QOI",) if f in Image.SAVE}
    if features.check("webp"):
        made |= {"webp": saved(RGB, "WEBP", exif=EXIF), "webp-animated": saved(RGB, "WEBP", **more)}
    if features.check("avif"):
        made |= {"avif": saved(RGB, "AVIF"), "avif-animated": saved(RGB, "AVIF", **more)}
    return made


WHOLE = whole_files()
UNUSABLE = {"spider": "floating-point", "eps": "EPS"}


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to twenty bytes changed, half of them in the head; a fifth of the files also cut."""
    changed = np.frombuffer(content, np.uint8).copy()
    reach = min(len(changed), 128) if rng.random() < 0.5 else len(changed)
    n = rng.integers(1, 21)
    changed[rng.integers(0, reach, n)] = rng.integers(0, 256, n)
    kept = rng.integers(0, len(changed)) if rng.random() < 0.2 else len(changed)
    return changed[:kept].tobytes()


@pytest.fixture(autouse=True)
def _small_bombs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mutated size is refused for what it is before it costs seconds and gigabytes."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(WHOLE[name])
    if name in UNUSABLE:
        with pytest.raises(Unreadable, match=UNUSABLE[name]):
            read_square(path, 8, 3)
    else:
        assert np.ptp(read_square(path, 8, 3).pixels) > 20


def check_mutations(path: Path, name: str, count: int) -> int:
    """Read mutated files; returns how many were refused."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    refused = 0
    for i in range(count):
        path.write_bytes(mutated(WHOLE[name], rng))
        try:
            assert read_square(path, 8, 1 + 2 * (i % 2)).pixels.shape[1:] == (8, 8)
        except Unreadable:
            refused += 1
    return refused


def test_only_unreadable_leaves_mutated_files(tmp_path: Path) -> None:
    refused = [check_mutations(tmp_path / "x", name, 15) for name in WHOLE]
    assert 0 < sum(refused) < 15 * len(WHOLE)


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_only_unreadable_leaves_many_mutated_files(tmp_path: Path, name: str) -> None:
    check_mutations(tmp_path / "x", name, 1500)
