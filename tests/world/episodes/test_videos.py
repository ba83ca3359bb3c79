"""Videos without actions, and data sets in both layouts of LeRobot."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isojepa.errors import UserError
from isojepa.world.episodes.clips import clip_index
from isojepa.world.episodes.trajectories import open_trajectories
from tests.world.episode_files import Dots, dots

ffmpeg = pytest.importorskip("imageio_ffmpeg")
CAMERA = "observation.images.top"
WRIST = "observation.images.wrist"
FPS = 10


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def write_video(path: Path, frames: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    size = (frames.shape[2], frames.shape[1])
    out = ffmpeg.write_frames(str(path), size, fps=FPS, quality=9, macro_block_size=2)
    out.send(None)
    for frame in frames:
        out.send(np.ascontiguousarray(frame))
    out.close()


def close_to(found: np.ndarray, frames: np.ndarray) -> None:
    """Equal but for the compression, and closer to each frame than to its neighbours."""
    assert found.shape == frames.shape
    difference = np.abs(found.astype(float) - frames)
    assert difference.mean() < 3
    assert difference.mean() < np.abs(found[1:].astype(float) - frames[:-1]).mean()


def test_a_folder_of_videos(tmp_path: Path, cache: Path) -> None:
    made = dots(episodes=2, steps=9, size=32)
    for e, frames in enumerate(made.frames):
        write_video(tmp_path / "clips" / f"{e}.mp4", frames)
    trajectories = open_trajectories(tmp_path / "clips", cache=cache)
    assert trajectories.lengths.tolist() == [9, 10]
    assert trajectories.action_dim == 0
    close_to(trajectories.frames(1, 0, 10), made.frames[1])
    index = clip_index(trajectories, np.arange(2), frames=3, frame_skip=2)
    clips = trajectories.clips(index[:4], frames=3, frame_skip=2, scale=None)
    assert clips.frames.shape == (4, 3, 3, 32, 32)
    assert clips.actions.shape == (4, 3, 0)
    one = open_trajectories(tmp_path / "clips" / "1.mp4", cache=cache, frame_size=16)
    assert one.frames(0, 0, 10).shape == (10, 16, 16, 3)
    with pytest.raises(UserError, match="no cameras to choose from"):
        open_trajectories(tmp_path / "clips", cache=cache, camera="top")


def test_a_truncated_video_is_named(tmp_path: Path, cache: Path) -> None:
    write_video(tmp_path / "a.mp4", dots(episodes=1, steps=9).frames[0])
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"b\.mp4: not a readable video"):
        open_trajectories(tmp_path, cache=cache)
    assert not list(cache.glob("*.frames"))


def write_lerobot(root: Path, version: str, kind: str = "video") -> Dots:
    """Three episodes; in version 3 they share one table and one video file."""
    made = dots(episodes=3, steps=9, size=32)
    lengths = [len(frames) for frames in made.frames]
    actions = [np.nan_to_num(actions) for actions in made.actions]
    three = version == "v3.0"
    info = {
        "codebase_version": version,
        "fps": FPS,
        "chunks_size": 1000,
        "features": {
            "action": {"dtype": "float32", "shape": [2]},
            "observation.state": {"dtype": "float32", "shape": [2]},
            CAMERA: {"dtype": kind, "shape": [32, 32, 3]},
        },
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
        if three
        else "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    tables = []
    for e, n in enumerate(lengths):
        columns = {
            "action": list(actions[e]),
            "observation.state": list(made.positions[e]),
            "episode_index": np.full(n, e),
            "frame_index": np.arange(n),
            "timestamp": np.arange(n) / FPS,
        }
        if kind == "image":
            columns[CAMERA] = [{"bytes": png(frame), "path": None} for frame in made.frames[e]]
        tables.append(pa.table(columns))
    (root / "data" / "chunk-000").mkdir(parents=True)
    if three:
        pq.write_table(pa.concat_tables(tables), root / "data" / "chunk-000" / "file-000.parquet")
        write_video(
            root / "videos" / CAMERA / "chunk-000" / "file-000.mp4", np.concatenate(made.frames)
        )
        starts = np.cumsum([0, *lengths[:-1]])
        places = {
            "episode_index": np.arange(3),
            f"videos/{CAMERA}/chunk_index": np.zeros(3, int),
            f"videos/{CAMERA}/file_index": np.zeros(3, int),
            f"videos/{CAMERA}/from_timestamp": starts / FPS,
        }
        (root / "meta" / "episodes" / "chunk-000").mkdir(parents=True)
        pq.write_table(pa.table(places), root / "meta/episodes/chunk-000/file-000.parquet")
    else:
        for e, table in enumerate(tables):
            pq.write_table(table, root / "data" / "chunk-000" / f"episode_{e:06d}.parquet")
            if kind == "video":
                place = root / "videos" / "chunk-000" / CAMERA / f"episode_{e:06d}.mp4"
                write_video(place, made.frames[e])
    return made


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("version", "kind"), [("v2.1", "video"), ("v3.0", "video"), ("v2.1", "image")]
)
def test_lerobot(tmp_path: Path, cache: Path, version: str, kind: str) -> None:
    made = write_lerobot(tmp_path / "robot", version, kind)
    trajectories = open_trajectories(tmp_path / "robot", cache=cache)
    assert trajectories.lengths.tolist() == [9, 10, 11]
    assert trajectories.columns == {"proprio": (2,)}
    for e, frames in enumerate(made.frames):
        close_to(trajectories.frames(e, 0, len(frames)), frames)
        np.testing.assert_array_equal(trajectories.column("proprio", e), made.positions[e])
        np.testing.assert_array_equal(trajectories.actions(e, 0, 8), made.actions[e][:8])


@pytest.mark.parametrize("kind", ["video", "image"])
def test_cameras_of_lerobot(tmp_path: Path, cache: Path, kind: str) -> None:
    root = tmp_path / "robot"
    made = write_lerobot(root, "v2.1", kind)
    add_wrist(root, [255 - frames for frames in made.frames], kind)
    with pytest.raises(UserError, match=f"has 2 cameras; .*: {CAMERA}, {WRIST}"):
        open_trajectories(root, cache=cache)
    top = open_trajectories(root, cache=cache, camera=CAMERA)
    wrist = open_trajectories(root, cache=cache, camera="wrist")
    assert top.columns == wrist.columns
    for e, frames in enumerate(made.frames):
        close_to(top.frames(e, 0, len(frames)), frames)
        close_to(wrist.frames(e, 0, len(frames)), 255 - frames)
    decoded = {file: file.stat().st_mtime_ns for file in cache.glob("*.frames")}
    assert len(decoded) == 2
    open_trajectories(root, cache=cache, camera="top")  # nothing is decoded again
    assert {file: file.stat().st_mtime_ns for file in cache.glob("*.frames")} == decoded
    with pytest.raises(UserError, match=rf"no camera 'wirst' \(cameras: .*{WRIST}\).*'wrist'"):
        open_trajectories(root, cache=cache, camera="wirst")


def add_wrist(root: Path, episodes: list[np.ndarray], kind: str) -> None:
    """A second camera in a data set of version 2."""
    info = json.loads((root / "meta" / "info.json").read_text())
    info["features"][WRIST] = info["features"][CAMERA]
    (root / "meta" / "info.json").write_text(json.dumps(info))
    for e, frames in enumerate(episodes):
        if kind == "video":
            write_video(root / "videos" / "chunk-000" / WRIST / f"episode_{e:06d}.mp4", frames)
            continue
        path = root / "data" / "chunk-000" / f"episode_{e:06d}.parquet"
        images = [{"bytes": png(frame), "path": None} for frame in frames]
        pq.write_table(pq.read_table(path).append_column(WRIST, pa.array(images)), path)


def test_damaged_lerobot(tmp_path: Path, cache: Path) -> None:
    root = tmp_path / "robot"
    write_lerobot(root, "v2.1")
    video = root / "videos" / "chunk-000" / CAMERA / "episode_000001.mp4"
    content = video.read_bytes()
    video.unlink()
    with pytest.raises(UserError, match=r"episode_000001\.mp4: this video .* is missing"):
        open_trajectories(root, cache=cache)
    write_video(video, dots(episodes=1, steps=4).frames[0])
    with pytest.raises(UserError, match="episode 1 has 10 steps and 4 readable frames"):
        open_trajectories(root, cache=cache)
    video.write_bytes(content)
    (root / "data" / "chunk-000" / "episode_000002.parquet").write_bytes(b"not a table")
    with pytest.raises(UserError, match=r"episode_000002\.parquet: not a readable table"):
        open_trajectories(root, cache=cache)
    (root / "meta" / "info.json").write_text("{")
    with pytest.raises(UserError, match=r"info\.json: not readable"):
        open_trajectories(root, cache=cache)
