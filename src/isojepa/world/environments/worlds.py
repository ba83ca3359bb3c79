"""The platform's environments: made, closed, reset by seed, put into recorded states, drawn."""

import atexit
import random
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import UInt8

from isojepa.errors import UserError
from isojepa.world.environments.environment import PIXELS, Environment, Row, World
from isojepa.world.environments.fast import FAST
from isojepa.world.environments.pixel_env import raw_actions
from isojepa.world.environments.platform import (
    check_renderer,
    drawing,
    explained,
    platform,
    quiet,
    varying,
)
from isojepa.world.environments.registry import environment
from isojepa.world.episodes.decoded import resize

UNLIMITED = 1_000_000  # steps before the platform ends an episode, where the caller counts them
MUJOCO_IDS = ("OGB", "DMControl", "Fetch")


def make_environments(
    env_id: str,
    n: int,
    *,
    frame_size: int,
    seed: int | None = None,
    steps: int = UNLIMITED,
    collecting: bool = False,
) -> World:
    """n environments as a `stable_worldmodel.World`; frames come at `frame_size` pixels.

    Frames are rendered and resized by the platform's wrapper, the same way when episodes are
    collected and when a model acts.

    Args:
        seed: reset them, number i with a seed of its own; by default they are not reset.
        steps: after which an episode is cut.
        collecting: with the options that the published data was collected with.

    Raises:
        UserError: for an unknown id, a missing package or a missing renderer, or actions that are
            neither one choice nor bounded numbers.
    """
    known = environment(env_id)
    options = {**known.options, **(known.collect_options if collecting else {})}
    if env_id in FAST:
        options["frame_size"] = frame_size
    if any(word in env_id for word in MUJOCO_IDS) or "mujoco" in _entry_point(env_id):
        check_renderer(env_id)
    with quiet(), explained(env_id):
        world = platform().World(
            env_id,
            num_envs=n,
            image_shape=(frame_size, frame_size),
            max_episode_steps=steps,
            **options,
        )
        raw_actions(world.envs.single_action_space, env_id)
        if seed is not None:
            reset(world, [seed + i for i in range(n)])
    atexit.register(_close_if_alive, weakref.ref(world))  # before its driver's own, made earlier
    return world


def close(world: World) -> None:
    """Close the environments and what they draw with, which some of them leave open.

    MuJoCo's drawing surfaces must go before the interpreter takes their driver down.
    """
    with quiet():
        world.close()
        for env in world.envs.envs:
            for held in list(vars(env.unwrapped).values()):
                if type(held).__module__.split(".")[0] == "mujoco" and hasattr(held, "close"):
                    held.close()


def _close_if_alive(world: "weakref.ref[World]") -> None:
    alive = world()
    if alive is not None:
        close(alive)


GROUPS = {"colours": ("color",), "sizes": ("radius", "size", "scale", "thickness")}
"""Factors of variation by how their names end."""


def factors(names: Sequence[str], asked: Sequence[str], env_id: str) -> list[str]:
    """The factors of variation asked for, by name or group.

    Raises:
        UserError: for one that the environment does not have.
    """
    found: list[str] = []
    for one in asked:
        some = [x for x in names if x == one or (one in GROUPS and x.endswith(GROUPS[one]))]
        if not some:
            has = ", ".join((*GROUPS, *names)) if names else "none"
            raise UserError(f"--vary {one}: {env_id} has no such factor, but {has}")
        found += some
    return found


def _varying(world: World, vary: Sequence[str]) -> dict[str, list[str]] | None:
    """What a reset is told to draw anew: what it usually does, and what is asked for."""
    if not vary:
        return None
    inner = world.envs.envs[0].unwrapped
    space = getattr(inner, "variation_space", None)
    names = [] if space is None else list(space.names())
    found = factors(names, vary, world.envs.envs[0].spec.id)
    usual = getattr(sys.modules[type(inner).__module__], "DEFAULT_VARIATIONS", ())
    return {"variation": list(dict.fromkeys([*usual, *found]))}


def reset(world: World, seeds: list[int], vary: Sequence[str] = ()) -> None:
    """Reset every environment of a world, each as a function of its seed alone.

    Some of the platform's environments do not pass their seed on, and draw from generators of their
    own or from NumPy's global one; those are seeded too.

    Args:
        vary: factors of variation that are drawn anew too, by name or group: see `factors`.

    Raises:
        UserError: for an environment that cannot be reset, or does not draw itself, or has no such
            factors.
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
        options, env_id = _varying(world, vary), world.envs.envs[0].spec.id
        with seeded(seeds[0]), (varying if vary else drawing)(env_id):
            world.reset(seed=list(seeds), options=options)


def set_pairs(
    world: World, starts: Sequence[Row], goals: Sequence[Row], known: Environment | None = None
) -> tuple[UInt8[np.ndarray, "n y x c"], UInt8[np.ndarray, "n y x c"]]:
    """Put every environment of a world, already reset, into a start state and under a goal.

    Args:
        known: what is known of the environment, by default by its id.

    Returns:
        The frames of the start states and those of the goal states, rendered by the environments.
    """
    known = known or environment(world.envs.envs[0].spec.id)
    if known.set_start is None or (known.own_rule and known.set_goal is None):
        raise UserError(
            f"{known.id}: the platform cannot set its state; choose another environment"
        )
    inners = [env.unwrapped for env in world.envs.envs]
    with quiet():
        for inner, goal in zip(inners, goals):
            known.set_start(inner, goal)
        goal_frames = render_frames(world)
        for inner, start, goal in zip(inners, starts, goals):
            known.set_start(inner, start)
            if known.set_goal is not None:
                known.set_goal(inner, goal)
        return render_frames(world), goal_frames


def render_frames(world: World) -> UInt8[np.ndarray, "n y x c"]:
    """The present frame of every environment, as the platform's wrapper would give it."""
    size = world.infos[PIXELS].shape[-2]
    frames = []
    for env in world.envs.envs:
        several = getattr(env.unwrapped, "render_multiview", None)
        frame = several() if callable(several) else env.render()
        frames.append(resize(np.asarray(frame), size))
    return np.stack(frames)


def _entry_point(env_id: str) -> str:
    import gymnasium as gym

    return str(gym.registry[env_id.rpartition(":")[2]].entry_point)


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
