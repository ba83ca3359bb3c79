"""Environments: named when unknown, put exactly into recorded states, and the same for a seed."""

import builtins
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("stable_worldmodel")

from isojepa.errors import UserError
from isojepa.world.environments import platform
from isojepa.world.environments.platform import _drawing_fault, check_renderer, explained
from isojepa.world.environments.registry import ENVIRONMENTS, environment
from isojepa.world.environments.worlds import make_environments, render_frames, reset, set_pairs

TWO_ROOM, PUSH_T = "swm/TwoRoom-v1", "swm/PushT-v1"


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("swm/TwoRom-v1", "did you mean swm/TwoRoom-v1"),
        ("TwoRoom", "did you mean swm/TwoRoom-v1"),
        ("pusht", "did you mean swm/PushT"),
        ("qqqqqqqq", "some are swm/TwoRoom-v1, swm/PushT-v1 and CartPole-v1"),
        ("cartpole-v1", "did you mean .*CartPole-v1"),
    ],
)
def test_unknown_environments_are_suggested(env_id: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        make_environments(env_id, 1, frame_size=32)
    assert "\n" not in str(caught.value)


def test_an_environment_outside_the_table_is_used_as_it_is() -> None:
    known = environment("swm/PendulumControl-v1")
    assert known.scripted is None
    assert known.set_goal is None
    assert not known.own_rule


def states(env_id: str, n: int) -> list[dict[str, np.ndarray]]:
    """States that random actions reach, as the rows of a data set."""
    world = make_environments(env_id, 1, frame_size=32, seed=3)
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(n):
        for _ in range(4):
            action = rng.uniform(-1, 1, (1, 2)).astype(np.float32)
            _, _, _, _, world.infos = world.envs.step(action)
        rows.append({name: world.infos[name][0, 0].copy() for name in ENVIRONMENTS[env_id].needs})
        rows[-1]["pixels"] = world.infos["pixels"][0, 0].copy()
    return rows


@pytest.mark.parametrize(("env_id", "tolerance"), [(TWO_ROOM, 0), (PUSH_T, 1.0)])
def test_states_and_goals_are_set(env_id: str, tolerance: float) -> None:
    first, second, third = states(env_id, 3)
    world = make_environments(env_id, 2, frame_size=32, seed=0)
    starts, goals = set_pairs(world, [first, second], [third, first])
    for frame, row in zip([*starts, *goals], [first, second, third, first]):
        assert np.abs(frame.astype(float) - row["pixels"]).mean() <= tolerance
    assert (render_frames(world) == starts).all()


@pytest.mark.parametrize("env_id", [TWO_ROOM, PUSH_T])
def test_the_success_rule_is_the_environments(env_id: str) -> None:
    """`solved` agrees with what the environment says of the state that a step leads to."""
    known, rows = environment(env_id), states(env_id, 12)
    assert known.solved is not None
    world = make_environments(env_id, 1, frame_size=32, seed=0)
    said, ours = [], []
    for goal in rows:
        set_pairs(world, [rows[5]], [goal])
        _, _, terminated, _, infos = world.envs.step(np.zeros((1, 2), np.float32))
        said.append(bool(terminated[0]))
        state = {name: infos[name][0, 0] for name in known.needs}
        ours.append(bool(known.solved(state, goal)))
    assert said == ours
    assert 0 < sum(said) < len(said)


def test_distances_have_the_axes_of_the_rows() -> None:
    a = {"state": np.zeros((2, 3, 7)), "proprio": np.zeros((2, 3, 2))}
    for env_id in (TWO_ROOM, PUSH_T):
        known = environment(env_id)
        assert known.distance is not None
        assert known.distance(a, a).shape == (2, 3)


def test_a_turn_is_measured_the_short_way() -> None:
    known = environment(PUSH_T)
    assert known.solved is not None
    state, goal = {"state": np.zeros(7)}, {"state": np.zeros(7)}
    state["state"][4], goal["state"][4] = 0.1, 2 * np.pi - 0.1
    assert known.solved(state, goal)


@pytest.mark.parametrize("env_id", [TWO_ROOM, PUSH_T])
def test_a_reset_is_a_function_of_the_seed(env_id: str) -> None:
    world = make_environments(env_id, 2, frame_size=32, seed=0)
    reset(world, [11, 12])
    frames = world.infos["pixels"].copy()
    world.envs.step(np.zeros((2, 2), np.float32))
    reset(world, [12, 11])
    assert (world.infos["pixels"] == frames[::-1]).all()
    assert (frames[0] != frames[1]).any()


@pytest.fixture
def _not_yet_drawn() -> Iterator[None]:
    _drawing_fault.cache_clear()
    yield
    _drawing_fault.cache_clear()


@pytest.mark.usefixtures("_not_yet_drawn")
def test_a_missing_renderer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")  # settled when MuJoCo is imported
    mujoco = pytest.importorskip("mujoco")

    def fail(*_: int) -> None:
        raise RuntimeError("no display\nat all")

    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(mujoco, "Renderer", fail, raising=False)
    with pytest.raises(UserError, match=r"osmesa.*libegl1.*MUJOCO_GL=egl.*libosmesa6") as caught:
        make_environments("swm/OGBCube-v0", 1, frame_size=32)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()  # it is not asked again: a second try would end the process
    with pytest.raises(UserError, match="no display at all"):
        check_renderer("swm/OGBCube-v0")


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="needs the package gymnasium_robotics"), explained("env"):
        raise ModuleNotFoundError(name="gymnasium_robotics")
    with pytest.raises(UserError, match="do not agree"), explained("env"):
        raise AttributeError("'MjModel' object has no attribute 'flex_vertedge'")
    with (
        pytest.raises(UserError, match=r"env: cannot be made \(FatalError: no .*MUJOCO_GL=egl"),
        explained("env"),
    ):
        raise type("FatalError", (Exception,), {})("no context")
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "stable_worldmodel":
            raise ImportError("No module named 'stable_worldmodel'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match=r"pip install 'isojepa\[world\]'"):
        platform.platform()
