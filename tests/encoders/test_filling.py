"""Training that begins while images are decoded equals training that began after: bit for bit."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from isojepa.caches.behind import Unsettled, begun, filling_behind, wait_for_fills
from isojepa.caches.folder import caching, entries, locked
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images import filling
from isojepa.encoders.modalities.images import images as reading
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.folder import list_folder
from isojepa.runs.record import read_run
from isojepa.runs.tables import read_skipped
from isojepa.training.interrupted import Interrupted
from isojepa.training.recorder import Recorder

N = 48


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is filled behind, in blocks of four."""
    monkeypatch.setattr(filling, "FEW", 1)
    monkeypatch.setattr(filling, "BLOCK", 4)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded, as they are; each takes 5 ms."""
    names: list[str] = []
    square_of = reading.square_of

    def slow(listing: reading.Listing, *form_and_place: object) -> object:
        time.sleep(0.005)
        names.append(listing.names[form_and_place[-1]])
        return square_of(listing, *form_and_place)

    monkeypatch.setattr(reading, "square_of", slow)
    return names


@pytest.fixture
def flat(quick: PretrainConfig, tmp_path: Path) -> PretrainConfig:
    """The pictures in one folder, to which others can be added; augmentations as they come."""
    (tmp_path / "data").mkdir()
    for path in sorted(quick.data.rglob("*.jpg")):
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    return replace(quick, data=tmp_path / "data", cache=tmp_path / "cache", recipe="glyph")


def weights(config: PretrainConfig) -> dict[str, torch.Tensor]:
    pretrain.train_encoder(config)
    return load_file(config.out / "checkpoints" / "step-00000008" / "model.safetensors")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def assert_same_run(one: PretrainConfig, other: PretrainConfig) -> None:
    assert read_run(one.out).data == read_run(other.out).data
    assert read_skipped(one.out) == read_skipped(other.out)


def test_weights_are_those_of_a_full_cache_and_updates_come_before_it_is_full(
    flat: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoded: list[str]
) -> None:
    flat = replace(flat, batch_size=4, log_every=1)
    monkeypatch.setattr(reading.ImageSet, "statistics", fixed_statistics)
    seen_at, log, fills = [], Recorder.log, []

    def held(fill: filling.Filling) -> None:  # until the first update, whatever the machine does
        fill.hold()
        fills.append(fill)
        begun(fill)

    def noted(self: Recorder, line: dict, words: str) -> None:
        seen_at.append(len(set(decoded)))
        for fill in fills:
            fill.release()
        log(self, line, words)

    monkeypatch.setattr(filling, "begun", held)
    monkeypatch.setattr(Recorder, "log", noted)
    behind = weights(flat)
    assert seen_at[0] < N
    assert len(decoded) == len(set(decoded)) == N, "each is decoded once"
    decoded.clear()
    full = replace(flat, out=tmp_path / "full")
    assert_equal(behind, weights(full))
    assert decoded == []
    anew = replace(flat, out=tmp_path / "anew", no_cache=True)
    assert_equal(behind, weights(anew))
    assert_same_run(flat, full)


def fixed_statistics(
    self: reading.ImageSet, indices: list[int], sample: int = 3
) -> reading.Statistics:
    """Of three images, so that not all are wanted before the first update."""
    chosen = self.read(indices[:sample]).pixels.double() / 255
    return reading.Statistics([float(chosen.mean())], [float(chosen.std())])


def spoil(data: Path) -> None:
    """Pixels that cannot be read under a header that can."""
    path = data / "47.jpg"
    path.write_bytes(path.read_bytes()[:-60])
    whole = Image.open(path)
    assert whole.size
    with pytest.raises(OSError, match="truncated"):
        whole.load()


def deepen(data: Path) -> None:
    """Beyond what is sampled, an image that changes the scale of none but itself: it is deep."""
    ramp = np.linspace(0, 40000, 400).reshape(20, 20).astype(np.uint16)
    Image.fromarray(ramp).save(data / "zz.png")


def wreck(data: Path) -> None:
    """A header that cannot be read: known before training begins."""
    (data / "30.jpg").write_bytes((data / "30.jpg").read_bytes()[:9])


@pytest.mark.parametrize("change", [spoil, deepen, wreck])
def test_what_is_not_as_it_was_taken_for_ends_as_with_a_full_cache(
    flat: PretrainConfig, tmp_path: Path, change: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "sampled_depth", lambda _: None)
    change(flat.data)
    flat = replace(flat, max_skipped=1.0)
    anew = replace(flat, out=tmp_path / "anew", no_cache=True)
    assert_equal(weights(flat), weights(anew))
    assert_same_run(flat, anew)
    text = (flat.out / "log.txt").read_text()
    assert ("begins again" in text) == (change is not wreck)


def read_behind(data: Path) -> reading.ImageSet:
    listing = with_fingerprints(list_folder(data))
    return reading.read_images(listing, side=12, channels=1)


def test_another_builder_is_not_waited_for_by_who_wants_few(
    flat: PretrainConfig, decoded: list[str]
) -> None:
    with caching(flat.cache), filling_behind(allowed=True):
        whole = read_behind(flat.data)
        wait_for_fills()
        expected = whole.read(list(range(N)))
    with caching(flat.cache):
        place = next(e.paths[0] for e in entries(flat.cache) if e.kind == "images")
    for name in ("rows", "squares"):
        (place / name).write_bytes(b"")  # as another that has just begun leaves it
    decoded.clear()
    with caching(flat.cache), filling_behind(allowed=True):
        with locked(place) as held:
            assert held
            images = read_behind(flat.data)
            few = images.read([40, 3, 40])
            assert torch.equal(few.pixels, expected.pixels[[40, 3, 40]])
            assert torch.equal(few.aspects, expected.aspects[[40, 3, 40]])
            assert len(decoded) == 2
        wait_for_fills()  # the other has gone: what is left is filled here
        assert torch.equal(images.read(list(range(N))).pixels, expected.pixels)


def test_two_at_once_fill_one_store(flat: PretrainConfig, decoded: list[str]) -> None:
    found = {}

    def one(name: str) -> None:
        with caching(flat.cache), filling_behind(allowed=True):
            images = read_behind(flat.data)
            parts = [images.read([i]).pixels for i in range(N)]
            wait_for_fills()
            found[name] = torch.cat(parts)

    threads = [threading.Thread(target=one, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(found["a"], found["b"])
    assert len([e for e in entries(flat.cache) if e.kind == "images"]) == 1
    assert len(decoded) < 2 * N


def test_what_was_decoded_when_it_was_left_is_kept(
    flat: PretrainConfig, decoded: list[str]
) -> None:
    with caching(flat.cache):
        with filling_behind(allowed=True):
            images = read_behind(flat.data)
            images.read([7, 9])
        assert 2 <= len(decoded) <= N
        with pytest.raises(Unsettled):
            images.read([N - 1])  # nobody fills it any more
        rest = read_behind(flat.data)
        assert len(decoded) == N
    with caching(None, off=True):
        everything = list(range(N))
        assert torch.equal(
            rest.read(everything).pixels, read_behind(flat.data).read(everything).pixels
        )


def test_minutes_are_planned_with_what_is_left_to_decode(
    flat: PretrainConfig, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(flat, steps=None, minutes=0.02)
    spent = []
    monkeypatch.setattr(pretrain, "seconds_left", lambda: spent.append(1) or 1000.0)
    pretrain.train_encoder(config)
    assert spent == [1]
    assert read_run(config.out).config["steps"] == 20, "the fewest"
    assert len(decoded) == N


def test_a_resumed_run_goes_on_while_the_rest_is_decoded(
    flat: PretrainConfig, tmp_path: Path, decoded: list[str]
) -> None:
    straight = weights(replace(flat, no_cache=True, out=tmp_path / "straight"))
    with pytest.raises(Interrupted):
        pretrain.train_encoder(replace(flat, no_cache=True, max_minutes=1e-9))
    decoded.clear()
    assert_equal(weights(replace(flat, resume=True, max_minutes=60.0)), straight)
    assert len(decoded) == N
