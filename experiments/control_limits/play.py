"""Start and goal pairs played by a planner, and how much of the way is left after every block."""

import time
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from isojepa.randomness import seed_from
from isojepa.runs.typed import to_json
from isojepa.world import (
    Control,
    Observation,
    PlanningPolicy,
    VectorPolicy,
    platform_envs,
    run_episodes,
    success_rate,
)
from two_room import path_length, position

AT_ONCE = 50  # episodes


class Ways(NamedTuple):
    """Starts and goals: rows of the data set."""

    starts: Int64[np.ndarray, " n"]
    goals: Int64[np.ndarray, " n"]


class Watched(VectorPolicy):
    """A policy that plans, and where its agents were whenever it was asked."""

    def __init__(self, policy: PlanningPolicy) -> None:
        self.policy, self.places = policy, list[tuple[np.ndarray, np.ndarray]]()

    def begin(self, b: int, goals: np.ndarray | None) -> None:
        """See `VectorPolicy`."""
        self.policy.begin(b, goals)

    def actions(self, observation: Observation) -> np.ndarray:
        """See `VectorPolicy`."""
        place = np.array(observation.state["proprio"], np.float64)
        self.places.append((observation.rows, place))
        return self.policy.actions(observation)


def attempt(
    control: Control, ways: Ways, *, budget: int, seed: int, warm_start: bool = True
) -> dict[str, Any]:
    """Play the pairs; success, and the path that is left at the start and after every block.

    What is left is 0 once the goal is reached.

    Args:
        warm_start: begin each search at what is left of the last plan.
    """
    data, known, clock = control.trajectories, control.known, time.process_time()
    rows_of = [[{k: data.column(k)[r] for k in known.needs} for r in side] for side in ways]
    goal = position(data, ways.goals)
    success, left, seconds, plans = [], [], 0.0, 0
    envs = platform_envs(
        known.id, *rows_of, at_once=AT_ONCE, frame_size=control.model.frame_size, seed=seed
    )
    for first, env in envs:
        b = len(env.goals)
        planning = control.policy(env.low, env.high, seed=seed_from(seed, first))
        assert isinstance(planning, PlanningPolicy)
        planning.warm_start = warm_start
        policy = Watched(planning)
        policy.begin(b, env.goal_frames)
        success.append(run_episodes(env, policy, b=b, budget=budget).success)
        trace = np.zeros((b, budget // control.model.frame_skip))
        for k, (rows, places) in enumerate(policy.places):
            trace[rows, k] = path_length(places, goal[first + rows])
        left.append(trace)
        seconds, plans = seconds + planning.total_seconds, plans + planning.total_plans
    reached = np.concatenate(success)
    return {
        **share(reached),
        "reached": reached.astype(int).tolist(),
        "left": np.concatenate(left).round(1).tolist(),
        "plan_ms": 1000 * seconds / plans,
        "cpu_seconds": time.process_time() - clock,
    }


def share(reached: np.ndarray) -> dict[str, Any]:
    """Success and its interval, as JSON."""
    return to_json(success_rate(reached))


def in_words(found: dict[str, Any]) -> str:
    """A share with its interval."""
    low, high = found["interval"]
    words = f"{100 * found['success']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{words}, n = {found['pairs']}"
