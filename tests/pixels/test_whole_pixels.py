"""Files whose lower bytes Pillow leaves out, written by hand: read whole, or refused by name."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isojepa.pixels import deep
from isojepa.pixels.decoding import read_square
from isojepa.pixels.deep import to_byte
from isojepa.pixels.unreadable import Unreadable

SIDE = 12


def values(bands: int, bits: int) -> np.ndarray:
    """(bands, SIDE, SIDE), with runs of equal values; the largest is there."""
    x = np.random.default_rng(0).integers(0, 2**bits, (bands, SIDE, SIDE)).astype(">u2")
    x[:, 2, 1:9] = x[:, 2, :1]
    x[:, 0, 0] = 2**bits - 1
    return x


def verbatim(x: np.ndarray) -> bytes:
    return b"\x01\xda\0\2" + sgi_sizes(x) + x[:, ::-1].tobytes()


def run_lengths(x: np.ndarray) -> bytes:
    rows = [packed(row) for band in x[:, ::-1] for row in band]
    table = 512 + 8 * len(rows)
    starts = [table + sum(map(len, rows[:i])) for i in range(len(rows))]
    offsets = struct.pack(f">{2 * len(rows)}I", *starts, *map(len, rows))
    return b"\x01\xda\1\2" + sgi_sizes(x) + offsets + b"".join(rows)


def sgi_sizes(x: np.ndarray) -> bytes:
    bands, height, width = x.shape
    return struct.pack(">4H", 2 if bands == 1 else 3, width, height, bands).ljust(508, b"\0")


def packed(row: np.ndarray) -> bytes:
    """Shorts: a count and one value, or a count with bit 7 set and as many; 0 at the end."""
    words: list[int] = []
    at = 0
    while at < len(row):
        run = next((i for i in range(at, len(row)) if row[i] != row[at]), len(row)) - at
        words += [run, int(row[at])] if run > 1 else [0x80 | 1, int(row[at])]
        at += run
    return struct.pack(f">{len(words) + 1}H", *words, 0)


@pytest.mark.parametrize("form", [verbatim, run_lengths])
@pytest.mark.parametrize("bands", [1, 3, 4])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sgi_of_two_bytes_a_channel(
    tmp_path: Path, form: Callable[[np.ndarray], bytes], bands: int, bits: int
) -> None:
    x = values(bands, bits)
    if bands == 4:
        x[3] = 2**bits - 1  # opaque
    (tmp_path / "x.sgi").write_bytes(form(x))
    channels = min(bands, 3)
    found = read_square(tmp_path / "x.sgi", SIDE, channels)
    assert found.info.peak in (2**bits - 1, 2**bits - 1 | 255)
    np.testing.assert_allclose(
        found.pixels.astype(int), to_byte(x[:channels].astype(np.uint16), bits), atol=1
    )


def test_sgi_of_one_byte_is_as_pillow_reads_it(tmp_path: Path) -> None:
    x = values(3, 8).astype(np.uint8)
    image = Image.fromarray(x.transpose(1, 2, 0))
    image.save(tmp_path / "x.sgi")
    found = read_square(tmp_path / "x.sgi", SIDE, 3)
    assert found.info.peak is None
    np.testing.assert_array_equal(found.pixels, x)


@pytest.mark.parametrize("bits", [12, 16])
def test_ppm_whose_greatest_value_is_not_used(tmp_path: Path, bits: int) -> None:
    x = values(3, bits)
    head = f"P6 {SIDE} {SIDE} 65535\n".encode()
    (tmp_path / "x.ppm").write_bytes(head + x.transpose(1, 2, 0).tobytes())
    found = read_square(tmp_path / "x.ppm", SIDE, 3)
    np.testing.assert_allclose(found.pixels.astype(int), to_byte(x.astype(np.uint16), bits), atol=1)


def jpeg_2000(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (grey,) * 3).save(file, "JPEG2000", irreversible=False)
    return file.getvalue()


def said_to_be_of_sixteen_bits(file: bytes) -> bytes:
    """Its pixels lie then about the middle of the range: 32,768 and less."""
    whole = bytearray(file)
    sizes = whole.find(b"\xff\x4f\xff\x51") + 4
    for band in range(3):
        assert whole[sizes + 38 + 3 * band] == 7  # 8 bits without sign
        whole[sizes + 38 + 3 * band] = 15
    return bytes(whole)


def test_jpeg_2000_of_sixteen_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.jp2").write_bytes(jpeg_2000(200))
    (tmp_path / "half.jp2").write_bytes(said_to_be_of_sixteen_bits(jpeg_2000(100)))
    assert read_square(tmp_path / "x.jp2", SIDE, 3).info.peak is None
    with pytest.raises(Unreadable, match="upper byte only: save it as PNG or TIFF"):
        read_square(tmp_path / "half.jp2", SIDE, 3)
    monkeypatch.setattr(deep, "declared_bits", lambda _: 16)  # nothing here writes such files
    found = read_square(tmp_path / "x.jp2", SIDE, 3)
    assert found.info.peak == 200 << 8 | 255
    assert (found.pixels == 200).all()


def bc6h() -> bytes:
    pixel_format = struct.pack("<2I4s5I", 32, 4, b"DX10", 0, 0, 0, 0, 0)
    head = struct.pack("<4s7I44x", b"DDS ", 124, 0x1007, 4, 4, 0, 0, 0)
    return head + pixel_format + struct.pack("<5I", 0x1000, 0, 0, 0, 0) + struct.pack(
        "<5I", 95, 3, 0, 1, 0
    ) + bytes(16)  # fmt: skip


def fits() -> bytes:
    cards = ["SIMPLE  = T", "BITPIX  = 16", "NAXIS   = 2", "NAXIS1  = 4", "NAXIS2  = 4", "END"]
    cards = [f"{c.split('=')[0]}= {c.split('=')[1]:>20}" if "=" in c else c for c in cards]
    head = "".join(f"{card:<80}" for card in cards).ljust(2880).encode()
    return head + np.full((4, 4), -5, ">i2").tobytes().ljust(2880, b"\0")


@pytest.mark.parametrize(
    ("name", "form", "why"),
    [
        ("x.dds", bc6h, r"floating-point pixels \(BC6H\): convert"),
        ("x.fits", fits, r"negative pixels \(down to -5\)"),
    ],
)
def test_what_bytes_cannot_hold_is_refused(
    tmp_path: Path, name: str, form: Callable[[], bytes], why: str
) -> None:
    (tmp_path / name).write_bytes(form())
    with pytest.raises(Unreadable, match=why):
        read_square(tmp_path / name, 4, 3)
