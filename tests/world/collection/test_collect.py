"""Collected episodes depend on the seed and their number alone, and survive interruptions."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_worldmodel")

from isojepa.errors import UserError
from isojepa.world.collection import collect as collecting
from isojepa.world.collection import record
from isojepa.world.collection.collect import CollectConfig, collect
from isojepa.world.collection.collected import read_collection
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories

TWO_ROOM = "swm/TwoRoom-v1"


@pytest.fixture
def config(tmp_path: Path) -> CollectConfig:
    return CollectConfig(
        env=TWO_ROOM, out=tmp_path / "two.h5", episodes=3, frame_size=32, steps=12, workers=1
    )


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    record._world.cache_clear()
    record._goal_seeker.cache_clear()


def read(path: Path) -> Trajectories:
    return open_trajectories(path, cache=path.parent / "cache")


def same(a: Trajectories, b: Trajectories) -> None:
    assert a.lengths.tolist() == b.lengths.tolist()
    for e, n in enumerate(a.lengths):
        assert (a.frames(e, 0, int(n)) == b.frames(e, 0, int(n))).all()
        np.testing.assert_array_equal(a.actions(e, 0, int(n)), b.actions(e, 0, int(n)))


def test_what_is_recorded(config: CollectConfig) -> None:
    collected = collect(config)
    assert collected.out == config.out
    assert collected.episodes == 3
    assert collected.size == config.out.stat().st_size
    assert not list(config.out.parent.glob("*.parts"))
    data = read(config.out)
    assert data.env_id == TWO_ROOM
    assert collected.frames == data.lengths.sum()
    assert (data.lengths <= 13).all()
    assert data.frame_size == 32
    assert {"proprio", "state", "goal_state"} <= set(data.columns)
    assert not {"render_time", "id", "step_idx"} & set(data.columns)
    for e, n in enumerate(data.lengths):
        actions, positions = data.actions(e, 0, int(n)), data.column("proprio", e)
        assert np.isnan(actions[-1]).all()
        assert (np.abs(actions[:-1]) <= 1).all()
        # Away from walls a step moves the agent by its speed of 5 times the action
        moved = positions[1:] - positions[:-1]
        free = np.abs(moved - 5 * actions[:-1]).max(1) < 1e-3
        assert free.mean() > 0.5


def test_the_platform_reads_it(config: CollectConfig) -> None:
    from stable_worldmodel.data.utils import load_dataset

    collect(config)
    theirs = load_dataset(str(config.out))
    ours = read(config.out)
    assert theirs.lengths.tolist() == ours.lengths.tolist()
    frames = theirs.load_episode(1)["pixels"].permute(0, 2, 3, 1).numpy()
    assert (frames == ours.frames(1, 0, len(frames))).all()


def test_lance(config: CollectConfig) -> None:
    collect(config)
    lance = replace(config, out=config.out.with_suffix(".lance"))
    collect(replace(lance, episodes=2))
    collect(replace(lance, resume=True))  # one more
    exact, compressed = read(config.out), read(lance.out)
    assert compressed.env_id == TWO_ROOM
    assert compressed.lengths.tolist() == exact.lengths.tolist()
    for e, n in enumerate(exact.lengths):
        difference = exact.frames(e, 0, int(n)).astype(float) - compressed.frames(e, 0, int(n))
        assert np.abs(difference).mean() < 3
        np.testing.assert_allclose(
            exact.actions(e, 0, int(n)), compressed.actions(e, 0, int(n)), atol=1e-6
        )


def test_an_episode_does_not_depend_on_those_before(config: CollectConfig) -> None:
    second = record.record_episode(config, 1)
    record.record_episode(config, 0)
    again = record.record_episode(config, 1)
    for name in second:
        np.testing.assert_array_equal(second[name], again[name])
    other = record.record_episode(replace(config, seed=1), 1)
    assert (other["pixels"][0] != second["pixels"][0]).any()


@pytest.mark.slow
def test_the_data_does_not_depend_on_the_workers(config: CollectConfig) -> None:
    collect(config)
    two = replace(config, out=config.out.with_name("other.h5"), workers=2)
    collect(two)
    same(read(config.out), read(two.out))


def test_an_interruption_loses_nothing(
    config: CollectConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = replace(config, out=config.out.with_name("whole.h5"))
    collect(whole)
    real = collecting.record_episode

    def stop(wanted: CollectConfig, k: int) -> Any:
        if k == 2:
            raise KeyboardInterrupt
        return real(wanted, k)

    with monkeypatch.context() as patch:
        patch.setattr(collecting, "record_episode", stop)
        with pytest.raises(KeyboardInterrupt):
            collect(config)
    assert not config.out.exists()
    parts = config.out.with_name("two.h5.parts")
    assert len(list(parts.glob("episode-*.npz"))) == 2
    with pytest.raises(UserError, match="add --resume"):
        collect(config)
    with pytest.raises(UserError, match="collected with seed = 0, not 1"):
        collect(replace(config, resume=True, seed=1))
    recorded = []
    with monkeypatch.context() as patch:
        patch.setattr(collecting, "record_episode", lambda c, k: recorded.append(k) or real(c, k))
        collect(replace(config, resume=True))
    assert recorded == [2]
    same(read(config.out), read(whole.out))


def test_a_finished_collection_is_kept_extended_or_replaced(config: CollectConfig) -> None:
    collect(replace(config, episodes=2))
    before = config.out.read_bytes()
    with pytest.raises(UserError, match=r"two\.h5 exists; add --resume"):
        collect(config)
    assert collect(replace(config, episodes=2, resume=True)).episodes == 2
    assert config.out.read_bytes() == before
    assert collect(replace(config, resume=True)).episodes == 3
    extended = read(config.out)
    whole = replace(config, out=config.out.with_name("whole.h5"))
    collect(whole)
    same(extended, read(whole.out))
    assert collect(replace(config, episodes=1, overwrite=True)).episodes == 1


def test_episodes_of_another_policy_are_added(config: CollectConfig) -> None:
    collect(replace(config, episodes=2))
    other = replace(config, policy="random", steps=6, resume=True)
    with pytest.raises(UserError, match=r"policy = scripted, not random; .*--mixed to add them"):
        collect(other)
    with pytest.raises(UserError, match="seed = 0, not 1; use the same settings or"):
        collect(replace(other, mixed=True, seed=1))
    before = read(config.out)
    kept = [before.frames(e, 0, int(n)).copy() for e, n in enumerate(before.lengths)]
    assert collect(replace(other, mixed=True)).episodes == 3
    mixed = read(config.out)
    assert mixed.lengths.tolist() == [*before.lengths.tolist(), 7]
    for e, frames in enumerate(kept):
        assert (mixed.frames(e, 0, len(frames)) == frames).all()
    said = read_collection(config.out)
    assert said["plan"]["policy"] == "random"
    assert [(one["plan"]["policy"], one["episodes"]) for one in said["before"]] == [("scripted", 2)]
    with pytest.raises(UserError, match="give --resume too"):
        replace(config, mixed=True)


def test_factors_are_drawn_for_each_episode(config: CollectConfig) -> None:
    varied = replace(config, vary=("colours", "sizes"), steps=2)
    first, second = (record.record_episode(varied, k) for k in (0, 1))
    colours = [one["variation_background_color"][0] for one in (first, second)]
    assert (colours[0] != colours[1]).any()
    assert first["variation_agent_radius"][0] != second["variation_agent_radius"][0]
    assert (first["pixels"][0][1:4, 1:4] != 0).any()  # the border is not black any more
    again = record.record_episode(varied, 0)
    for name, x in first.items():
        np.testing.assert_array_equal(x, again[name])
    too_large = replace(varied, vary=("agent.radius",))  # for the usual door, mostly
    with pytest.raises(UserError, match="what --vary drew does not go together"):
        _ = [record.record_episode(too_large, k) for k in range(20)]
    usual = record.record_episode(replace(config, steps=2), 0)
    assert not any(name.startswith("variation") for name in usual)
    with pytest.raises(
        UserError, match="--vary smell: swm/TwoRoom-v1 has no such factor, but colours"
    ):
        record.record_episode(replace(varied, vary=("smell",)), 0)


def test_a_run_can_be_the_policy(
    config: CollectConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stable_worldmodel.policy import BasePolicy

    class Right(BasePolicy):
        def get_action(self, *_: Any, **__: Any) -> np.ndarray:
            return np.array([[1.0, 0.0]])

    monkeypatch.setattr(record, "_goal_seeker", lambda _: Right())
    (tmp_path / "run").mkdir()
    collect(replace(config, policy=str(tmp_path / "run"), episodes=1))
    actions = read(config.out).actions(0, 0, 5)
    assert (actions == [1, 0]).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"env": "swm/TwoRoms-v1"}, "did you mean swm/TwoRoom-v1"),
        ({"policy": "expert"}, "expected random, scripted or the folder of a trained run"),
        ({"env": "swm/ReacherDMControl-v0"}, "has no scripted policy .*weights"),
        ({"env": "swm/PushT-v1", "action_noise": 1.0}, "takes none"),
    ],
)
def test_mistakes_are_named(config: CollectConfig, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        collect(replace(config, **changes))
    assert not list(config.out.parent.glob("*.parts/episode*"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"out": Path("data.zip")}, r"--out data\.zip: expected a name ending"),
        ({"episodes": 0}, "--episodes 0: expected at least 1"),
        ({"frame_size": 2}, "--frame-size 2"),
        ({"steps": 0}, "--steps 0"),
        ({"action_noise": -1.0}, "--action-noise -1"),
        ({"resume": True, "overwrite": True}, "exclude one another"),
    ],
)
def test_settings_are_checked(config: CollectConfig, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        replace(config, **changes)


def test_a_data_set_of_someone_else_is_not_extended(config: CollectConfig) -> None:
    from tests.world.episode_files import write_dots

    write_dots(config.out)
    with pytest.raises(UserError, match="was not written by"):
        collect(replace(config, resume=True))
    config.out.write_bytes(b"garbage")
    with pytest.raises(UserError, match="cannot be read"):
        collect(replace(config, resume=True))
