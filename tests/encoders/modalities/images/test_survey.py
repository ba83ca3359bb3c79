"""What surprises in a folder of images is said, once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from isojepa import machine
from isojepa.encoders.modalities.images import images as reading
from isojepa.encoders.modalities.images.images import read_headers, read_images
from isojepa.encoders.sources.folder import list_folder
from isojepa.encoders.sources.notes import warn_once
from isojepa.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pytest takes ours off


def save(path: Path, name: str, mode: str = "RGB", seed: int = 0) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path / name)


def one_coloured(path: Path) -> None:
    for i in range(5):
        save(path, f"{i}.png", "RGB" if i == 3 else "L", i)


def grey_as_colours(path: Path) -> None:
    for i in range(3):
        Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(path / f"{i}.png")


def all_equal(path: Path) -> None:
    for i in range(3):
        save(path, f"{i}.png")


def pages(path: Path) -> None:
    for i in range(3):
        save(path, f"{i}.png", seed=i)
    more = [Image.new("RGB", (8, 8), "blue")]
    for name in ("a.tif", "a.gif", "a.webp"):
        Image.new("RGB", (8, 8), "red").save(path / name, save_all=True, append_images=more)


def bands(path: Path) -> None:
    save(path, "0.png")
    for n in (4, 5):
        tifffile.imwrite(
            path / f"{n}.tif", np.random.default_rng(n).integers(0, 255, (8, 8, n), np.uint8),
            photometric="rgb", planarconfig="contig", extrasamples=["unspecified"] * (n - 3),
        )  # fmt: skip
    two = np.random.default_rng(2).integers(0, 255, (8, 8, 2), np.uint8)
    tifffile.imwrite(path / "2.tif", two, photometric="minisblack", planarconfig="contig")


FOLDERS: list[tuple[Callable[[Path], None], int, list[str]]] = [
    (one_coloured, 3, ["1 of 5 images (3.png) is in colour and 4 grey: all are read in colour"]),
    (one_coloured, 1, ["1 of 5 images (3.png) is in colour and 4 grey: all are read as grey"]),
    (grey_as_colours, 3, ["all 3 images hold grey only", "of one single colour"]),
    (all_equal, 3, ["all 3 images are equal"]),
    (pages, 3, ["3 of 6 images (for example a.gif) hold several pages or frames: the first"]),
    (bands, 3, ["(2.tif) holds 2 bands: the first one is", "(4.tif) holds 4 bands: the first ones",
                "(5.tif) holds 5 bands"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "channels", "words"), FOLDERS)
def test_what_surprises_in_a_folder_is_said(
    tmp_path: Path, make: Callable[[Path], None], channels: int, words: list[str]
) -> None:
    make(tmp_path)
    notes = read_images(list_folder(tmp_path), side=8, channels=channels).notes
    for expected in words:
        assert [expected in note for note in notes].count(True) == 1, notes


def test_a_note_is_said_once_for_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for root in (tmp_path, Path(), tmp_path / "other"):
        warn_once(root, "a note")
    assert caplog.text.count("a note") == 2


def test_an_ordinary_folder_needs_no_words(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path, f"{i}.png", seed=i)
    assert read_images(list_folder(tmp_path), side=8, channels=3).notes == []


def test_one_coloured_image_settles_the_channels(tmp_path: Path) -> None:
    for i in range(600):  # more than a sample of headers once had
        save(tmp_path, f"{i:03}.png", "RGB" if i == 301 else "L")
    assert read_headers(list_folder(tmp_path)).channels == 3


def test_without_memory_for_all_they_are_decoded_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    all_equal(tmp_path)
    listing = list_folder(tmp_path)
    kept = read_images(listing, side=8, channels=3)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 4 * (3 * 3 * 8 * 8) - 1)
    assert read_images(listing, side=8, channels=3).pixels is None
    monkeypatch.undo()

    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(reading.np, "empty", refuse)
    refused = read_images(listing, side=8, channels=3)
    assert refused.pixels is None
    assert (refused.read([2, 0]).pixels == kept.read([2, 0]).pixels).all()
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"2\.png: was readable at the start and is not now: empty"):
        refused.read([0, 2])
