"""Every kind of image file ends as the right square, or is skipped with the reason."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.encoders.modalities.images.images import read_headers, read_images, read_square
from isojepa.encoders.sources.folder import list_folder
from isojepa.errors import UserError

COLOURED = ["rgb.png", "photo.jpg", "cmyk.jpg", "palette.png", "turned.jpg", "animated.gif"]


@pytest.mark.parametrize("name", COLOURED)
def test_colours_and_orientation_survive(zoo: Path, name: str) -> None:
    square = read_square(zoo / name, 16, 3)
    assert square.pixels.shape == (3, 16, 16)
    assert square.aspect == pytest.approx(24 / 16)
    red, green, _ = square.pixels.astype(float)
    assert red[:, 0].mean() > 215 > 40 > red[:, -1].mean()
    assert green[-1].mean() > 215 > 40 > green[0].mean()


@pytest.mark.parametrize("name", ["grey.png", "deep.png", "deep.tiff"])
def test_grey_of_8_and_16_bits_agree(zoo: Path, name: str) -> None:
    expected = read_square(zoo / "grey.png", 16, 1).pixels.astype(int)
    assert np.abs(read_square(zoo / name, 16, 1).pixels.astype(int) - expected).max() <= 1
    as_colour = read_square(zoo / name, 16, 3).pixels
    assert (as_colour[0] == as_colour[2]).all()


def test_transparency_is_laid_over_white(zoo: Path) -> None:
    assert (read_square(zoo / "transparent.png", 16, 3).pixels == 255).all()
    assert read_square(zoo / "palette_transparent.png", 16, 3).pixels.max() == 255


def test_extreme_shapes(zoo: Path) -> None:
    assert (read_square(zoo / "one_pixel.png", 8, 3).pixels[0] > 250).all()
    assert read_square(zoo / "wide.png", 8, 1).aspect == 1000
    huge = read_square(zoo / "huge.jpg", 32, 3)
    assert np.abs(huge.pixels.mean((1, 2)) - [10, 200, 30]).max() < 4


def test_the_whole_zoo_is_read(zoo: Path) -> None:
    images = read_images(list_folder(zoo), side=16, channels=3)
    assert images.skipped == []
    assert len(images) == 15
    assert images.read([0, 3]).pixels.shape == (2, 3, 16, 16)


def test_wrecks_are_skipped_with_the_reason(tmp_path: Path, wrecks: dict[str, str]) -> None:
    images = read_images(list_folder(tmp_path), side=16, channels=3)
    assert sorted(images.listing.names) == ["whole.jpg", "whole.png"]
    reasons = dict(images.skipped)
    del wrecks["notes.txt"]  # no image by its name: left out with other side-cars
    assert reasons.keys() == wrecks.keys()
    for name, words in wrecks.items():
        assert words in reasons[name], reasons[name]


def test_nothing_usable(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no")
    with pytest.raises(UserError, match="none of the 1 files is a usable image"):
        read_images(list_folder(tmp_path), side=8, channels=3)
    with pytest.raises(UserError, match="none of the files is an image"):
        read_headers(list_folder(tmp_path))


def test_decoding_when_asked_equals_keeping_in_memory(zoo: Path) -> None:
    listing = list_folder(zoo)
    kept = read_images(listing, side=16, channels=3)
    decoded = read_images(listing, side=16, channels=3, memory_bytes=0)
    assert decoded.pixels is None
    order = [5, 0, 2]
    assert torch.equal(kept.read(order).pixels, decoded.read(torch.tensor(order)).pixels)


def test_headers(zoo: Path) -> None:
    headers = read_headers(list_folder(zoo))
    assert headers.channels == 3
    for path in zoo.iterdir():
        if path.name not in {"grey.png", "deep.png", "deep.tiff", "bilevel.png", "wide.png"}:
            path.unlink()
    headers = read_headers(list_folder(zoo))
    assert (headers.channels, headers.short_side) == (1, 16)


def test_channel_statistics(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4, 3), [0, 51, 255], np.uint8)).save(tmp_path / "a.png")
    images = read_images(list_folder(tmp_path), side=4, channels=3)
    mean, std = images.statistics([0])
    assert mean == pytest.approx([0, 0.2, 1])
    assert std == pytest.approx([1 / 255] * 3)
