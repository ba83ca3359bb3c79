"""The cache of decoded frames is only a cache: right when the source changes, never fatal."""

import os
from pathlib import Path

import numpy as np
import pytest

from isojepa.world.episodes import decoded
from isojepa.world.episodes.trajectories import open_trajectories

h5py = pytest.importorskip("h5py")


def write(path: Path, value: int) -> Path:
    with h5py.File(path, "w") as file:
        frames = np.full((6, 8, 8, 3), value, np.uint8)
        file.create_dataset("pixels", data=frames, compression="gzip")
        file["ep_len"] = [3, 3]
    return path


def value(path: Path, cache: Path) -> int:
    return int(open_trajectories(path, cache=cache).rows(np.array([5])).mean())


def test_other_content_of_the_same_size_and_time_is_decoded_anew(tmp_path: Path) -> None:
    path, cache = write(tmp_path / "a.h5", 10), tmp_path / "cache"
    before = path.stat()
    assert value(path, cache) == 10
    write(path, 20)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert value(path, cache) == 20


@pytest.mark.parametrize("damage", ["frames", "json", "lengths", "both gone"])
def test_a_damaged_cache_is_built_again(tmp_path: Path, damage: str) -> None:
    path, cache = write(tmp_path / "a.h5", 10), tmp_path / "cache"
    assert value(path, cache) == 10
    (frames,), (record,) = cache.glob("*.frames"), cache.glob("*.json")
    if damage == "frames":
        frames.write_bytes(frames.read_bytes()[:-7])
    elif damage == "json":
        record.write_bytes(b"\xff{")
    elif damage == "lengths":
        record.write_text('{"lengths": [4, 2]}')
    else:
        frames.unlink()
    assert value(path, cache) == 10
    assert frames.stat().st_size == 6 * 8 * 8 * 3


def test_a_place_that_is_no_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert value(write(tmp_path / "a.h5", 10), tmp_path / "file" / "cache") == 10
    assert "cannot be written" in caplog.text
    assert "into memory" in caplog.text


def test_large_files_are_sampled_throughout(tmp_path: Path) -> None:
    size = decoded.WHOLE_BYTES + 12_345
    path = tmp_path / "large"
    path.write_bytes(bytes(size))
    with path.open("rb") as file:
        before = decoded._sample(file, size)
    for place in (0, size // 2 + 1, size - 1):
        piece = decoded.WHOLE_BYTES // decoded.SAMPLES
        with path.open("r+b") as file:
            file.seek(max(0, min(place, size - piece)))
            file.write(b"x" * piece)
        with path.open("rb") as file:
            after = decoded._sample(file, size)
        assert after != before
        before = after
