"""HDF5 and .npz tables: rows, frames of any type and actions come out right or are refused."""

import logging
from pathlib import Path

import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories

h5py = pytest.importorskip("h5py")
N, E = 60, 3  # steps and episodes
PIXELS = np.random.default_rng(0).integers(0, 255, (N, 8, 8, 3), np.uint8)
ACTIONS = np.tile(np.arange(20.0), E)[:, None] / 7
EPISODE, STEP = np.repeat(np.arange(E), 20), np.tile(np.arange(20), E)


def table(folder: Path, **columns: object) -> Path:
    """An HDF5 file of three episodes of 20 steps, with columns replaced, or left out for None."""
    path = folder / "table.h5"
    with h5py.File(path, "w") as file:
        usual = {"pixels": PIXELS, "action": ACTIONS, "ep_len": np.full(E, 20)}
        for name, values in (usual | columns).items():
            if isinstance(values, dict):
                file.create_dataset(name, **values)
            elif values is not None:
                file[name] = values
    return path


def opened(path: Path, **options: object) -> Trajectories:
    return open_trajectories(path, cache=path.parent / "cache", **options)


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        opened(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) - len(str(path)) < 300
    assert "cache" not in message.removeprefix(str(path))
    return message


def in_order(trajectories: Trajectories) -> None:
    assert trajectories.lengths.tolist() == [20] * E
    assert (trajectories.rows(np.arange(N)) == PIXELS).all()
    for e in range(E):
        np.testing.assert_array_equal(
            trajectories.actions(e, 0, 20), ACTIONS[e == EPISODE].astype(np.float32)
        )


@pytest.mark.parametrize(
    "lengths",
    [
        {"data": np.full(E, 20), "compression": "gzip"},
        np.full((E, 1), 20),
        np.full((1, E), 20.0),
        np.full(E, 20, np.uint8),
    ],
    ids=["compressed", "a column", "a row of floats", "bytes"],
)
def test_lengths_as_people_store_them(tmp_path: Path, lengths: object) -> None:
    in_order(opened(table(tmp_path, ep_len=lengths)))


def test_one_length_is_one_episode(tmp_path: Path) -> None:
    assert opened(table(tmp_path, ep_len=N)).lengths.tolist() == [N]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"ep_len": [20, np.nan, 20]}, "entry 1 of 'ep_len' is missing"),
        ({"ep_len": [20, np.inf, 20]}, "entry 1 of 'ep_len' is inf"),
        ({"ep_len": [20, 19.5, 20.5]}, "entry 1 of 'ep_len' is 19.5"),
        ({"ep_len": [20, 0, 40]}, "episode 1 has 0 steps"),
        ({"ep_len": np.full(E, 2**63, np.uint64)}, "'ep_len'"),
        ({"ep_len": np.full((E, 2), 20)}, r"'ep_len' is of type int64 and shape \(3, 2\)"),
        ({"ep_len": np.array([b"a"])}, "'ep_len' is of type"),
        ({"ep_len": [20, 20, 21]}, "ask for 61 frames and the file holds 60"),
        ({"ep_offset": [0, 20]}, "'ep_offset' has 2 entries and 'ep_len' 3"),
        ({"ep_offset": [0, 10, 40]}, "episodes 0 and 1 share rows"),
        ({"ep_offset": [0, np.nan, 40]}, "entry 1 of 'ep_offset' is missing"),
        ({"step_idx": np.tile([0, *range(2, 21)], E)}, "episode 0 has no step 1: 0 is followed"),
        ({"step_idx": np.tile([0, *range(19)], E)}, r"step 0 twice \(row 0 and row 1\)"),
        ({"ep_idx": np.repeat(range(E), [10, 30, 20])}, "contradict each other"),
        ({"ep_len": None, "ep_idx": [*EPISODE[:-1], np.nan]}, "entry 59 of 'ep_idx' is missing"),
        ({"ep_len": None, "ep_idx": EPISODE[:40]}, "'ep_idx' has 40 rows of 60"),
        ({"ep_len": None, "ep_idx": STEP % 3}, "comes in several pieces"),
        ({"ep_len": None, "terminals": np.zeros(N)}, "terminals mark no row"),
        ({"action": np.float32(1)}, "'action' is of type float32"),
        ({"action": np.array([b"a"] * N)}, "'action' is of type"),
    ],
)
def test_rows_that_do_not_add_up_are_named(
    tmp_path: Path, columns: dict[str, object], words: str
) -> None:
    path = table(tmp_path, **columns)
    with pytest.raises(UserError, match=words):
        opened(path)
    refusal(path)


