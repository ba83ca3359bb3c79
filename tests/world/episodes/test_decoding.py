"""Frames are decoded once, whole, and read as the platform shows them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isojepa.errors import UserError
from isojepa.world.episodes import decoded
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories
from tests.world.episode_files import Dots, dots, write_dots

h5py = pytest.importorskip("h5py")


def opened(made: Dots, cache: Path, frame_size: int | None = None) -> Trajectories:
    return open_trajectories(made.path, frame_size=frame_size, cache=cache)


def test_frames_are_resized_as_the_platform_does(made: Dots, cache: Path) -> None:
    small = opened(made, cache, 8)
    expected = [
        np.asarray(Image.fromarray(frame).resize((8, 8), Image.Resampling.BILINEAR))
        for frame in made.frames[2]
    ]
    assert (small.frames(2, 0, len(expected)) == np.stack(expected)).all()


def test_frames_are_decoded_once_and_again_when_the_source_changes(
    made: Dots, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(made, cache, 8)
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "_build", None)
        opened(made, cache, 8)
    write_dots(made.path, episodes=3, steps=12, size=16, seed=1)
    assert len(opened(made, cache, 8)) == 3
    assert len(list(cache.glob("*.frames"))) == 1  # the outdated frames are gone
    assert not list(cache.glob(".part-*"))


def test_a_crash_while_decoding_leaves_nothing_behind(
    made: Dots, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(decoded, "resize", None)
        with pytest.raises(TypeError):
            opened(made, cache, 8)
    assert not list(cache.iterdir())
    assert opened(made, cache, 8).frames(0, 0, 1).shape == (1, 8, 8, 3)


def test_the_cache_is_in_the_users_folder(
    made: Dots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    open_trajectories(made.path, frame_size=8)
    assert list((tmp_path / "home" / "isojepa" / "frames").glob("dots-*.frames"))


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_full_disk_does_not_stop_what_can_do_without(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    compression: str | None,
    memory: int,
) -> None:
    made = dots(episodes=2, steps=9, size=16)
    path = tmp_path / "some.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=np.concatenate(made.frames), compression=compression)
        file["action"] = np.concatenate(made.actions)
        file["ep_len"] = [len(frames) for frames in made.frames]
    expected = open_trajectories(path, frame_size=8, cache=tmp_path / "roomy").rows(np.arange(19))
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(decoded.machine, "memory_bytes", lambda: memory)
    if compression and not memory:
        with pytest.raises(UserError, match="GB free"):
            open_trajectories(path, frame_size=8, cache=cache)
        return
    found = open_trajectories(path, frame_size=8, cache=cache)
    assert "GB free" in caplog.text
    assert (found.rows(np.arange(19)) == expected).all()
    assert not list(cache.glob("*"))
