"""Environments of the platform: how to make one, to put it in a state, and to tell its success."""

import atexit
import difflib
import importlib.util
import os
import random
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from isojepa.boundaries import reason
from isojepa.errors import UserError
from isojepa.world.episodes.decoded import resize

Row = Mapping[str, np.ndarray]
"""Columns of one step of a data set, or of several with the same leading axes."""
UNLIMITED = 1_000_000  # steps before the platform ends an episode, where the caller counts them
MUJOCO_IDS = ("OGB", "DMControl", "Fetch")


@dataclass(frozen=True)
class Quantity:
    """A physical quantity that a probe may read from an embedding."""

    name: str
    column: str
    """Of the data set, with `index` in its last axis."""
    index: int
    angle: bool = False
    """In radians, so that 0 and 2 pi are the same."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the platform's environments do not say of themselves."""

    id: str
    steps: int = 100
    """Longest episode when collecting, as in the published data."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the constructor."""
    collect_options: Mapping[str, Any] = field(default_factory=dict)
    """Those that differ when collecting."""
    needs: tuple[str, ...] = ()
    """Columns that `set_start`, `set_goal`, `distance` and `solved` read."""
    set_start: Callable[[Any, Row], None] | None = None
    """Put an unwrapped environment into the state of a data set's row."""
    set_goal: Callable[[Any, Row], None] | None = None
    """Make a data set's row the state that the environment takes for success."""
    distance: Callable[[Row, Row], np.ndarray] | None = None
    """Between states, in the unit the success rule uses; arrays of the rows' leading axes."""
    unit: str = ""
    solved: Callable[[Row, Row], np.ndarray] | None = None
    """Whether the environment would call a state a success under a goal, (state, goal)."""
    quantities: tuple[Quantity, ...] = ()
    scripted: Callable[[float | None, int], Any] | None = None
    """The platform's scripted policy, of (action noise or None for its usual one, seed)."""
    oracle: Callable[[int], Any] | None = None
    """The scripted policy without noise, of (seed), where it can reach a goal set from outside."""
    no_script: str = ""
    """Why there is no scripted policy."""


def environment(env_id: str) -> Environment:
    """What is known of an environment: its entry in the table, else an entry with its id alone.

    Raises:
        UserError: if the platform has no such environment, or its actions are not continuous.
    """
    swm_envs = platform().envs
    if env_id in swm_envs.DISCRETE_WORLDS:
        raise UserError(f"{env_id}: its actions are discrete; choose one with continuous actions")
    if env_id not in swm_envs.WORLDS:
        known = {name.lower(): name for name in sorted(swm_envs.WORLDS)}
        short = {name.split("/")[-1].split("-")[0]: full for name, full in known.items()}
        close = difflib.get_close_matches(env_id.lower(), [*known, *short], n=3, cutoff=0.5)
        names = list(dict.fromkeys({**known, **short}[name] for name in close))
        some = "some are swm/TwoRoom-v1 and swm/PushT-v1"
        hint = f"did you mean {' or '.join(names)}?" if names else some
        raise UserError(f"--env {env_id}: no such environment; {hint}")
    return ENVIRONMENTS.get(env_id) or Environment(
        id=env_id, no_script="the platform has none for it"
    )


def make_environments(
    env_id: str,
    n: int,
    *,
    frame_size: int,
    seed: int | None = None,
    steps: int = UNLIMITED,
    collecting: bool = False,
) -> Any:
    """n environments as a `stable_worldmodel.World`; frames come at `frame_size` pixels.

    Frames are rendered and resized by the platform's wrapper, the same way when episodes are
    collected and when a model acts.

    Args:
        seed: reset them, number i with a seed of its own; by default they are not reset.
        steps: after which an episode is cut.
        collecting: with the options that the published data was collected with.

    Raises:
        UserError: for an unknown id, a missing package or a missing renderer.
    """
    known = environment(env_id)
    options = {**known.options, **(known.collect_options if collecting else {})}
    if any(word in env_id for word in MUJOCO_IDS):
        check_renderer(env_id)
    with quiet(), explained(env_id):
        world = platform().World(
            env_id,
            num_envs=n,
            image_shape=(frame_size, frame_size),
            max_episode_steps=steps,
            **options,
        )
        if seed is not None:
            reset(world, [seed + i for i in range(n)])
    atexit.register(_close_if_alive, weakref.ref(world))  # before its driver's own, made earlier
    return world


def close(world: Any) -> None:
    """Close the environments and what they draw with, which some of them leave open.

    MuJoCo's drawing surfaces must go before the interpreter takes their driver down.
    """
    with quiet():
        world.close()
        for env in world.envs.envs:
            for held in list(vars(env.unwrapped).values()):
                if type(held).__module__.split(".")[0] == "mujoco" and hasattr(held, "close"):
                    held.close()


def _close_if_alive(world: "weakref.ref[Any]") -> None:
    alive = world()
    if alive is not None:
        close(alive)


