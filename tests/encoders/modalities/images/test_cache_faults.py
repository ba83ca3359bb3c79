"""Builders killed, several at once, damaged files and full disks: what is read is right."""

import errno
import logging
import multiprocessing
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.caches import folder as caches
from isojepa.caches.folder import caching, entries
from isojepa.caches.positioned import Positioned
from isojepa.encoders.modalities.images import cache
from isojepa.encoders.modalities.images import images as reading
from isojepa.encoders.modalities.images.from_cache import marks_of
from isojepa.encoders.modalities.images.images import ImageSet, read_images
from isojepa.encoders.modalities.images.store import PIXELS, REASONS, ROWS, Store
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.folder import Listing, list_folder

S, N = 16, 40
SEVERAL = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures, four of them damaged."""
    place = tmp_path_factory.mktemp("data")
    for i in range(N):
        pixels = np.random.default_rng(i).integers(0, 255, (20, 30, 3), np.uint8)
        path = place / f"{i:02}.png"
        Image.fromarray(pixels).save(path)
        if i % 10 == 3:
            path.write_bytes(path.read_bytes()[:200])
    return place


@pytest.fixture(scope="module")
def expected(data: Path) -> ImageSet:
    """The images without a cache."""
    with caching(None, off=True):
        return read_images(list_folder(data), side=S, channels=3)


@pytest.fixture(scope="module")
def filled(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of all of them."""
    place = tmp_path_factory.mktemp("filled")
    read(data, place)
    return place


def read(data: Path, place: Path) -> ImageSet:
    with caching(place):
        return read_images(with_fingerprints(list_folder(data)), side=S, channels=3)


def assert_right(images: ImageSet, expected: ImageSet) -> None:
    assert images.listing.names == expected.listing.names
    assert images.skipped == expected.skipped
    assert images.notes == expected.notes
    everything = list(range(len(expected)))
    for one, other in zip(images.read(everything), expected.read(everything)):
        assert torch.equal(one, other)


