"""One episode of an environment, by a policy: a function of the settings and its number."""

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from isojepa.errors import UserError
from isojepa.randomness import Stream, seed_from
from isojepa.world.collection.collected import FORMATS
from isojepa.world.control.goal_seeker import GoalSeeker
from isojepa.world.environments.environment import PlatformPolicy, World
from isojepa.world.environments.pixel_env import raw_actions
from isojepa.world.environments.platform import acting, explained, platform, quiet
from isojepa.world.environments.registry import environment
from isojepa.world.environments.worlds import make_environments, reset, seeded

# Durations, random names, images that repeat, and what an episode's own order says
LEFT_OUT = {"render_time", "id", "goal", "env_name", "step_idx"}
ACTION = "action"
Episode = dict[str, np.ndarray]


@runtime_checkable
class Seedable(Protocol):
    """A policy that draws."""

    def set_seed(self, seed: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """Record episodes of one environment."""

    env: str
    """Id of the environment, such as swm/TwoRoom-v1."""
    out: Path
    """The data set to write: .h5 (frames kept exactly) or .lance (frames as JPEG)."""
    episodes: int = 1000
    """How many."""
    policy: str = "scripted"
    """random, scripted (the platform's policy for this environment), or the folder of a run."""
    frame_size: int = 64
    """Side of the stored frames in pixels; the published models see 224."""
    workers: int = 0
    """Processes; 0 is one per processor allowed. The data does not depend on it."""
    seed: int = 0
    """Episode k is a function of (seed, k)."""
    steps: int | None = None
    """Longest episode; by default that of the published data."""
    action_noise: float | None = None
    """Deviation of the noise on scripted actions, in units of the action; by default the published
    one."""
    vary: tuple[str, ...] = ()
    """Factors of variation drawn anew for each episode: colours, sizes, or names, such as
    agent.color. Default: places alone, as published."""
    resume: bool = False
    """Go on with an interrupted collection, or add episodes to a finished one."""
    mixed: bool = False
    """With --resume, add episodes to a finished data set by another policy, noise or length
    than those that are there."""
    overwrite: bool = False
    """Replace an existing data set."""

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("frame_size", 8), ("workers", 0), ("seed", 0),
                            ("steps", 1), ("action_noise", 0)):  # fmt: skip
            given = getattr(self, name)
            if given is not None and given < least:
                raise UserError(f"--{name.replace('_', '-')} {given}: expected at least {least}")
        if self.out.suffix not in FORMATS:
            raise UserError(f"--out {self.out}: expected a name ending in .h5, .hdf5 or .lance")
        if self.resume and self.overwrite:
            raise UserError("--resume and --overwrite exclude one another")
        if self.mixed and not self.resume:
            raise UserError("--mixed adds to a data set: give --resume too")


def record_episode(config: CollectConfig, k: int) -> Episode:
    """Episode k, as columns: a function of (config, k), whatever came before in this process.

    Row i holds what is seen after i steps, and the action taken then; the last action is NaN.
    """
    world, policy = _world(config), _policy(config, k)
    acts = raw_actions(world.envs.single_action_space, config.env)
    rows: list[Episode] = []
    actions: list[np.ndarray] = []
    reset(world, [seed_from(config.seed, k, Stream.EPISODE_RESET)], config.vary)
    seed = seed_from(config.seed, k, Stream.EPISODE_POLICY)
    with quiet(), seeded(seed):
        world.set_policy(policy)
        if isinstance(policy, Seedable):
            policy.set_seed(seed % 2**31)
        rows.append(_row(world, config))
        for _ in range(config.steps or environment(config.env).steps):
            action = acts.from_env(np.asarray(policy.get_action(world.infos)))
            taken = acts.to_env(action) if acts.discrete else action
            with acting(config.env):
                _, _, terminated, truncated, world.infos = world.envs.step(taken)
            actions.append(action[0])
            rows.append(_row(world, config))
            if terminated[0] or truncated[0]:
                break
    names = [name for name in rows[0] if all(name in row for row in rows)]
    columns = {name: np.stack([row[name] for row in rows]) for name in names}
    return {**columns, ACTION: np.stack([*actions, np.full_like(actions[0], np.nan)])}


@lru_cache(maxsize=1)
def _world(config: CollectConfig) -> World:
    """The one environment of this process, kept from episode to episode."""
    return make_environments(config.env, 1, frame_size=config.frame_size, collecting=True)


@lru_cache(maxsize=1)
def _goal_seeker(config: CollectConfig) -> PlatformPolicy:
    return GoalSeeker.of_run(Path(config.policy), config.env, config.seed)


def _policy(config: CollectConfig, k: int) -> PlatformPolicy:
    if config.policy not in {"random", "scripted"}:
        return _goal_seeker(config)
    seed = seed_from(config.seed, k, Stream.EPISODE_POLICY) % 2**31
    scripted = environment(config.env).scripted
    with explained(config.env):
        if config.policy == "random" or scripted is None:
            return platform().policy.RandomPolicy(seed=seed)
        return scripted(config.action_noise, seed)


def _row(world: World, config: CollectConfig) -> Episode:
    """The columns of the platform's infos that are worth keeping, of the only environment."""
    states = environment(config.env).states
    row: Episode = {} if states is None else dict(states(world.envs.envs[0].unwrapped))
    for name, values in world.infos.items():
        if name in LEFT_OUT or name.startswith("_") or name == ACTION:
            continue
        values = values.numpy() if isinstance(values, torch.Tensor) else values
        if isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.size:
            row[re.sub(r"[./]", "_", name)] = np.array(values[0, 0])
    return row