def reset(world: Any, seeds: list[int]) -> None:
    """Reset every environment of a world, each as a function of its seed alone.

    Some of the platform's environments do not pass their seed on, and draw from generators of their
    own or from NumPy's global one; those are seeded too.
    """
    seeds = [seed % 2**32 for seed in seeds]  # as far as NumPy's older generator takes them
    with quiet():
        for env, seed in zip(world.envs.envs, seeds):
            inner = env.unwrapped
            with seeded(seed):
                if hasattr(type(inner), "np_random"):
                    inner.np_random = np.random.default_rng(seed)
                space = getattr(inner, "variation_space", None)
                if space is not None and not hasattr(space, "_isojepa_seed"):
                    space._isojepa_seed = space.seed
                if space is not None:
                    space.seed = lambda given=None, space=space, seed=seed: space._isojepa_seed(
                        seed if given is None else given
                    )
        with seeded(seeds[0]):
            world.reset(seed=list(seeds))


def set_pairs(
    world: Any, starts: list[Row], goals: list[Row]
) -> tuple[UInt8[np.ndarray, "n y x c"], UInt8[np.ndarray, "n y x c"]]:
    """Put every environment of a world, already reset, into a start state and under a goal.

    Returns:
        The frames of the start states and those of the goal states, rendered by the environments.
    """
    known = environment(world.envs.envs[0].spec.id)
    if known.set_start is None or known.set_goal is None:
        raise UserError(
            f"{known.id}: the platform cannot set its state; choose another environment"
        )
    inners = [env.unwrapped for env in world.envs.envs]
    with quiet():
        for inner, goal in zip(inners, goals):
            known.set_start(inner, goal)
        goal_frames = render(world)
        for inner, start, goal in zip(inners, starts, goals):
            known.set_start(inner, start)
            known.set_goal(inner, goal)
        return render(world), goal_frames


def render(world: Any) -> UInt8[np.ndarray, "n y x c"]:
    """The present frame of every environment, as the platform's wrapper would give it."""
    size = world.infos["pixels"].shape[-2]
    frames = []
    for env in world.envs.envs:
        several = getattr(env.unwrapped, "render_multiview", None)
        frame = several() if callable(several) else env.render()
        frames.append(resize(np.asarray(frame), size))
    return np.stack(frames)


def platform() -> Any:
    """The package `stable_worldmodel`.

    Raises:
        UserError: if it is not installed.
    """
    try:
        with quiet():
            import stable_worldmodel
    except ImportError as error:
        raise UserError(
            f"world models need the extra: pip install 'isojepa[world]' ({error})"
        ) from error
    return stable_worldmodel


def check_renderer(env_id: str) -> None:
    """Draw a small frame and drop it; without a screen, EGL is tried by default.

    A context alone proves nothing: GLFW without a display gives one, and a warning.

    Raises:
        UserError: naming the package and the variable, where MuJoCo cannot draw.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise UserError(f"{env_id}: needs the package mujoco: pip install 'isojepa[world]'")
    screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform == "linux" and not screen:
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        with quiet():
            import mujoco

            model = mujoco.MjModel.from_xml_string("<mujoco/>")
            with mujoco.Renderer(model, 8, 8) as renderer:
                renderer.update_scene(mujoco.MjData(model))
                renderer.render()
    except Exception as error:  # OpenGL's loaders raise whatever their drivers make them raise
        chosen = os.environ.get("MUJOCO_GL", "the screen")
        raise UserError(
            f"{env_id}: MuJoCo cannot draw with {chosen} ({reason(error)}); "
            "install libegl1 and set MUJOCO_GL=egl, or install libosmesa6 and set MUJOCO_GL=osmesa"
        ) from error


@contextmanager
def explained(env_id: str) -> Iterator[None]:
    """Turn whatever an environment raises while it is made into a line for the user.

    Raises:
        UserError: naming the package or the variable that is likely to help.
    """
    try:
        yield
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"{env_id}: needs the package {error.name}: pip install {error.name}"
        ) from error
    except Exception as error:
        why = f"{type(error).__name__}: {reason(error)}"
        if "MjModel" in why or "MjData" in why:
            raise UserError(
                f"{env_id}: the installed dm_control and mujoco do not agree ({error}); install "
                "versions that were released together"
            ) from error
        raise UserError(
            f"{env_id}: cannot be made ({why}); if it is for want of a screen, set MUJOCO_GL=egl"
        ) from error


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, for code that draws from them, and put them back after."""
    kept = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.set_rng_state(kept[2])


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the warnings that Gymnasium's checks raise at the platform's environments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _two_room_policy(noise: float | None, seed: int) -> Any:
    from stable_worldmodel.envs.two_room import ExpertPolicy

    return ExpertPolicy(
        action_noise=2.0 if noise is None else noise, action_repeat_prob=0.05, seed=seed
    )


