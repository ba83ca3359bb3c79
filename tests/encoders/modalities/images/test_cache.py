"""Decoded images that are kept: the same as decoded anew, whatever happened to the files of either.

Killing builders and the like: test_cache_faults.py.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.caches.folder import caching, entries
from isojepa.encoders.modalities.images import cache, files
from isojepa.encoders.modalities.images import images as reading
from isojepa.encoders.modalities.images.images import ImageSet, read_headers, read_images
from isojepa.encoders.sources import fingerprints
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.folder import Listing, list_folder

S = 12


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty folder of caches, in use."""
    with caching(tmp_path / "cache"):
        yield tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded, as they are."""
    names: list[str] = []
    square_of = files.square_of

    def noted(listing: Listing, *form_and_place: object) -> object:
        names.append(listing.names[form_and_place[-1]])
        return square_of(listing, *form_and_place)

    monkeypatch.setattr(reading, "square_of", noted)
    return names


def write(place: Path, n: int, first: int = 0) -> Path:
    place.mkdir(exist_ok=True)
    for i in range(first, first + n):
        rng = np.random.default_rng(i)
        Image.fromarray(rng.integers(0, 255, (9, 14, 3), np.uint8)).save(place / f"{i:03}.png")
    return place


def read(data: Path, **settings: int | None) -> ImageSet:
    listing = with_fingerprints(list_folder(data))
    return read_images(listing, **({"side": S, "channels": 3} | settings))


def assert_same(one: ImageSet, two: ImageSet) -> None:
    assert one.listing.names == two.listing.names
    assert one.skipped == two.skipped
    assert (one.bits, one.notes) == (two.bits, two.notes)
    everything = list(range(len(one)))
    for a, b in zip(one.read(everything), two.read(everything)):
        assert torch.equal(a, b)
    assert one.statistics(everything) == two.statistics(everything)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_kinds_of_files_come_out_of_the_cache_as_they_went_in(
    tmp_path: Path, zoo: Path, wrecks: dict[str, str], channels: int, decoded: list[str]
) -> None:
    for path in zoo.iterdir():
        path.rename(tmp_path / f"zoo_{path.name}")
    with caching(None, off=True):
        anew = read(tmp_path, channels=channels)
    assert anew.pixels is not None
    assert len(anew.skipped) == len(wrecks) - 1  # one is no image by its name
    assert len(anew) > 10
    first = read(tmp_path, channels=channels)
    decoded.clear()
    second = read(tmp_path, channels=channels)
    assert second.pixels is None is not second.cached
    assert_same(first, anew)
    assert_same(second, anew)
    assert decoded == []


@pytest.mark.parametrize("peaks", [[200, 1000, 4000, 600, 900], [40000, 3, 700, 9, 255]])
@pytest.mark.parametrize("bits", [None, 10])
def test_one_scale_for_the_folder_as_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peaks: list[int], bits: int | None,
    decoded: list[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(files, "SAMPLED", 2)  # sees the first and the last file only
    data = write(tmp_path / "data", 3, first=50)
    ramp = np.linspace(0, 1, S * S).reshape(S, S)
    for i, peak in enumerate(peaks):
        Image.fromarray((ramp * peak).astype(np.uint16)).save(data / f"{i:03}.png")
    with caching(None, off=True):
        anew = read(data, channels=1, bits=bits)
    for _ in range(2):
        decoded.clear()
        assert_same(read(data, channels=1, bits=bits), anew)
    assert decoded == []
    assert_same(read(data, channels=1, bits=8), read(data, channels=1, bits=8))
    assert_same(read(data, channels=1, bits=bits), anew)


def test_only_what_is_new_or_has_changed_is_decoded(
    tmp_path: Path, folder: Path, decoded: list[str]
) -> None:
    data = write(tmp_path / "data", 6)
    read(data)
    decoded.clear()
    write(data, 1, first=6)
    Image.new("RGB", (9, 9), "red").save(data / "002.png")
    images = read(data)
    assert sorted(decoded) == ["002.png", "006.png"]
    assert (images.read([2]).pixels[0, 0] > 250).all()
    data.rename(tmp_path / "moved")
    (tmp_path / "moved" / "000.png").rename(tmp_path / "moved" / "zzz.png")
    decoded.clear()
    assert len(read(tmp_path / "moved")) == 7
    assert decoded == []
    (one,) = [entry for entry in entries(folder) if entry.kind == "images"]
    assert json.loads((one.paths[0] / "about.json").read_text())["side"] == S


def test_copies_are_decoded_once(tmp_path: Path, decoded: list[str]) -> None:
    data = write(tmp_path / "data", 2)
    for copy in "abc":
        (data / f"{copy}.png").write_bytes((data / "000.png").read_bytes())
        (data / f"{copy}_broken.png").write_bytes((data / "000.png").read_bytes()[:90])
    images = read(data)
    assert len(decoded) == 3
    assert len(images) == 5
    assert [name for name, _ in images.skipped] == ["a_broken.png", "b_broken.png", "c_broken.png"]


def test_another_size_is_another_entry_and_another_folder_too(tmp_path: Path, folder: Path) -> None:
    data = write(tmp_path / "data", 4)
    for settings in ({}, {"side": 8}, {"channels": 1}, {}):
        read(data, **settings)
    assert len([e for e in entries(folder) if e.kind == "images"]) == 3
    read(write(tmp_path / "other", 4, first=100))
    assert len([e for e in entries(folder) if e.kind == "images"]) == 4


def test_other_decoders_decode_anew(
    tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "data", 4)
    (data / "x.png").write_bytes(b"\x89PNG nothing more here")
    read(data)
    decoded.clear()
    monkeypatch.setattr(cache, "decoders", lambda: "pillow 999")
    assert len(read(data).skipped) == 1
    assert len(decoded) == 5


def test_part_of_a_folder_is_read_from_the_entry_of_the_whole(
    tmp_path: Path, decoded: list[str]
) -> None:
    data = write(tmp_path / "data", 20)
    read(data)
    decoded.clear()
    listing = with_fingerprints(list_folder(data))
    images = read_images(listing.subset([3, 17]), side=S, channels=3)
    assert decoded == []
    assert torch.equal(images.read([1]).pixels, read(data).read([17]).pixels)


def test_files_are_read_for_their_fingerprints_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_files: list[str] = []
    fingerprint = fingerprints.fingerprint
    monkeypatch.setattr(
        fingerprints, "fingerprint", lambda path: read_files.append(path.name) or fingerprint(path)
    )
    data = write(tmp_path / "data", 5)
    before = with_fingerprints(list_folder(data)).prints
    with_fingerprints(list_folder(data))
    assert len(read_files) == 10  # written a moment ago: they might be written again unseen
    monkeypatch.setattr(fingerprints, "TICK", -(10**12))
    with_fingerprints(list_folder(data))
    read_files.clear()
    again = with_fingerprints(list_folder(data)).prints
    assert read_files == []
    assert (again == before).all()
    status = (data / "001.png").stat()
    content = bytearray((data / "001.png").read_bytes())
    content[-20] ^= 1
    (data / "001.png").write_bytes(content)  # of the same length and time of change
    os.utime(data / "001.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    after = with_fingerprints(list_folder(data)).prints
    assert read_files == ["001.png"]
    assert np.flatnonzero(after != before).tolist() == [1]


def test_headers_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "data", 5)
    (data / "broken.png").write_bytes(b"\x89PNG")
    first = read_headers(with_fingerprints(list_folder(data)))
    monkeypatch.setattr("isojepa.encoders.modalities.images.headers.read_header", None)
    assert read_headers(with_fingerprints(list_folder(data))) == first
    assert (first.short_side, first.channels) == (9, 3)


def test_of_large_files_the_time_of_change_counts(tmp_path: Path, decoded: list[str]) -> None:
    path = tmp_path / "data" / "a.tif"
    path.parent.mkdir()
    Image.fromarray(np.zeros((1500, 1000), np.uint8)).save(path)
    read(path.parent)
    decoded.clear()
    content = bytearray(path.read_bytes())
    place = len(content) // 15 + 100_000  # between two of the pieces that the fingerprint reads
    content[place : place + 500] = bytes([255]) * 500
    path.write_bytes(content)
    before = with_fingerprints(list_folder(path.parent)).prints
    os.utime(path, ns=(1, 10**18))
    assert (with_fingerprints(list_folder(path.parent)).prints == before).all()
    read(path.parent)
    assert decoded == ["a.tif"]