def only(place: Path) -> Path:
    (entry,) = [entry for entry in entries(place) if entry.kind == "images"]
    return entry.paths[0]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Decoding takes its time, blocks are small, and a file gets a byte for each that is done."""
    square_of = reading.square_of

    def slowly(listing: Listing, *form_and_place: object) -> object:
        time.sleep(0.004)
        with (tmp_path / "decoded").open("ab") as file:
            file.write(b".")
        return square_of(listing, *form_and_place)

    monkeypatch.setattr(reading, "square_of", slowly)
    monkeypatch.setattr(cache, "BLOCK", 4)
    monkeypatch.setattr(cache, "POLL", 0.01)
    return tmp_path / "decoded"


def forked(action: Callable[[], object]) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=action)
    process.start()
    return process


@SEVERAL
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_killed_at_any_moment_it_is_gone_on_with(
    data: Path, expected: ImageSet, slow: Path, tmp_path: Path
) -> None:
    listing = with_fingerprints(list_folder(data))
    marks, rng = marks_of(listing), np.random.default_rng(0)
    names, known, kills = expected.listing.names, 0, 0
    for _ in range(30):
        builder = forked(lambda: read(data, tmp_path / "cache"))
        time.sleep(rng.uniform(0, 0.1))
        os.kill(builder.pid, signal.SIGKILL)
        builder.join()
        if builder.exitcode != -signal.SIGKILL:  # it was done before
            shutil.rmtree(tmp_path / "cache")
            known = 0
            continue
        kills += 1
        if not [entry for entry in entries(tmp_path / "cache") if entry.kind == "images"]:
            continue
        try:
            store = Store(only(tmp_path / "cache"), S, 3)
        except FileNotFoundError:
            continue
        found = store.find(marks, None)
        assert (~found.missing).sum() >= known
        known = int((~found.missing).sum())
        into = np.empty((3, S, S), np.uint8)
        for i in np.flatnonzero(found.rows >= 0).tolist():
            assert store.read(int(found.rows[i]), into)
            kept = expected.read([names.index(listing.names[i])]).pixels[0]
            assert torch.equal(torch.from_numpy(into), kept)
    assert kills >= 20
    assert_right(read(data, tmp_path / "cache"), expected)
    done = slow.stat().st_size
    assert_right(read(data, tmp_path / "cache"), expected)
    assert slow.stat().st_size == done


@SEVERAL
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("killed", [False, True])
def test_several_builders_share_one_build(
    data: Path, expected: ImageSet, slow: Path, tmp_path: Path, killed: bool
) -> None:
    def build() -> None:
        assert_right(read(data, tmp_path / "cache"), expected)

    builders = [forked(build) for _ in range(4)]
    if killed:
        while not slow.exists():
            time.sleep(0.005)
        os.kill(builders[0].pid, signal.SIGKILL)
    for builder in builders:
        builder.join(60)
    codes = [builder.exitcode for builder in builders]
    assert codes[killed:] == [0] * (4 - killed)
    slack = 40 if killed else 0  # what the killed one had decoded and not yet written
    assert N <= slow.stat().st_size <= N + slack
    assert len([e for e in entries(tmp_path / "cache") if e.kind == "images"]) == 1


@pytest.mark.parametrize("name", [PIXELS, ROWS, REASONS])
@pytest.mark.parametrize("how", ["flipped", "cut", "longer", "zeroed", "gone"])
def test_damaged_files_give_the_right_images_or_are_made_anew(
    data: Path, expected: ImageSet, filled: Path, tmp_path: Path, name: str, how: str
) -> None:
    rng = np.random.default_rng([len(name), len(how)])
    for attempt in range(1 if how == "gone" else 7):
        place = tmp_path / f"{attempt}"
        shutil.copytree(filled, place)
        file = only(place) / name
        content = bytearray(file.read_bytes())
        at = int(rng.integers(len(content)))
        if how == "flipped":
            content[at] ^= 1 << int(rng.integers(8))
        elif how == "zeroed":
            content[at : at + 100] = bytes(len(content[at : at + 100]))
        content = content[:at] if how == "cut" else content
        file.write_bytes(content + b"x" * 37 * (how == "longer"))
        if how == "gone":
            file.unlink()
        assert_right(read(data, place), expected)
        assert_right(read(data, place), expected)


def test_a_file_that_is_cut_off_while_it_is_read(
    data: Path, expected: ImageSet, filled: Path, tmp_path: Path
) -> None:
    place = tmp_path / "cache"
    shutil.copytree(filled, place)
    images = read(data, place)
    with (only(place) / PIXELS).open("r+b") as file:
        file.truncate(5 * 3 * S * S)
    assert_right(images, expected)
    shutil.rmtree(place)
    assert_right(images, expected)


def fail_after(monkeypatch: pytest.MonkeyPatch, writes: int, number: int = errno.ENOSPC) -> None:
    write, count = Positioned.write, iter(range(10**9))

    def refuse(self: Positioned, content: bytes, at: int) -> None:
        if next(count) >= writes:
            raise OSError(number, os.strerror(number))
        write(self, content, at)

    monkeypatch.setattr(Positioned, "write", refuse)


@pytest.mark.parametrize("writes", [0, 1, 10, 45, 71])
def test_a_disk_that_fills_up_leaves_the_images_in_memory(
    data: Path, expected: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, writes: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(cache, "BLOCK", 8)
    fail_after(monkeypatch, writes)
    images = read(data, tmp_path / "cache")
    assert images.pixels is not None
    assert_right(images, expected)
    assert entries(tmp_path / "cache") == [] or entries(tmp_path / "cache")[0].kind != "images"
    (line,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert "No space left on device" in line
    assert line.endswith("decoding in memory, for this run alone")
    monkeypatch.undo()
    assert read(data, tmp_path / "cache").cached is not None


@pytest.mark.parametrize(
    ("free", "limit", "words"),
    [
        (2**30 + 100, "100", "0.0 GB to spare; free some, or name another disk with --cache"),
        (2**50, "0.00001", r"the cache may take 1e-05 GB \(ISOJEPA_CACHE_GB\)"),
    ],
)
def test_no_room_is_said_in_a_line(
    data: Path, expected: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, free: int, limit: str, words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("ISOJEPA_CACHE_GB", limit)
    monkeypatch.setattr(caches.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    images = read(data, tmp_path / "cache")
    assert images.pixels is not None
    assert_right(images, expected)
    (line,) = [r.message for r in caplog.records if r.levelname == "WARNING"]
    assert re.search(words, line), line


def test_a_place_that_cannot_be_written(
    data: Path, expected: ImageSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert_right(read(data, tmp_path / "file"), expected)
    assert "for this run alone" in caplog.text


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What is logged reaches pytest."""
    logger = logging.getLogger("isojepa")
    before = logger.propagate
    logger.propagate = True
    yield
    logger.propagate = before
