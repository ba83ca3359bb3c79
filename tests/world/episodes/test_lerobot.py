"""LeRobot data sets: the frame of a step is that of its episode, index and time, or a refusal."""

import io
import json
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isojepa.errors import UserError
from isojepa.world.episodes.formats.lerobot_videos import Clip, match
from isojepa.world.episodes.formats.videos import Times, frame_times
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories

ffmpeg = pytest.importorskip("imageio_ffmpeg")
Row = dict[str, object]
V2, V3 = "v/{episode_index}.mp4", "v/{file_index}.mp4"
FRAMES = {0: range(0, 60, 10), 1: range(100, 160, 10)}  # grey value of each frame by episode


def rows(images: bool = False) -> list[Row]:
    out: list[Row] = []
    for e in (0, 1):
        for t in range(6):
            row: Row = {"episode_index": e, "frame_index": t, "timestamp": t / 10}
            row |= {"action": [100.0 * e + t, 0.0], "observation.state": [float(e), float(t)]}
            out.append(row | ({"cam": png(100 * e + 10 * t)} if images else {}))
    return out


def png(value: int) -> dict[str, object]:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (value,) * 3).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def video(path: Path, values: Iterable[int], fps: float = 10) -> None:
    path.parent.mkdir(exist_ok=True)
    options = {"macro_block_size": 2, "output_params": ["-crf", "0"]}
    out = ffmpeg.write_frames(str(path), (16, 16), fps=fps, **options)
    out.send(None)
    for value in values:
        out.send(np.full((16, 16, 3), value, np.uint8))
    out.close()


def write(root: Path, files: dict[str, list[Row]], kind: str = "image", template: str = V2) -> Path:
    (root / "meta").mkdir(parents=True)
    (root / "data").mkdir()
    features = {"cam": {"dtype": kind}, "action": {"dtype": "float32"}}
    info = {"fps": 10, "features": features, "video_path": template}
    (root / "meta" / "info.json").write_text(json.dumps(info))
    for name, content in files.items():
        pq.write_table(pa.Table.from_pylist(content), root / "data" / name)
    return root


def with_videos(root: Path, content: list[Row], values: dict[int, Iterable[int]]) -> Path:
    write(root, {"a.parquet": content}, "video")
    for e, some in values.items():
        video(root / "v" / f"{e}.mp4", some)
    return root


def opened(root: Path) -> Trajectories:
    return open_trajectories(root, cache=root.parent / "cache")


def pairs(root: Path) -> list[list[tuple[int, int]]]:
    """(number in the frame, number in the action) of each step; both are 100 e + t or 10 e + t."""
    found = opened(root)
    out = []
    for e, n in enumerate(found.lengths.tolist()):
        seen = (found.frames(e, 0, n)[:, 8, 8, 0] / 10).round().astype(int)
        done = found.actions(e, 0, n)[:, 0]
        assert (found.column("proprio", e)[:, 1] == done % 100).all()
        out.append([(int(a), int(b)) for a, b in zip(seen, done)])
    return out


def right(first: range = range(6)) -> list[list[tuple[int, int]]]:
    return [[(t, t) for t in first], [(10 + t, 100 + t) for t in range(6)]]