@pytest.mark.parametrize("described", ["ep_len", "ep_idx"])
def test_steps_sort_rows(tmp_path: Path, described: str) -> None:
    rows = np.random.default_rng(1).permutation(N)
    if described == "ep_len":  # within each episode only
        rows = np.concatenate([20 * e + np.random.default_rng(e).permutation(20) for e in range(E)])
    columns = {"ep_len": None, "ep_idx": EPISODE[rows]} if described == "ep_idx" else {}
    stored = {"pixels": PIXELS[rows], "action": ACTIONS[rows], "step_idx": STEP[rows]}
    in_order(opened(table(tmp_path, **stored, **columns)))
    in_order(opened(table(tmp_path, **stored, **columns, **{"pixels.x": 255 - PIXELS})))
    packed = {"data": stored["pixels"], "compression": "gzip", "chunks": (7, 8, 8, 3)}
    in_order(opened(table(tmp_path, **(stored | {"pixels": packed}), **columns)))


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (PIXELS / 255.0, PIXELS),
        ((PIXELS / 255.0).astype(np.float16), PIXELS),
        (PIXELS.astype(np.float32), PIXELS),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS.astype(np.uint16) * 257, PIXELS),
        (PIXELS.astype(np.uint16) << 2 | 3, PIXELS),
        (np.moveaxis(PIXELS, -1, 1) / 255.0, PIXELS),
        (PIXELS > 99, np.where(PIXELS > 99, 255, 0)),
        (PIXELS[..., 0], PIXELS[..., :1].repeat(3, -1)),
        (PIXELS[..., :1] / 255.0, PIXELS[..., :1].repeat(3, -1)),
    ],
    ids=[
        "fractions",
        "half",
        "float",
        "int",
        "16 bits",
        "10 bits",
        "planes",
        "bool",
        "2-D",
        "grey",
    ],
)
def test_frames_of_any_type(tmp_path: Path, stored: np.ndarray, expected: np.ndarray) -> None:
    found = opened(table(tmp_path, pixels=stored)).rows(np.arange(N))
    assert np.abs(found.astype(int) - expected).max() <= (1 if stored.dtype == np.uint16 else 0)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (PIXELS / 127.5 - 1, ["float64", "(60, 8, 8, 3)", "values -1 to"]),
        (np.where(PIXELS == 7, np.nan, PIXELS / 255.0), ["float64", "no numbers"]),
        (PIXELS.astype(np.int64) * 2**20, ["int64", "at most 65535"]),
        (PIXELS[..., [0, 1, 2, 0]], ["uint8", "(60, 8, 8, 4)", "four channels"]),
        (np.tile(PIXELS, 3), ["uint8", "(60, 8, 8, 9)", "no axis of one or three"]),
        (np.stack([PIXELS] * 2, 1), ["uint8", "(60, 2, 8, 8, 3)", "several frames"]),
        (PIXELS.reshape(N, -1), ["uint8", "(60, 192)"]),
        (np.array([b"a"] * N), ["|S1", "(60,)", "not numbers"]),
    ],
)
def test_what_is_no_frames_is_named(tmp_path: Path, stored: np.ndarray, words: list[str]) -> None:
    message = refusal(table(tmp_path, pixels=stored))
    assert all(word in message for word in ["'pixels'", *words])


def with_nan(*rows: int) -> np.ndarray:
    actions = ACTIONS.copy()
    actions[list(rows)] = np.nan
    return actions


