"""Integers of more than 8 bits: one scale for a folder, by the depth that is really used."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from isojepa.encoders.modalities.images import files
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec
from isojepa.encoders.modalities.images.images import (
    ImageSet,
    Unreadable,
    read_images,
    read_square,
    to_square,
)
from isojepa.encoders.sources.folder import list_folder

S = 12  # side of the pictures here, in pixels: none is resized
RAMP = np.linspace(0, 1, S * S).reshape(S, S)
RGB = np.stack([RAMP, RAMP[::-1], RAMP.T], -1)
COLOUR_TYPES = {1: 0, 3: 2, 2: 4, 4: 6}  # of PNG, by the number of bands


def png16(path: Path, values: np.ndarray, transparent: tuple[int, ...] = ()) -> None:
    """A PNG of 16 bits by hand: Pillow writes those of grey only."""
    values = values.reshape(*values.shape[:2], -1)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", S, S, 16, COLOUR_TYPES[values.shape[2]], 0, 0, 0),
        b"tRNS": struct.pack(f">{len(transparent)}H", *transparent),
        b"IDAT": zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)),
        b"IEND": b"",
    }
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks.items()
            if data or name != b"tRNS"
        )
    )


def write(path: Path, kind: str, values: np.ndarray) -> None:
    alpha = np.full((S, S, 1), 65535, np.uint16)
    grey, colour = values[..., 0], values
    match kind:
        case "png grey":
            Image.fromarray(grey).save(path, "PNG")
        case "png RGB":
            png16(path, colour)
        case "png grey and alpha":
            png16(path, np.concatenate([grey[..., None], alpha], -1))
        case "png RGBA":
            png16(path, np.concatenate([colour, alpha], -1))
        case "tiff 32 bits":
            tifffile.imwrite(path, grey.astype(np.int32), photometric="minisblack")
        case "tiff grey, big endian":
            tifffile.imwrite(path, grey, photometric="minisblack", byteorder=">")
        case "tiff RGB, big endian":
            tifffile.imwrite(path, colour, photometric="rgb", byteorder=">")
        case "tiff RGB, compressed":
            tifffile.imwrite(path, colour, photometric="rgb", compression="zlib")
        case "tiff RGB, planes":
            planes = np.ascontiguousarray(colour.transpose(2, 0, 1))
            tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
        case "tiff RGBA":
            rgba = np.concatenate([colour, alpha], -1)
            tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"])


KINDS = [
    "png grey", "png RGB", "png grey and alpha", "png RGBA", "tiff 32 bits",
    "tiff grey, big endian", "tiff RGB, big endian", "tiff RGB, compressed", "tiff RGB, planes",
    "tiff RGBA",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_range_that_is_used_becomes_black_to_white(
    tmp_path: Path, kind: str, bits: int
) -> None:
    values = np.round(RGB * (2**bits - 1)).astype(np.uint16)
    write(tmp_path / "x", kind, values)
    square = read_square(tmp_path / "x", S, 3)
    bands = values if "RGB" in kind else values[..., :1].repeat(3, -1)
    expected = bands.transpose(2, 0, 1).astype(float) * 255 / (2**bits - 1)
    assert np.abs(square.pixels - expected).max() <= 1
    assert square.info.grey == ("RGB" not in kind)


@pytest.mark.parametrize("bits", [20, 31, 32])
def test_integers_of_more_than_16_bits(tmp_path: Path, bits: int) -> None:
    values = (RAMP * (2**bits - 1)).astype(np.uint32)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    assert np.abs(read_square(tmp_path / "a.tif", S, 1).pixels[0] - RAMP * 255).max() <= 1


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_white_is_zero(tmp_path: Path, bits: int) -> None:
    values = (RAMP * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="miniswhite")
    pixels = read_square(tmp_path / "x.tif", S, 1).pixels[0]
    assert np.abs(pixels - 255 * (1 - RAMP)).max() < 2


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("value", [700, 40_000])
def test_the_transparent_value_is_white(tmp_path: Path, bands: int, value: int) -> None:
    values = np.full((S, S, bands), value)
    values[:, 6:] = 100
    png16(tmp_path / "x.png", values, (value,) * bands)
    pixels = read_square(tmp_path / "x.png", S, 3).pixels
    assert (pixels[:, :, :6] == 255).all()
    assert (pixels[:, :, 6:] <= 100).all()


@pytest.mark.parametrize(("bits", "value", "byte"), [(2, 3, 255), (2, 1, 85), (4, 2, 34)])
def test_packed_greys_have_a_transparent_value_too(
    tmp_path: Path, bits: int, value: int, byte: int
) -> None:
    row = b"\0" + bytes([sum(value << shift for shift in range(0, 8, bits))])
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 8 // bits, 1, bits, 0, 0, 0, 0))]
    for transparent, expected in (((value,), 255), ((0,), byte)):
        tail = [(b"tRNS", struct.pack(">H", *transparent)), (b"IDAT", zlib.compress(row))]
        (tmp_path / "x.png").write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(
                struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d))
                for n, d in [*chunks, *tail, (b"IEND", b"")]
            )
        )
        assert (read_square(tmp_path / "x.png", 2, 1).pixels == expected).all()


@pytest.mark.parametrize(
    ("dtype", "low", "words"),
    [("i1", -5, "down to -5"), ("i2", -5, "down to -5"), ("i4", -70000, "down to -70000"),
     ("f4", 0, "floating-point"), ("f8", 0, "floating-point"), ("f2", 0, "floating-point")],
)  # fmt: skip
def test_what_cannot_be_scaled_is_refused_by_its_true_name(
    tmp_path: Path, dtype: str, low: int, words: str
) -> None:
    values = np.full((S, S), 7, dtype)
    values[0, 0] = low
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="minisblack")
    with pytest.raises(Unreadable, match=words):
        read_square(tmp_path / "x.tif", S, 1)


def test_positive_values_with_a_sign_are_read(tmp_path: Path) -> None:
    for dtype in ("i1", "i2"):
        tifffile.imwrite(tmp_path / "x.tif", np.full((S, S), 100, dtype), photometric="minisblack")
        assert (read_square(tmp_path / "x.tif", S, 1).pixels == 100).all()


def folder_of(path: Path, peaks: list[int], **options: int | None) -> ImageSet:
    for i, peak in enumerate(peaks):
        Image.fromarray((RAMP * peak).astype(np.uint16)).save(path / f"{i:03}.png")
    return read_images(list_folder(path), side=S, channels=1, **options)


@pytest.mark.parametrize("memory_bytes", [None, 0])
def test_one_scale_for_the_whole_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory_bytes: int | None
) -> None:
    monkeypatch.setattr(files, "SAMPLED", 2)  # sees the first and the last file only
    peaks = [200, 1000, 4000, 600, 0, 900]
    images = folder_of(tmp_path, peaks, memory_bytes=memory_bytes)
    assert images.bits == 12
    brightest = images.read(range(6)).pixels.amax((1, 2, 3)).tolist()
    assert brightest == [peak * 255 // 4095 for peak in peaks]
    assert any("at most 4000 (in 002.png): 0 to 4095 become" in note for note in images.notes)
    assert any(note.startswith("2 of 6 images") and "nearly black" in note for note in images.notes)


def test_the_scale_of_training_stays(tmp_path: Path) -> None:
    images = folder_of(tmp_path, [500, 3000, 1023], bits=10)
    assert images.bits == 10
    assert images.read(range(3)).pixels.amax((1, 2, 3)).tolist() == [500 * 255 // 1023, 255, 255]
    assert any("1 of 3 images (001.png) holds values beyond 1023" in note for note in images.notes)


def test_files_of_8_bits_are_left_alone_beside_deeper_ones(tmp_path: Path) -> None:
    Image.fromarray((RAMP * 255).astype(np.uint8)).save(tmp_path / "z.png")
    images = folder_of(tmp_path, [1023])
    assert images.read([0, 1]).pixels.amax((1, 2, 3)).tolist() == [255, 255]
    (tmp_path / "000.png").unlink()
    assert read_images(list_folder(tmp_path), side=S, channels=1).bits is None


def test_an_encoder_reads_as_it_was_trained(tmp_path: Path) -> None:
    Image.fromarray((RAMP * 900).astype(np.uint16)).save(tmp_path / "x.png")
    settings = {"image_size": S, "channels": 1, "mean": [0.0], "std": [1.0], "side": S}
    for bits in (None, 12, 16):
        spec = EncoderSpec(model="custom", bits=bits, **settings)
        encoder = Encoder(spec, torch.nn.Flatten())
        with Image.open(tmp_path / "x.png") as image:
            brightest = encoder.preprocess(image).max().item() * 255
        assert round(brightest) == 900 * 255 // (2 ** (bits or 10) - 1)
    assert EncoderSpec(model="custom", **settings).bits == 16  # what older files mean


def test_colours_opened_from_memory_are_read_in_full(tmp_path: Path) -> None:
    png16(tmp_path / "x.png", np.round(RGB * 1023).astype(np.uint16))
    with (tmp_path / "x.png").open("rb") as file, Image.open(file) as image:
        assert len(np.unique(to_square(image, S, 3).pixels)) > 100