ORDERS = {
    "in order": range(12),
    "shuffled": np.random.default_rng(0).permutation(12).tolist(),
    "episode 1 first": [*range(6, 12), *range(6)],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("split", [["a"], ["file-10", "file-2"], ["b", "a"]])
def test_images_go_with_their_rows(tmp_path: Path, order: str, split: list[str]) -> None:
    content = [rows(images=True)[i] for i in ORDERS[order]]
    n = len(content) // len(split)
    files = {f"{name}.parquet": content[i * n : (i + 1) * n] for i, name in enumerate(split)}
    assert pairs(write(tmp_path / "set", files)) == right()


@pytest.mark.parametrize("order", ORDERS)
def test_frames_of_videos_are_found_by_time(tmp_path: Path, order: str) -> None:
    content = [rows()[i] for i in ORDERS[order]]
    assert pairs(with_videos(tmp_path / "set", content, FRAMES)) == right()


def test_a_video_that_is_longer_is_aligned_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    longer = FRAMES | {0: range(0, 80, 10)}
    assert pairs(with_videos(tmp_path / "set", rows(), longer)) == right()
    assert "2 frames come after the last step of episode 0" in caplog.text
    without_first = with_videos(tmp_path / "late", rows()[1:], FRAMES)
    assert pairs(without_first) == right(range(1, 6))


@pytest.mark.parametrize(
    ("fps", "starts", "ends", "stamp"),
    [
        (10, [0.0, 0.6], [0.6, 1.2], 1.0),
        (30, [0.0, 0.2], [0.2, 0.4], 1.0),
        (30, [0.0, 0.2], None, 1.0),
        (20, [0.0, 0.3], [0.3, 0.6], 0.5),
    ],
    ids=["as told", "30 fps, told 10", "no ends", "20 fps, stamped so"],
)
def test_one_video_for_all_at_its_own_rate(
    tmp_path: Path, fps: int, starts: list[float], ends: list[float] | None, stamp: float
) -> None:
    content = [row | {"timestamp": float(row["timestamp"]) * stamp} for row in rows()]
    root = write(tmp_path / "set", {"a.parquet": content}, "video", V3)
    video(root / "v" / "0.mp4", [*FRAMES[0], *FRAMES[1]], fps)
    places = {"episode_index": [1, 0]} | {
        f"videos/cam/{name}": values
        for name, values in {
            "chunk_index": [0, 0],
            "file_index": [0, 0],
            "from_timestamp": starts[::-1],
            "to_timestamp": ends and ends[::-1],
        }.items()
        if values
    }
    (root / "meta" / "episodes").mkdir()
    pq.write_table(pa.table(places), root / "meta" / "episodes" / "x.parquet")
    assert pairs(root) == right()


def test_frames_of_a_varying_rate_are_found_by_their_own_times(tmp_path: Path) -> None:
    root = with_videos(tmp_path / "set", rows(), FRAMES)
    ticks = [0, 1, 2, 5, 6, 7]  # tenths of a second at which the frames are shown
    whole = root / "v" / "0.mp4"
    stretch = "setpts='if(lt(N,3),N,N+2)/(10*TB)'"
    import subprocess

    command = [ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", whole, "-vf", stretch, "-fps_mode"]
    command += ["vfr", "-qp", "0", "-enc_time_base", "1/10", root / "varied.mp4"]
    subprocess.run(list(map(str, command)), check=True)
    (root / "varied.mp4").replace(whole)
    np.testing.assert_allclose(frame_times(whole).seconds, np.array(ticks) / 10, atol=1e-3)
    with pytest.raises(UserError, match=r"0\.mp4: episode 0 at step 3 is at 0\.3 s"):
        opened(root)
    content = [r | {"timestamp": ticks[r["frame_index"]] / 10} for r in rows()[:6]] + rows()[6:]
    pq.write_table(pa.Table.from_pylist(content), root / "data" / "a.parquet")
    assert pairs(root) == right()


def test_matches_by_time_or_one_for_one() -> None:
    def frames(seconds: np.ndarray, stamps: np.ndarray) -> list[int]:
        clip = Clip(Path("v.mp4"), 0.0, np.inf, stamps, "episode 0")
        return match(clip, Times(seconds)).frames.tolist()

    n = np.arange(3000)
    assert frames(n / 30, n[:1000] / 10) == (3 * n[:1000]).tolist()
    assert frames(n / 30 + 0.004, n / 30) == n.tolist()
    assert frames(n / 29.97, n / 30) == n.tolist()  # 3 frames apart at the end
    assert frames(n / 30, 1.7e9 + n / 30) == n.tolist()
    assert frames(np.zeros(1), np.array([5.0])) == [0]
    for seconds in (n[:2999] / 30, np.delete(n, 1500) / 30, np.zeros(0)):
        with pytest.raises(UserError, match="episode 0"):
            frames(seconds, n / 30)


def changed(index: int, **values: object) -> list[Row]:
    content = rows(images=True)
    content[index] |= values
    return content


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(2, episode_index=None), "episode_index is null in data/a.parquet row 2"),
        (changed(2, frame_index=None), "frame_index is null in data/a.parquet row 2"),
        (changed(2, frame_index=2.5), "frame_index is 2.5"),
        (changed(2, timestamp=None), r"episode 0 at step 2 \(data/a.parquet row 2\) is null"),
        (changed(8, timestamp=0.05), "timestamp of episode 1 at step 1"),
        (changed(2, frame_index=3), "episode 0 has no step 2"),
        (changed(2, frame_index=1), r"has step 1 twice \(data/a.parquet row 1 and .* row 2\)"),
        (changed(3, action=None), "not a finite number in episode 0 at step 3"),
        (changed(3, action=[1.0, None]), "not a finite number in episode 0 at step 3"),
        (changed(0, action=None), "two conventions"),
        (changed(3, action=[1.0]), "a.parquet: 'action' has lists of 1 to 2 numbers"),
        (changed(2, cam=None), "image of episode 0 at step 2 is missing"),
        (changed(2, cam={"bytes": b"", "path": "x.png"}), "x.png: .* step 2 .*: no such file"),
        (changed(7, cam={"bytes": b"junk", "path": None}), "episode 1 at step 1 is damaged"),
        ([r | {"action": "left"} for r in rows(images=True)], "'action' is of type string"),
        ([{k: v for k, v in r.items() if k != "action"} for r in rows(images=True)], "have none"),
    ],
)  # fmt: skip
def test_what_does_not_add_up_is_named(tmp_path: Path, content: list[Row], words: str) -> None:
    root = write(tmp_path / "set", {"a.parquet": content})
    with pytest.raises(UserError, match=words) as caught:
        opened(root)
    assert "\n" not in str(caught.value)
    assert "free some space" not in str(caught.value)