def _push_t_policy(noise: float | None, seed: int) -> Any:
    from stable_worldmodel.envs.pusht import WeakPolicy

    if noise is not None:
        raise UserError("--action-noise: the scripted policy of PushT is random and takes none")
    return WeakPolicy(dist_constraint=100, seed=seed)


def _cube_policy(noise: float | None, seed: int) -> Any:
    from stable_worldmodel.envs.ogbench import ExpertPolicy

    return ExpertPolicy(action_noise=0.1 if noise is None else noise, seed=seed)


def _norm(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    return np.asarray(np.linalg.norm(difference, axis=-1))


def _push_t_angle(state: Row, goal: Row) -> np.ndarray:
    turn = np.abs(state["state"][..., 4] - goal["state"][..., 4]) % (2 * np.pi)
    return np.asarray(np.minimum(turn, 2 * np.pi - turn))


def _push_t_distance(state: Row, goal: Row) -> np.ndarray:
    return _norm(state["state"][..., :4], goal["state"][..., :4])


def _set_simulator(env: Any, row: Row) -> None:
    env.set_state(np.asarray(row["qpos"], np.float64), np.asarray(row["qvel"], np.float64))


def _set_cube_goal(env: Any, row: Row) -> None:
    position = np.asarray(row["privileged_block_0_pos"], np.float64)
    env.set_target_pos(0, position, np.asarray(row["privileged_block_0_quat"], np.float64))


def _cube_distance(state: Row, goal: Row) -> np.ndarray:
    return _norm(state["privileged_block_0_pos"], goal["privileged_block_0_pos"])


def _reacher_distance(state: Row, goal: Row) -> np.ndarray:
    return np.asarray(np.abs(np.asarray(state["qpos"]) - np.asarray(goal["qpos"])).max(-1))


_CUBE = {"env_type": "single", "ob_type": "states", "multiview": False, "visualize_info": False}

ENVIRONMENTS: dict[str, Environment] = {
    known.id: known
    for known in (
        Environment(
            id="swm/TwoRoom-v1",
            steps=100,
            needs=("proprio",),
            set_start=lambda env, row: env._set_state(np.asarray(row["proprio"], np.float32)),
            set_goal=lambda env, row: env._set_goal_state(np.asarray(row["proprio"], np.float32)),
            distance=lambda state, goal: _norm(state["proprio"], goal["proprio"]),
            unit="pixels of 224",
            solved=lambda state, goal: _norm(state["proprio"], goal["proprio"]) < 16.0,
            quantities=(Quantity("x", "proprio", 0), Quantity("y", "proprio", 1)),
            scripted=_two_room_policy,
            oracle=lambda seed: _two_room_policy(0.0, seed),
        ),
        Environment(
            id="swm/PushT-v1",
            steps=100,
            needs=("state",),
            set_start=lambda env, row: env._set_state(np.asarray(row["state"], np.float64)),
            set_goal=lambda env, row: env._set_goal_state(np.asarray(row["state"], np.float64)),
            distance=_push_t_distance,
            unit="pixels of 512, agent and block together",
            solved=lambda state, goal: (
                (_push_t_distance(state, goal) < 20) & (_push_t_angle(state, goal) < np.pi / 9)
            ),
            quantities=(
                Quantity("agent x", "state", 0),
                Quantity("agent y", "state", 1),
                Quantity("block x", "state", 2),
                Quantity("block y", "state", 3),
                Quantity("block angle", "state", 4, angle=True),
            ),
            scripted=_push_t_policy,
        ),
        Environment(
            id="swm/OGBCube-v0",
            steps=200,
            options={**_CUBE, "terminate_at_goal": True},
            collect_options={"terminate_at_goal": False, "mode": "data_collection"},
            needs=("qpos", "qvel", "privileged_block_0_pos", "privileged_block_0_quat"),
            set_start=_set_simulator,
            set_goal=_set_cube_goal,
            distance=_cube_distance,
            unit="metres",
            solved=lambda state, goal: _cube_distance(state, goal) <= 0.04,
            quantities=tuple(
                Quantity(f"{what} {axis}", column, i)
                for what, column in (
                    ("block", "privileged_block_0_pos"),
                    ("gripper", "proprio_effector_pos"),
                )
                for i, axis in enumerate("xyz")
            ),
            scripted=_cube_policy,
        ),
        Environment(
            id="swm/ReacherDMControl-v0",
            steps=200,
            options={"task": "qpos_match"},
            needs=("qpos", "qvel"),
            set_start=_set_simulator,
            set_goal=lambda env, row: env.set_target_qpos(np.asarray(row["qpos"], np.float64)),
            distance=_reacher_distance,
            unit="radians, the joint further off",
            solved=lambda state, goal: _reacher_distance(state, goal) < 0.05,
            quantities=(
                Quantity("shoulder", "qpos", 0, angle=True),
                Quantity("wrist", "qpos", 1, angle=True),
                Quantity("finger x", "finger_pos", 0),
                Quantity("finger y", "finger_pos", 1),
            ),
            no_script="the platform's is a trained network whose weights it does not ship",
        ),
    )
}