def test_alignment_is_one_decision(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    usual = opened(table(tmp_path, action=with_nan(19)))
    assert usual.action_alignment == "next"
    assert usual.actions(1, 0, 3)[:, 0].tolist() == ACTIONS[:3, 0].astype(np.float32).tolist()
    assert "each leads from its frame to the next" in caplog.text
    moved = opened(table(tmp_path, action=with_nan(0, 20, 40)))
    told = opened(table(tmp_path), action_alignment="previous")
    for some in (moved, told):
        assert some.action_alignment == "previous"
        for e in range(E):
            np.testing.assert_array_equal(some.actions(e, 0, 19), ACTIONS[1:20].astype(np.float32))
            assert np.isnan(some.actions(e, 19, 20)).all()
    assert "each led to its frame" in caplog.text


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((0,), "not a number in episode 0, and is one in episodes 1, 2"),
        ((0, 20), "in episodes 0, 1, and is one in episode 2"),
        ((0, 39, 59), "two conventions"),
        ((0, 19), "at the first and at the last step of episode 0"),
        ((27,), "in episode 1 at step 7"),
    ],
)
def test_two_conventions_are_refused(tmp_path: Path, rows: tuple[int, ...], words: str) -> None:
    assert words in refusal(table(tmp_path, action=with_nan(*rows)))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_an_outlier_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, scale: float
) -> None:
    opened(table(tmp_path, action=ACTIONS * scale))
    assert "sets the scale" not in caplog.text
    actions = ACTIONS * scale
    actions[25] = 1e9 * scale
    opened(table(tmp_path, action=actions))
    assert "in episode 1 at step 5" in caplog.text


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_choices_are_said_to_be_taken_for_numbers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: type
) -> None:
    opened(table(tmp_path, action=(np.arange(N) % 4).astype(kind)))
    assert "whole numbers from 0 to 3" in caplog.text


def demos(path: Path, n: int, *, lack: str = "", actions: int = 0) -> Path:
    with h5py.File(path, "w") as file:
        for i in range(n):
            for camera in ("agentview_rgb", "wrist_rgb"):
                for group in ("obs", "next_obs"):
                    frames = np.full((3, 8, 8, 3), i + 100 * (camera == "wrist_rgb"), np.uint8)
                    file[f"data/demo_{i}/{group}/{camera}"] = frames
            file[f"data/demo_{i}/obs/pose"] = np.full((3, 2), i, np.float32)
            file[f"data/demo_{i}/actions"] = np.full((3 - actions, 2), i + 0.5)
        if lack:
            del file[lack]
    return path


def test_a_group_for_each_episode(tmp_path: Path) -> None:
    path = demos(tmp_path / "robo.h5", 12)
    for camera in ("wrist_rgb", "obs/wrist_rgb", "data/demo_0/obs/wrist_rgb"):
        found = opened(path, camera=camera)
        assert found.rows(np.arange(36))[:, 0, 0, 0].tolist() == [100 + i // 3 for i in range(36)]
    assert found.columns == {"pose": (2,)}
    assert found.actions(10, 0, 3)[:, 0].tolist() == [10.5] * 3
    assert "2 cameras; choose one by its name: obs/agentview_rgb, obs/wrist_rgb" in refusal(path)
    assert "did you mean 'wrist_rgb'" in refusal(path, camera="wrist")
    one = opened(demos(tmp_path / "short.h5", 2, actions=1), camera="wrist_rgb")
    assert np.isnan(one.actions(1, 0, 3)[:, 0]).tolist() == [False, False, True]
    for lack, name in (("actions", "'actions'"), ("obs/wrist_rgb", "'obs/wrist_rgb'")):
        path = demos(tmp_path / f"no {lack[:3]}.h5", 12, lack=f"data/demo_4/{lack}")
        assert f"no {name} in data/demo_4" in refusal(path, camera="wrist_rgb")


@pytest.mark.parametrize("kind", ["h5", "npz", "compressed npz"])
def test_flags_at_the_ends_of_episodes(tmp_path: Path, kind: str) -> None:
    columns = {
        "observations": PIXELS,
        "next_observations": 255 - PIXELS,
        "actions": ACTIONS,
        "terminals": (STEP == 19) & (EPISODE == 0),
        "timeouts": ((STEP == 19) & (EPISODE > 0)).astype(np.float32),
    }
    path = tmp_path / f"flags.{kind[-3:] if 'npz' in kind else kind}"
    if "npz" in kind:
        (np.savez_compressed if "compressed" in kind else np.savez)(path, **columns)
    else:
        with h5py.File(path, "w") as file:
            file.update(columns)
    in_order(opened(path))


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / b"x\xe9.h5".decode("utf-8", "surrogateescape")
    table(tmp_path).rename(path)
    in_order(opened(path))
    assert len(opened(path, frame_size=4).rows(np.arange(N))) == N
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"x\\xe9\.h5: .*Git LFS pointer"):
        opened(path)
