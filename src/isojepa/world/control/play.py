"""Episodes played by a policy: all of them at once, each until its goal is reached or time is
up."""

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped, UInt8


class Seen(NamedTuple):
    """What a policy sees of the n episodes that still run."""

    rows: Int64[np.ndarray, " n"]
    """Which of the b episodes they are."""
    frames: UInt8[np.ndarray, "n y x c"]
    state: dict[str, np.ndarray]
    """The environment's own quantities, (n, ...): for scripted policies, never for a model."""


@runtime_checkable
class Stage(Protocol):
    """b environments, each at the start of its pair and aware of its goal."""

    def look(self, rows: Int64[np.ndarray, " n"]) -> Seen:
        """The present frames and states of some episodes."""
        ...

    def step(
        self, rows: Int64[np.ndarray, " n"], actions: Shaped[np.ndarray, "n a"]
    ) -> Bool[np.ndarray, " n"]:
        """Act in some episodes; whether each has reached its goal by the environment's rule."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Chooses the next few actions of every running episode."""

    def begin(self, goals: UInt8[np.ndarray, "b y x c"]) -> None:
        """Forget what was; these are the b goals now."""
        ...

    def act(self, seen: Seen) -> Float[np.ndarray, "n k a"]:
        """The next k actions of each episode, k the same for all calls, in the environment's
        units."""
        ...


class Outcome(NamedTuple):
    """How b episodes went."""

    success: Bool[np.ndarray, " b"]
    steps: Int64[np.ndarray, " b"]
    """Environment steps until the goal was reached, or the budget."""
    decisions: int
    """Calls of the policy, counted per episode."""
    seconds: float
    """Spent in these calls, all together."""
    films: list[list[np.ndarray]]
    """Frames of the recorded episodes, the first one included."""


def play(
    stage: Stage,
    policy: Policy,
    *,
    b: int,
    budget: int,
    record: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Play b episodes for at most `budget` environment steps each.

    An episode ends at the step at which its goal is reached; the others go on without it.

    Args:
        record: film this many of the first episodes.
        advance: told of every environment step of the whole batch.
    """
    success, steps = np.zeros(b, bool), np.full(b, budget)
    rows, taken, decisions, seconds = np.arange(b), 0, 0, 0.0
    films: list[list[np.ndarray]] = [[] for _ in range(min(record, b))]

    def film(which: np.ndarray) -> None:
        which = which[which < len(films)]
        if len(which):
            for row, frame in zip(which, stage.look(which).frames):
                films[row].append(frame.copy())

    film(rows)
    while taken < budget and len(rows):
        seen = stage.look(rows)
        clock = time.perf_counter()
        actions = policy.act(seen)
        seconds += time.perf_counter() - clock
        decisions += len(rows)
        running = np.ones(len(rows), bool)
        for k in range(min(actions.shape[1], budget - taken)):
            left = np.flatnonzero(running)
            reached = stage.step(rows[left], actions[left, k])
            taken += 1
            advance(1)
            film(rows[left])
            success[rows[left[reached]]] = True
            steps[rows[left[reached]]] = taken
            running[left[reached]] = False
            if not running.any():
                break
        rows = rows[running]
    advance(budget - taken)
    return Outcome(success, steps, decisions, seconds, films)
