"""Vector environments set to pairs of a start and a goal, and episodes run in them."""

import re
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from isojepa.randomness import seed_from
from isojepa.world.control.policy import Observation, VectorPolicy
from isojepa.world.environments.environment import PIXELS, Environment, Row, StrictRule, World
from isojepa.world.environments.pixel_env import raw_actions
from isojepa.world.environments.platform import acting, quiet
from isojepa.world.environments.registry import environment
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

    def strictly(self, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"] | None:
        """Whether each has reached its goal by the strict rule too; None where there is none."""
        ...


class PlatformEnv:
    """A `GoalEnv` of the platform's environments.

    Actions are cut to the bounds of the action space before the environment sees them.

    Args:
        world: see `worlds.make_environments`.
        starts: rows of the data set, one per environment; likewise `goals`. Empty ones begin where
            a reset leads, and no goal is known.
        seeds: everything else about an environment, such as its colours, follows from its seed.
        known: what is known of the environment, by default by its id.
        vary: factors of variation that are drawn by the seeds too.
    """

    def __init__(
        self,
        world: World,
        starts: Sequence[Row],
        goals: Sequence[Row],
        *,
        seeds: list[int],
        known: Environment | None = None,
        vary: Sequence[str] = (),
    ) -> None:
        self.world, self.starts, self.goals = world, starts, goals
        self.env_id = str(world.envs.envs[0].spec.id)
        self.known = known or environment(self.env_id)
        reset(world, seeds, vary)
        if any(starts):
            self.frames, self.goal_frames = set_pairs(world, starts, goals, self.known)
        else:  # where an episode begins, under no goal
            self.frames, self.goal_frames = (world.infos[PIXELS][:, 0].copy() for _ in range(2))
        self.acts = raw_actions(world.envs.single_action_space, self.env_id)
        self.low, self.high = self.acts.low, self.acts.high
        self._over = np.zeros(len(starts), bool)  # ended by the environment, the goal not reached
        self.taken = self.cut = 0
        """Actions taken, counted per episode, and those of them that were cut."""
        self._write_states()
        self._held, self._legal = np.zeros(len(starts), np.int64), np.ones(len(starts), bool)
        self._rule = self._strict_rule()

    def observe(self, rows: Int64[np.ndarray, " n"]) -> Observation:
        """See `GoalEnv`."""
        state = {
            name: values[rows, 0]
            for name, values in self.world.infos.items()
            if isinstance(values, np.ndarray) and name != PIXELS
        }
        return Observation(rows, self.frames[rows], state)

    def strictly(self, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"] | None:
        """See `GoalEnv`."""
        if self._rule is None:
            return None
        return self._legal[rows] & (self._held[rows] >= self._rule.hold)

    def step(
        self, rows: Int64[np.ndarray, " n"], actions: Shaped[np.ndarray, "n a"]
    ) -> Bool[np.ndarray, " n"]:
        """See `GoalEnv`."""
        every = np.zeros((len(self.frames), len(self.low)), np.float32)
        every[rows] = np.clip(actions, self.low, self.high)
        beyond = ~np.isclose(every[rows], actions, rtol=1e-4, atol=1e-5).all(1)  # not by rounding
        cut = 0 if self.acts.discrete else int(beyond.sum())
        self.taken, self.cut = self.taken + len(rows), self.cut + cut
        mask = np.zeros(len(self.frames), bool)
        mask[rows] = True
        before = self._needed(rows)
        with quiet(), acting(self.env_id):
            _, _, terminated, _, self.world.infos = self.world.envs.step(
                self.acts.to_env(every), mask=mask & ~self._over
            )
        self.frames[rows] = self.world.infos[PIXELS][rows, 0]
        self._follow(rows, before, self._needed(rows))
        if self.known.own_rule:
            return terminated[rows]
        reached = np.array([self._solved(i) for i in rows.tolist()])
        if self.known.states is not None:  # else it ends at a goal of its own, which is not ours
            self._over[rows] |= terminated[rows] & ~reached
        return reached

    def _solved(self, i: int) -> bool:
        """Whether one environment has reached its goal, where that is told by its state."""
        if self._over[i] or self.known.solved is None or self.known.states is None:
            return False
        state = self.known.states(self.world.envs.envs[i].unwrapped)
        return bool(self.known.solved(state, self.goals[i]))

    def _strict_rule(self) -> StrictRule | None:
        """The environment's, where its states and the goals say all that it needs."""
        rule = self.known.strict
        if rule is None or any(name not in goal for goal in self.goals for name in rule.needs):
            return None
        self._rule = rule
        return rule if all(name in self._columns() for name in rule.needs) else None

    def _columns(self) -> dict[str, str]:
        """Names of the platform's quantities by those of a data set's columns."""
        return {re.sub(r"[./]", "_", name): name for name in self.world.infos}

    def _needed(self, rows: Int64[np.ndarray, " n"]) -> Row:
        """What the strict rule asks of the present states, (n, ...)."""
        if self._rule is None:
            return {}
        names = self._columns()
        return {name: self.world.infos[names[name]][rows, 0].copy() for name in self._rule.needs}

    def _follow(self, rows: Int64[np.ndarray, " n"], before: Row, after: Row) -> None:
        """Count the steps at which the strict rule holds, and note those that may not be taken."""
        if self._rule is None:
            return
        goals = {name: np.stack([self.goals[i][name] for i in rows]) for name in self._rule.needs}
        near = np.asarray(self._rule.near(after, goals), bool)
        self._held[rows] = np.where(near, self._held[rows] + 1, 0)
        if self._rule.legal is not None:
            for k, i in enumerate(rows):
                inner = self.world.envs.envs[i].unwrapped
                was, now = ({name: x[k] for name, x in state.items()} for state in (before, after))
                self._legal[i] &= self._rule.legal(inner, was, now)

    def _write_states(self) -> None:
        """Set the platform's record of each state, which is of the reset until the first step."""
        for i, (start, goal) in enumerate(zip(self.starts, self.goals)):
            for prefix, row in (("", start), ("goal_", goal)):
                for name, value in row.items():
                    held = self.world.infos.get(prefix + name)
                    if isinstance(held, np.ndarray) and held[i, 0].shape == np.shape(value):
                        held[i, 0] = value


class Stage:
    """Environments of one id, made when needed, put into pair after pair; see `PlatformEnv`."""

    def __init__(
        self,
        env_id: str,
        *,
        frame_size: int,
        known: Environment | None = None,
        vary: Sequence[str] = (),
    ) -> None:
        self.env_id, self.frame_size, self.known, self.vary = env_id, frame_size, known, vary
        self._world: World | None = None

    def set_up(
        self, starts: Sequence[Row], goals: Sequence[Row], *, seeds: Sequence[int]
    ) -> PlatformEnv:
        """The environments of these pairs; those set up before are no longer of use."""
        b = len(starts)
        if self._world is None or self._world.num_envs != b:
            self.close()
            self._world = make_environments(self.env_id, b, frame_size=self.frame_size)
        own = [seed % 2**31 for seed in seeds]
        return PlatformEnv(self._world, starts, goals, seeds=own, known=self.known, vary=self.vary)

    def close(self) -> None:
        """Close the environments."""
        if self._world is not None:
            close(self._world)
        self._world = None


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
    with closing(Stage(env_id, frame_size=frame_size)) as stage:
        for first in range(0, len(starts), at_once):
            part = slice(first, first + at_once)
            seeds = [seed_from(seed, i) for i in range(len(starts))[part]]
            yield first, stage.set_up(starts[part], goals[part], seeds=seeds)


class Outcome(NamedTuple):
    """How b episodes went."""

    success: Bool[np.ndarray, " b"]
    steps: Int64[np.ndarray, " b"]
    """Environment steps until the goal was reached, or the budget."""
    strict: Bool[np.ndarray, " b"] | None
    """Whether it was reached by the strict rule; None where there is none."""
    strict_steps: Int64[np.ndarray, " b"]
    """Environment steps until then, or the budget."""
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

    An episode ends at the step at which its goal is reached by both rules, where there are two; the
    others go on without it.

    Args:
        record: keep the frames of this many of the first episodes.
        advance: told of every environment step of the whole batch.
    """
    success, steps = np.zeros(b, bool), np.full(b, budget)
    strict, strict_steps = np.zeros(b, bool), np.full(b, budget)
    two_rules = env.strictly(np.arange(b)) is not None
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
            for now, ever, when in (
                (reached, success, steps),
                (env.strictly(rows[left]), strict, strict_steps),
            ):
                if now is not None:
                    new = rows[left[now & ~ever[rows[left]]]]
                    ever[new], when[new] = True, taken
            over = success[rows] & (strict[rows] if two_rules else True)
            running[over] = False
            if not running.any():
                break
        rows = rows[running]
    advance(budget - taken)
    return Outcome(
        success, steps, strict if two_rules else None, strict_steps, decisions, seconds, recorded
    )