def test_what_does_not_add_up_between_files(tmp_path: Path) -> None:
    some = rows(images=True)
    without = [{k: v for k, v in r.items() if k != "action"} for r in some[6:]]
    with pytest.raises(UserError, match=r"'action' has no column in data/b\.parquet"):
        opened(write(tmp_path / "lack", {"a.parquet": some[:6], "b.parquet": without}))
    twice = {"a.parquet": some, "a (1).parquet": some[:6]}
    with pytest.raises(UserError, match=r"episode 0 has step 0 twice .*5 more such places"):
        opened(write(tmp_path / "twice", twice))
    root = write(tmp_path / "empty", {})
    pq.write_table(pa.Table.from_pylist(some).slice(0, 0), root / "data" / "a.parquet")
    with pytest.raises(UserError, match="its tables have no rows"):
        opened(root)
    pq.write_table(pa.Table.from_pylist(some), root / "data" / "b.parquet")
    assert pairs(root) == right()


def test_ragged_columns_are_left_out_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = [r | {"touched": [1.0] * (1 + i % 2)} for i, r in enumerate(rows(images=True))]
    root = write(tmp_path / "set", {"a.parquet": content})
    assert pairs(root) == right()
    assert "touched" not in opened(root).columns
    assert "without the columns touched" in caplog.text


def test_links_are_followed_or_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path / "set", {})
    (tmp_path / "elsewhere").mkdir()
    pq.write_table(pa.Table.from_pylist(rows(images=True)), tmp_path / "elsewhere" / "a.parquet")
    (root / "data" / "chunk").symlink_to(tmp_path / "elsewhere")
    (root / "data" / "loop").symlink_to(root / "data")
    (root / "data" / "gone.parquet").symlink_to(tmp_path / "nowhere.parquet")
    assert pairs(root) == right()
    assert "gone.parquet is a broken link" in caplog.text


def test_videos_of_other_kinds(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import subprocess

    caplog.set_level(logging.INFO)
    video(tmp_path / "v" / "a.mp4", FRAMES[0], fps=25)
    run = [ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(tmp_path / "v" / "a.mp4")]
    for suffix in (".mpg", ".ts", ".wmv"):
        subprocess.run([*run, str(tmp_path / f"a{suffix}")], check=True)
        assert opened(tmp_path / f"a{suffix}").lengths.tolist() == [6]
    sound = ["-f", "lavfi", "-i", "sine=d=0.1", str(tmp_path / "s.mp4")]
    subprocess.run([*run[:3], *sound], check=True)
    with pytest.raises(UserError, match=r"s\.mp4: no video in it, only sound"):
        opened(tmp_path / "s.mp4")
    (tmp_path / "v" / "code.ts").write_text("GraphQL and other source code")
    assert opened(tmp_path / "v").lengths.tolist() == [6]
    assert "varies" not in caplog.text
