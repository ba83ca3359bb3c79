"""Episodes come back as written, whatever holds them; bad data is named."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isojepa.errors import UserError
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories
from tests.world.episode_files import Dots, dots, write_dots

h5py = pytest.importorskip("h5py")


def opened(made: Dots, cache: Path, frame_size: int | None = None) -> Trajectories:
    return open_trajectories(made.path, frame_size=frame_size, cache=cache)


def same(trajectories: Trajectories, made: Dots) -> None:
    assert trajectories.lengths.tolist() == [len(frames) for frames in made.frames]
    for e, frames in enumerate(made.frames):
        n = len(frames)
        assert (trajectories.frames(e, 0, n) == frames).all()
        np.testing.assert_array_equal(trajectories.actions(e, 0, n - 1), made.actions[e][:-1])


def write(path: Path, **columns: object) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name.replace("__", "/")] = values
    return path


def test_platform_hdf5_is_read_in_place(made: Dots, cache: Path) -> None:
    trajectories = opened(made, cache)
    same(trajectories, made)
    assert not cache.exists()  # frames of that size lie uncompressed in the file
    assert trajectories.frame_size == 16
    assert trajectories.action_dim == 2
    assert trajectories.columns == {"proprio": (2,), "state": (2,)}
    assert trajectories.env_id is None
    np.testing.assert_array_equal(trajectories.column("proprio", 3), made.positions[3])
    assert len(trajectories.column("state")) == trajectories.lengths.sum()
    assert (trajectories.frames(2, 3, 12, 4) == made.frames[2][3:12:4]).all()
    with pytest.raises(IndexError):
        trajectories.frames(0, 0, 13)


def test_the_platform_reads_the_same(made: Dots) -> None:
    formats = pytest.importorskip("stable_worldmodel.data.formats.hdf5")
    theirs = formats.HDF5Dataset(path=made.path)
    assert (np.moveaxis(theirs.load_episode(1)["pixels"].numpy(), 1, -1) == made.frames[1]).all()


@pytest.mark.parametrize(
    "layout", ["episode_ends", "episode_index", "channels_first", "gzip", "contiguous", "offsets"]
)
def test_variants_of_hdf5(tmp_path: Path, cache: Path, layout: str) -> None:
    made = dots(episodes=4, steps=9, size=16)
    lengths = [len(frames) for frames in made.frames]
    order = [2, 0, 3, 1] if layout == "offsets" else range(4)
    pixels = np.concatenate([made.frames[e] for e in order])
    actions = np.concatenate([made.actions[e] for e in order])
    with h5py.File(tmp_path / "variant.h5", "w") as file:
        if layout == "channels_first":
            pixels = np.moveaxis(pixels, -1, 1)
        options = {"chunks": (4, 16, 16, 3), "compression": "gzip"} if layout == "gzip" else {}
        prefix = "data/" if layout == "episode_ends" else ""
        file.create_dataset(prefix + "pixels", data=pixels, **options)
        file[prefix + "action"] = actions
        if layout == "episode_ends":
            file["meta/episode_ends"] = np.cumsum(lengths)
        elif layout == "episode_index":
            file["episode_index"] = np.repeat(range(4), lengths)
        elif layout == "offsets":
            starts = {e: sum(lengths[o] for o in order[:i]) for i, e in enumerate(order)}
            file["ep_len"], file["ep_offset"] = lengths, [starts[e] for e in range(4)]
        else:
            file["ep_len"] = lengths
    trajectories = open_trajectories(tmp_path / "variant.h5", cache=cache)
    same(trajectories, made)
    assert cache.exists() == (layout == "gzip")


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_cameras_of_hdf5(tmp_path: Path, cache: Path, compression: str | None) -> None:
    path = tmp_path / "two.h5"
    made = dots(episodes=2, steps=9, size=16)
    frames = np.concatenate(made.frames)
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=frames, compression=compression)
        file.create_dataset("pixels.wrist", data=255 - frames, compression=compression)
        file["action"] = np.concatenate(made.actions)
        file["ep_len"] = [len(one) for one in made.frames]
    main = open_trajectories(path, cache=cache)
    wrist = open_trajectories(path, cache=cache, camera="wrist")
    rows = np.arange(len(frames))
    assert (main.rows(rows) == frames).all()
    assert (wrist.rows(rows) == 255 - frames).all()
    with pytest.raises(UserError, match=r"no camera 'wrst' .* mean '(pixels\.)?wrist'"):
        open_trajectories(path, cache=cache, camera="wrst")
    with h5py.File(path, "r+") as file:
        file.move("pixels", "pixels.top")
    with pytest.raises(UserError, match=r"has 2 cameras; .*: pixels\.top, pixels\.wrist"):
        open_trajectories(path, cache=cache)


def test_lance(tmp_path: Path, cache: Path) -> None:
    lance = pytest.importorskip("lance")
    import pyarrow as pa

    made = dots(episodes=3, steps=9, size=16)
    lengths = [len(frames) for frames in made.frames]

    def png(frame: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, format="PNG")
        return buffer.getvalue()

    actions = pa.array(np.concatenate(made.actions).reshape(-1))
    table = pa.table(
        {
            "episode_idx": pa.array(np.repeat(range(3), lengths), pa.int32()),
            "step_idx": pa.array(np.concatenate([range(n) for n in lengths]), pa.int32()),
            "pixels": pa.array([png(frame) for frame in np.concatenate(made.frames)], pa.binary()),
            "wrist": pa.array([png(255 - x) for x in np.concatenate(made.frames)], pa.binary()),
            "action": pa.FixedSizeListArray.from_arrays(actions, 2),
        },
        metadata={"env_id": "swm/Dots-v0"},
    )
    table = table.replace_schema_metadata({"env_id": "swm/Dots-v0"})
    lance.write_dataset(table, str(tmp_path / "dots.lance"))
    trajectories = open_trajectories(tmp_path / "dots.lance", cache=cache)
    same(trajectories, made)
    assert trajectories.env_id == "swm/Dots-v0"
    same(open_trajectories(tmp_path, cache=cache), made)  # the folder that holds it
    wrist = open_trajectories(tmp_path, cache=cache, camera="wrist")
    assert (wrist.frames(1, 0, 9) == 255 - made.frames[1][:9]).all()


def test_the_first_action_may_be_the_missing_one(tmp_path: Path, cache: Path) -> None:
    made = dots(episodes=3, steps=9, size=16)
    rows = np.concatenate([np.roll(actions, 1, 0) for actions in made.actions])
    lengths = [len(frames) for frames in made.frames]
    pixels = np.concatenate(made.frames)
    path = write(tmp_path / "first.h5", pixels=pixels, action=rows, ep_len=lengths)
    same(open_trajectories(path, cache=cache), made)


def nan_action(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["action"][12 + 5] = np.nan


def nan_actions(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["action"][3] = file["action"][12 + 5] = np.inf


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def drop(*names: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            for name in names:
                del file[name]

    return change


def too_long(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["ep_len"][4] = 99


def short_actions(path: Path) -> None:
    drop("action")(path)
    with h5py.File(path, "r+") as file:
        file["action"] = np.zeros((7, 2), np.float32)


def no_episodes(path: Path) -> None:
    write(
        path, pixels=np.zeros((0, 8, 8, 3), np.uint8), action=np.zeros((0, 2)), ep_len=np.zeros(0)
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (nan_action, "not a finite number in episode 1 at step 5; only"),
        (nan_actions, "in episode 0 at step 3 and at 1 other steps"),
        (truncate, "truncated"),
        (lambda path: path.write_bytes(b""), "not a readable HDF5 file"),
        (drop("pixels"), "no column 'pixels'; the columns are action, ep_len"),
        (drop("ep_len", "ep_offset"), "nothing tells where episodes end"),
        (too_long, "it is damaged, or was cut"),
        (short_actions, "'action' has 7 rows and 'pixels' 70"),
        (no_episodes, "holds no episodes"),
        (lambda path: path.unlink(), "no such data set"),
    ],
)
def test_bad_data_is_named(
    made: Dots, cache: Path, change: Callable[[Path], object], words: str
) -> None:
    change(made.path)
    with pytest.raises(UserError, match=words) as caught:
        opened(made, cache)
    assert str(made.path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_columns_are_suggested(made: Dots, cache: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'proprio'"):
        opened(made, cache).column("propio")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no data set"),
        (["a.h5", "b.h5"], "holds 2 data sets"),
        (["notes.txt"], "holds no data set"),
    ],
)
def test_folders_without_one_data_set(tmp_path: Path, names: list[str], words: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=words):
        open_trajectories(tmp_path)


def test_files_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"expected \.h5"):
        open_trajectories(tmp_path / "notes.txt")
    (tmp_path / "empty.lance").mkdir()
    pytest.importorskip("lance")
    with pytest.raises(UserError, match="not a readable Lance table"):
        open_trajectories(tmp_path / "empty.lance")


def test_an_episodes_fingerprint_is_of_its_content(tmp_path: Path, cache: Path) -> None:
    few = write_dots(tmp_path / "few.h5", episodes=3, steps=9, size=16)
    trajectories = opened(few, cache)
    prints = [trajectories.episode_fingerprint(e) for e in range(3)]
    assert len(set(prints)) == 3
    (tmp_path / "elsewhere").mkdir()
    order = [2, 0, 3, 1]
    more = dots(episodes=4, steps=9, size=16)  # the same three and one more, stored otherwise
    path = write(
        tmp_path / "elsewhere" / "more.h5",
        pixels=np.concatenate([more.frames[e] for e in order]),
        action=np.concatenate([more.actions[e] for e in order]),
        ep_len=[len(more.frames[e]) for e in order],
    )
    again = open_trajectories(path, cache=cache)
    assert [again.episode_fingerprint(order.index(e)) for e in range(3)] == prints
    with h5py.File(path, "r+") as file:
        file["action"][2] += 1.0
        file["pixels"][11] = 0  # the first frame of the second episode there, here the first
    changed = open_trajectories(path, cache=cache)
    same_still = [changed.episode_fingerprint(order.index(e)) == prints[e] for e in range(3)]
    assert same_still == [False, True, False]
