"""Damaged data sets end in `UserError` or in episodes, whatever the libraries below raise.

HDF5 is a C library over untrusted offsets. In thousands of mutations of these small files h5py
3.16 did not crash; should another version, a seed that kills the process names the case.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.world.episodes.trajectories import open_trajectories
from tests.world.episode_files import write_dots
from tests.world.episodes.test_videos import write_lerobot

h5py = pytest.importorskip("h5py")
KINDS = ["flat.h5", "packed.h5", "demos.h5", "some.npz", "videos", "videos3", "images", "one.mp4"]
PROCESSES = {"videos", "videos3", "one.mp4"}  # several of ffmpeg for each: slower


def made(folder: Path, kind: str) -> Path:
    path = folder / kind
    frames = np.random.default_rng(0).integers(0, 255, (10, 8, 8, 3), np.uint8)
    if kind == "flat.h5":
        write_dots(path, episodes=2, steps=5, size=8)
    elif kind == "some.npz":
        np.savez(path, observations=frames, actions=frames[:, 0, 0], terminals=np.arange(10) % 5)
    elif kind.endswith(".h5"):
        with h5py.File(path, "w") as file:
            for e in range(2):
                group = f"data/demo_{e}/" if kind == "demos.h5" else ""
                rows = slice(5 * e, 5 * e + 5) if group else slice(None)
                if group or not e:
                    options = {"compression": "gzip"} if not group else {}
                    file.create_dataset(f"{group}pixels", data=frames[rows], **options)
                    file[f"{group}action"] = frames[rows, 0, 0] / 255
            if kind == "packed.h5":
                file["ep_idx"], file["step_idx"] = np.repeat([0, 1], 5), np.tile(range(5), 2)
    else:
        pytest.importorskip("imageio_ffmpeg")
        version, what = ("v3.0" if kind == "videos3" else "v2.1"), "video"
        write_lerobot(folder / "lerobot", version, "image" if kind == "images" else what)
        if kind != "one.mp4":
            return (folder / "lerobot").rename(path)
        next((folder / "lerobot").rglob("*.mp4")).rename(path)
    return path


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut, a few bytes changed, or a stretch of noise."""
    out = bytearray(content)
    at = int(rng.integers(0, len(out)))
    how = rng.integers(0, 3)
    if how == 0:
        return bytes(out[:at])
    if how == 1:
        for place in rng.integers(0, len(out), rng.integers(1, 9)):
            out[place] = int(rng.integers(0, 256))
    else:
        noise = rng.integers(0, 256, rng.integers(1, 64), np.uint8).tobytes()
        out[at : at + len(noise)] = noise
    return bytes(out)


def damaged(folder: Path, kind: str, seeds: range) -> Iterator[Path]:
    whole = made(folder, kind)
    files = [whole] if whole.is_file() else sorted(p for p in whole.rglob("*") if p.is_file())
    for seed in seeds:
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        copy = folder / "copies" / kind
        shutil.rmtree(folder / "copies", ignore_errors=True)
        copy.parent.mkdir()
        file = files[rng.integers(len(files))]
        if whole.is_file():
            target = copy
        else:
            shutil.copytree(whole, copy)
            target = copy / file.relative_to(whole)
        target.write_bytes(mutated(file.read_bytes(), rng))
        yield copy


def survives(folder: Path, kind: str, seeds: range) -> None:
    refusals = []
    for path in damaged(folder, kind, seeds):
        try:
            found = open_trajectories(path, frame_size=4, cache=folder / "copies" / "cache")
            frames = found.rows(np.arange(found.lengths.sum()))
            assert frames.shape[1:] == (4, 4, 3)
        except UserError as error:
            refusals.append(str(error))
    assert refusals  # else nothing was tried
    assert not [words for words in refusals if "\n" in words or len(words) > 700]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_data_sets(tmp_path: Path, kind: str) -> None:
    survives(tmp_path, kind, range(3 if kind in PROCESSES else 12))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_data_sets(tmp_path: Path, kind: str) -> None:
    survives(tmp_path, kind, range(1000, 1000 + (60 if kind in PROCESSES else 600)))
