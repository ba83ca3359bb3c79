"""Environments that nobody described: recorded, put back, planned in; or refused in one line."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_worldmodel")

from isojepa.errors import UserError
from isojepa.world.collection import record
from isojepa.world.collection.collect import collect
from isojepa.world.collection.record import CollectConfig
from isojepa.world.control.config import PlanConfig
from isojepa.world.control.control import plan
from isojepa.world.environments.environment import World
from isojepa.world.environments.pixel_env import raw_actions
from isojepa.world.environments.registry import environment, judged
from isojepa.world.environments.states import POSE, read_state, write_state
from isojepa.world.environments.worlds import close, make_environments, render_frames
from isojepa.world.episodes.trajectories import open_trajectories
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import train_world_model

CLASSIC = ("CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Pendulum-v1", "Acrobot-v1")
CONTROL = tuple(
    f"swm/{name}DMControl-v0"
    for name in ("Acrobot", "BallInCup", "Cartpole", "Cheetah", "Finger", "Hopper", "Humanoid",
                 "Manipulator", "Pendulum", "Quadruped", "Reacher", "Walker")
)  # fmt: skip


@pytest.fixture(autouse=True)
def fresh() -> Any:
    yield
    record._world.cache_clear()


def act(world: World, seed: int) -> None:
    """Eight random steps."""
    space = world.envs.single_action_space
    space.seed(seed)
    for _ in range(8):
        world.envs.step(np.stack([space.sample()]))


@pytest.mark.parametrize(
    "env_id",
    [*CLASSIC, "isojepa/CartPole-v1", "swm/CartPoleControl-v1", "swm/PendulumDMControl-v0",
     *(pytest.param(one, marks=pytest.mark.slow) for one in (*CONTROL, "InvertedPendulum-v5"))],
)  # fmt: skip
def test_states_are_put_back(env_id: str) -> None:
    world = make_environments(env_id, 1, frame_size=48, seed=5)
    inner = world.envs.envs[0].unwrapped
    act(world, 0)
    kept, frame = read_state(inner), render_frames(world)[0]
    assert all(x.size and np.isfinite(x).all() for x in kept.values())
    act(world, 1)
    assert not all(np.array_equal(x, read_state(inner)[name]) for name, x in kept.items())
    write_state(inner, kept)
    for name, x in read_state(inner).items():
        np.testing.assert_allclose(x, kept[name], atol=1e-12)
    again = render_frames(world)[0].astype(int)
    assert np.abs(again - frame).mean() < 1  # Pendulum draws the last action too
    close(world)


def test_a_turn_counts_once_whichever_way_it_was_made() -> None:
    world = make_environments("Pendulum-v1", 1, frame_size=32, seed=0)
    inner = world.envs.envs[0].unwrapped
    poses = []
    for angle in (0.3, 0.3 + 2 * np.pi):
        inner.state = np.array([angle, 1.0])
        poses.append(read_state(inner)[POSE])
    np.testing.assert_allclose(*poses)
    assert poses[0] == pytest.approx([np.cos(0.3), np.sin(0.3)])  # not the speed, which no one sees


def test_choices_are_vectors_and_back() -> None:
    acts = raw_actions(gym.spaces.Discrete(3, start=5), "x")
    vectors = acts.from_env(np.array([5, 7]))
    assert vectors.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert acts.to_env(vectors).tolist() == [5, 7]
    box = raw_actions(gym.spaces.Box(-2, 2, (1,)), "x")
    assert box.to_env(np.array([[-3.0], [1.0]])).tolist() == [[-2], [1]]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_collected_trained_and_planned_in(
    env_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data, run = tmp_path / "any.h5", tmp_path / "run"
    collect(CollectConfig(env=env_id, out=data, episodes=8, steps=14, policy="random", workers=1))
    found = open_trajectories(data, cache=tmp_path / "cache")
    assert found.env_id == env_id
    if env_id == "CartPole-v1":
        taken = found.actions(0, 0, int(found.lengths[0]) - 1)
        assert set(map(tuple, taken.tolist())) <= {(0, 1), (1, 0)}
    train_world_model(
        WorldTrainConfig(
            data=data, out=run, preset="lewm-micro", steps=2, batch_size=4, frame_skip=2,
            held_out=0.5, history=1, device="cpu",
        )
    )  # fmt: skip
    result = plan(
        PlanConfig(
            run=run, pairs=3, offset=4, budget=6, horizon=2, candidates=8, films=0, device="cpu"
        )
    )
    assert set(result.baselines) == {"random"}
    assert len(result.outcomes["plan"]) == 3
    assert result.strict is None
    assert "share of the range" in result.distance_unit
    assert all(pair.distance is not None and pair.distance >= 0.05 for pair in result.played)


def test_the_rule_is_of_the_range_that_the_data_cover(tmp_path: Path) -> None:
    collect(
        CollectConfig(
            env="CartPole-v1", out=tmp_path / "a.h5", episodes=4, steps=20, policy="random",
            workers=1, frame_size=16,
        )
    )  # fmt: skip
    data = open_trajectories(tmp_path / "a.h5", cache=tmp_path / "cache")
    known = judged(environment("CartPole-v1"), data)
    assert known.solved is not None
    width = np.ptp(data.column(POSE), axis=0)
    goal = {POSE: data.column(POSE)[3]}
    for share, reached in ((0.049, True), (0.051, False)):
        state = {POSE: goal[POSE] + share * width * np.array([0, -1, 0])}
        assert bool(known.solved(state, goal)) is reached


def test_an_episode_that_the_environment_ends_is_not_played_on() -> None:
    from isojepa.world.control.vector_env import Stage

    known = environment("CartPole-v1")
    stage = Stage("CartPole-v1", frame_size=16, known=known)
    fallen = {"inner_state": np.array([0, 0, 0.2, 1.0])}
    env = stage.set_up([fallen], [fallen], seeds=[0])
    for _ in range(3):
        assert not env.step(np.zeros(1, int), np.array([[1.0, 0.0]])).any()
    down = read_state(env.world.envs.envs[0].unwrapped)["inner_state"]
    env.step(np.zeros(1, int), np.array([[1.0, 0.0]]))
    assert (read_state(env.world.envs.envs[0].unwrapped)["inner_state"] == down).all()
    stage.close()


class Odd(gym.Env[Any, Any]):
    """Draws a picture, unless told otherwise."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, kind: str, render_mode: str | None = None) -> None:
        self.kind, self.render_mode, self.t = kind, render_mode, 0
        discrete = gym.spaces.Discrete(2)
        self.action_space = {
            "dictionary": gym.spaces.Dict({"a": discrete}),
            "tuple": gym.spaces.Tuple((discrete,)),
            "free": gym.spaces.Box(-np.inf, np.inf, (2,)),
        }.get(kind, discrete)
        self.observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, **settings: Any) -> Any:
        super().reset(**settings)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += int(action >= 0)
        if self.kind == "fails" and self.t > 4:
            raise RuntimeError("the motor\nis off")
        return np.zeros(2, np.float32), 0.0, False, False, {}

    def render(self) -> Any:
        return None if self.kind == "blind" else np.zeros((8, 12, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dictionary", r"its actions are Dict\(.*one discrete choice, or a vector of numbers"),
        ("tuple", r"its actions are Tuple\("),
        ("free", r"its actions are Box\(-inf, inf"),
        ("blind", r"cannot begin an episode and draw it .*render\(\) has to give an array"),
        ("fails", r"failed at a step \(RuntimeError: the motor is off\)"),
        ("stateless", r"holds no states of odd_place:Odd-v0 that could be set.*--goal image\.png"),
    ],
)
def test_what_cannot_be_used_is_named(
    kind: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "odd_place", ModuleType("odd_place"))
    gym.register("Odd-v0", Odd, kwargs={"kind": kind}, max_episode_steps=9)
    config = CollectConfig(
        env="odd_place:Odd-v0", out=tmp_path / "odd.h5", episodes=1, policy="random", workers=1,
        frame_size=16,
    )  # fmt: skip

    def use() -> None:
        collect(config)
        judged(environment(config.env), open_trajectories(config.out, cache=tmp_path))

    try:
        with pytest.raises(UserError, match=words) as caught:
            use()
        assert "\n" not in str(caught.value)
    finally:
        del gym.registry["Odd-v0"]
