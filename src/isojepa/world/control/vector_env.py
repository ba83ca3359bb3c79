"""Vector environments set to pairs of a start and a goal, and episodes run in them."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from isojepa.randomness import seed_from
from isojepa.world.control.policy import Observation, VectorPolicy
from isojepa.world.environments.environment import PIXELS, Row, World
from isojepa.world.environments.platform import quiet
from isojepa.world.environments.worlds import close, make_environments, reset, set_pairs


@runtime_checkable
class GoalEnv(Protocol):
    """b environments, each at the start of its pair and aware of its goal."""

    def observe(self, rows: Int64[np.ndarray, " n"]) -> Observation:
        """The present frames and states of some of them."""
        ...

    def step(
        self, rows: Int64[np.ndarray, " n"], actions: Shaped[np.ndarray, "n a"]
    ) -> Bool[np.ndarray, " n"]:
        """Act in some of them; whether each has reached its goal by the environment's rule."""
        ...


class PlatformEnv:
    """A `GoalEnv` of the platform's environments.

    Actions are cut to the bounds of the action space before the environment sees them.

    Args:
        world: see `worlds.make_environments`.
        starts: rows of the data set, one per environment; likewise `goals`.
        seeds: everything else about an environment, such as its colours, follows from its seed.
    """

    def __init__(
        self, world: World, starts: Sequence[Row], goals: Sequence[Row], *, seeds: list[int]
    ) -> None:
        self.world, self.starts, self.goals = world, starts, goals
        reset(world, seeds)
        self.frames, self.goal_frames = set_pairs(world, starts, goals)
        space = world.envs.single_action_space
        self.low, self.high = space.low, space.high
        self.taken = 0
        """Actions taken, counted per episode."""
        self.cut = 0
        """Those of them that were cut."""
        self._write_states()

    def observe(self, rows: Int64[np.ndarray, " n"]) -> Observation:
        """See `GoalEnv`."""
        state = {
            name: values[rows, 0]
            for name, values in self.world.infos.items()
            if isinstance(values, np.ndarray) and name != PIXELS
        }
        return Observation(rows, self.frames[rows], state)

    def step(
        self, rows: Int64[np.ndarray, " n"], actions: Shaped[np.ndarray, "n a"]
    ) -> Bool[np.ndarray, " n"]:
        """See `GoalEnv`."""
        every = np.zeros((len(self.frames), len(self.low)), np.float32)
        every[rows] = np.clip(actions, self.low, self.high)
        beyond = ~np.isclose(every[rows], actions, rtol=1e-4, atol=1e-5).all(1)  # not by rounding
        self.taken, self.cut = self.taken + len(rows), self.cut + int(beyond.sum())
        mask = np.zeros(len(self.frames), bool)
        mask[rows] = True
        with quiet():
            _, _, terminated, _, self.world.infos = self.world.envs.step(every, mask=mask)
        self.frames[rows] = self.world.infos[PIXELS][rows, 0]
        return terminated[rows]

    def _write_states(self) -> None:
        """Set the platform's record of each state, which is of the reset until the first step."""
        for i, (start, goal) in enumerate(zip(self.starts, self.goals)):
            for prefix, row in (("", start), ("goal_", goal)):
                for name, value in row.items():
                    held = self.world.infos.get(prefix + name)
                    if isinstance(held, np.ndarray) and held[i, 0].shape == np.shape(value):
                        held[i, 0] = value


def platform_envs(
    env_id: str,
    starts: Sequence[Row],
    goals: Sequence[Row],
    *,
    at_once: int,
    frame_size: int,
    seed: int,
) -> Generator[tuple[int, PlatformEnv], None, None]:
    """The environments of all pairs, `at_once` at a time, and the number of the first of each.

    They are closed once they are through.
    """
    world: World | None = None
    try:
        for first in range(0, len(starts), at_once):
            part = slice(first, min(first + at_once, len(starts)))
            b = part.stop - part.start
            if world is None or world.num_envs != b:
                if world is not None:
                    close(world)
                world = make_environments(env_id, b, frame_size=frame_size)
            seeds = [seed_from(seed, i) % 2**31 for i in range(part.start, part.stop)]
            yield first, PlatformEnv(world, starts[part], goals[part], seeds=seeds)
    finally:
        if world is not None:
            close(world)


class Outcome(NamedTuple):
    """How b episodes went."""

    success: Bool[np.ndarray, " b"]
    steps: Int64[np.ndarray, " b"]
    """Environment steps until the goal was reached, or the budget."""
    decisions: int
    """Calls of the policy, counted per episode."""
    seconds: float
    """Spent in these calls, all together."""
    recorded: list[list[np.ndarray]]
    """Frames of the recorded episodes, the first one included."""


def run_episodes(
    env: GoalEnv,
    policy: VectorPolicy,
    *,
    b: int,
    budget: int,
    record: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Let a policy that has begun act in b episodes for at most `budget` environment steps each.

    An episode ends at the step at which its goal is reached; the others go on without it.

    Args:
        record: keep the frames of this many of the first episodes.
        advance: told of every environment step of the whole batch.
    """
    success, steps = np.zeros(b, bool), np.full(b, budget)
    rows, taken, decisions, seconds = np.arange(b), 0, 0, 0.0
    recorded: list[list[np.ndarray]] = [[] for _ in range(min(record, b))]

    def keep_frames(which: np.ndarray) -> None:
        which = which[which < len(recorded)]
        if len(which):
            for row, frame in zip(which, env.observe(which).frames):
                recorded[row].append(frame.copy())

    keep_frames(rows)
    while taken < budget and len(rows):
        observation = env.observe(rows)
        clock = time.perf_counter()
        actions = policy.actions(observation)
        seconds += time.perf_counter() - clock
        decisions += len(rows)
        running = np.ones(len(rows), bool)
        for k in range(min(actions.shape[1], budget - taken)):
            left = np.flatnonzero(running)
            reached = env.step(rows[left], actions[left, k])
            taken += 1
            advance(1)
            keep_frames(rows[left])
            success[rows[left[reached]]] = True
            steps[rows[left[reached]]] = taken
            running[left[reached]] = False
            if not running.any():
                break
        rows = rows[running]
    advance(budget - taken)
    return Outcome(success, steps, decisions, seconds, recorded)
