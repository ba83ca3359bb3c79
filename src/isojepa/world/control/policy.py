"""What a robot's loop calls, and the same for many environments at once."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int64, UInt8

from isojepa.errors import UserError
from isojepa.randomness import seed_from

State = Mapping[str, np.ndarray]


@runtime_checkable
class Policy(Protocol):
    """Chooses actions from what a camera sees, one at a time."""

    def reset(self) -> None:
        """Forget the goal and all that was observed: an episode begins."""
        ...

    def act(
        self, frame: UInt8[np.ndarray, "y x c"], goal: UInt8[np.ndarray, "y x c"] | None = None
    ) -> Float[np.ndarray, " a"]:
        """The next action, in the environment's units; to be called once per environment step.

        Args:
            frame: what is seen now.
            goal: what shall be seen; None keeps the one given last. Another one begins anew.

        Raises:
            UserError: before `reset`, for a frame or goal that is no picture of bytes, or without
                a goal where one is needed.
        """
        ...


class Observation(NamedTuple):
    """What is observed of the n of b environments that still run."""

    rows: Int64[np.ndarray, " n"]
    """Which they are."""
    frames: UInt8[np.ndarray, "n y x c"]
    state: State
    """The environment's own quantities, (n, ...): for scripted policies, never for a model."""


def check_picture(picture: np.ndarray, what: str) -> None:
    """Raise `UserError` for what is no picture (y, x, 3) of bytes."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise UserError(
            f"the {what} has the shape {picture.shape} of {picture.dtype}; give an array of "
            "uint8 of the shape (height, width, 3)"
        )


def seeds_for(seed: int | Sequence[int], b: int) -> list[int]:
    """A seed for each of b episodes: those given, or made of one."""
    if isinstance(seed, int):
        return [seed_from(seed, i) for i in range(b)]
    if len(seed) != b:
        raise ValueError(f"{len(seed)} seeds for {b} episodes")
    return list(seed)


class VectorPolicy(ABC):
    """A `Policy` that is made to act in a vector environment.

    It gives k actions at a time, and acts in one environment by handing them out one by one.
    """

    bounds: tuple[np.ndarray, np.ndarray] | None = None
    """Least and greatest value of each action dimension, to which `act` cuts actions."""
    total_plans = 0
    """Plans made so far, counted per episode, by a policy that plans."""
    total_seconds = 0.0
    """Spent planning, looking at frames left out."""
    total_evaluations = 0
    """Sequences tried."""
    sense: Callable[[], State] = dict
    """The state of the one environment of `act`, (1, ...): for scripted policies."""
    _goal: np.ndarray | None = None
    _reset = False
    _begun = False
    _left: tuple[np.ndarray, ...] = ()

    @abstractmethod
    def begin(self, b: int, goals: UInt8[np.ndarray, "b y x c"] | None) -> None:
        """Forget what was: b episodes begin, and these are their goals."""

    @abstractmethod
    def actions(self, observation: Observation) -> Float[np.ndarray, "n k a"]:
        """The next k actions of each running episode, k the same for all calls."""

    def reset(self) -> None:
        """See `Policy`."""
        self._goal, self._begun, self._reset = None, False, True

    def act(self, frame: np.ndarray, goal: np.ndarray | None = None) -> Float[np.ndarray, " a"]:
        """See `Policy`; frames are looked at every k-th time."""
        if not self._reset:
            raise UserError("a policy was asked to act before policy.reset(): call it first")
        check_picture(frame, "frame")
        if goal is not None:
            check_picture(goal, "goal")
        if goal is not None and not np.array_equal(goal, self._goal):  # type: ignore[arg-type]
            self._goal, self._begun = goal.copy(), False
        if not self._begun:
            self.begin(1, None if self._goal is None else self._goal[None])
            self._begun, self._left = True, ()
        if not self._left:
            observation = Observation(np.zeros(1, np.int64), frame[None], self.sense())
            self._left = tuple(self.actions(observation)[0])
        action, *left = self._left
        self._left = tuple(left)
        return action if self.bounds is None else np.clip(action, *self.bounds)
