"""Any Gymnasium environment that draws itself, as an agent sees it: frames in, actions out."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Float32, UInt8

from isojepa.errors import UserError
from isojepa.world.environments.fast import FAST, PREFIX, register_fast
from isojepa.world.environments.platform import explained, platform, quiet
from isojepa.world.episodes.decoded import resize

Frame = UInt8[np.ndarray, "y x c"]
SUCCESS = ("success", "is_success")


class Seen(NamedTuple):
    """What a step leads to."""

    frame: Frame
    reward: float
    terminated: bool
    """The task is over: nothing can be earned from here on."""
    truncated: bool
    """The episode was cut: the task would have gone on."""
    success: bool | None
    """As the environment defines it; None where it does not."""
    info: Mapping[str, Any]


class Actions(NamedTuple):
    """An action space as the agent sees it: a numbers in [-1, 1], or the choice of one of a."""

    discrete: bool
    a: int
    low: Float32[np.ndarray, " a"]
    high: Float32[np.ndarray, " a"]
    """Of the environment; of no use where the choice is discrete."""
    first: int = 0
    """Number of the first choice."""

    def to_env(self, action: Float32[np.ndarray, " a"]) -> Any:
        """What the environment takes: bounds restored, or the number of the largest entry."""
        if self.discrete:
            return self.first + int(action.argmax())
        action = np.clip(action, -1, 1)
        return (self.low + (action + 1) / 2 * (self.high - self.low)).astype(np.float32)

    def from_env(self, actions: np.ndarray) -> Float32[np.ndarray, "n a"]:
        """The inverse, for recorded actions (n, ...); continuous ones beyond the bounds are cut."""
        if self.discrete:
            chosen = np.asarray(actions).reshape(len(actions)).astype(np.int64) - self.first
            return np.eye(self.a, dtype=np.float32)[chosen]
        width = np.maximum(self.high - self.low, 1e-12)
        unit = 2 * (np.asarray(actions, np.float32).reshape(len(actions), -1) - self.low) / width
        return np.clip(unit - 1, -1, 1).astype(np.float32)


class RawActions(NamedTuple):
    """An action space as a data set has it: a numbers in the environment's units, or one of a."""

    discrete: bool
    first: int
    low: Float32[np.ndarray, " a"]
    high: Float32[np.ndarray, " a"]

    def to_env(self, actions: Float[np.ndarray, "n a"]) -> np.ndarray:
        """What n environments take: vectors cut to the bounds, or the largest entry's number."""
        if self.discrete:
            return self.first + actions.argmax(-1)
        return np.clip(actions, self.low, self.high)

    def from_env(self, taken: np.ndarray) -> Float32[np.ndarray, "n a"]:
        """The inverse: what was taken as vectors, a choice as 1 among zeros."""
        if self.discrete:
            return np.eye(len(self.low), dtype=np.float32)[np.asarray(taken, np.int64) - self.first]
        return np.asarray(taken, np.float32)


def raw_actions(space: gym.Space[Any], env_id: str) -> RawActions:
    """An action space as a data set has it; raises as `actions_of`."""
    own = actions_of(space, env_id)
    low = np.zeros(own.a, np.float32) if own.discrete else own.low
    return RawActions(own.discrete, own.first, low, own.high)


class PixelEnv:
    """One environment, whose present episode can be made again from its seed and its actions."""

    def __init__(self, env: gym.Env[Any, Any], env_id: str, frame_size: int) -> None:
        self.env, self.env_id, self.frame_size = env, env_id, frame_size
        self.actions = actions_of(env.action_space, env_id)
        box = env.observation_space
        shape = (frame_size, frame_size, 3)
        self._draws = not (
            isinstance(box, spaces.Box) and box.shape == shape and box.dtype == np.uint8
        )
        self.seed = 0
        """Of the present episode."""
        self.taken: list[Float32[np.ndarray, " a"]] = []
        """Its actions so far, one per environment step."""

    def reset(self, seed: int) -> Frame:
        """Begin an episode, a function of the seed."""
        self.seed, self.taken = seed, []
        with quiet():
            observation, _ = self.env.reset(seed=seed % 2**32)
        return self._frame(observation)

    def step(self, action: Float32[np.ndarray, " a"]) -> Seen:
        """One environment step; the action is in [-1, 1], or its largest entry is the choice."""
        self.taken.append(action)
        with quiet():
            observation, reward, terminated, truncated, info = self.env.step(
                self.actions.to_env(action)
            )
        success = next((bool(info[k]) for k in SUCCESS if _says(info.get(k))), None)
        return Seen(
            self._frame(observation),
            float(reward),
            bool(terminated),
            bool(truncated),
            success,
            info,
        )

    def again(self, seed: int, taken: Sequence[Float32[np.ndarray, " a"]]) -> Frame:
        """Come back to where an episode was: reset by its seed and repeat its actions."""
        frame = self.reset(seed)
        for action in taken:
            frame = self.step(action).frame
        return frame

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def _frame(self, observation: Any) -> Frame:
        frame = self.env.render() if self._draws else observation
        if not isinstance(frame, np.ndarray) or frame.ndim != 3 or frame.shape[-1] != 3:
            raise UserError(f"--env {self.env_id}: it does not draw itself in colour")
        return resize(frame.astype(np.uint8, copy=False), self.frame_size)


def make_pixel_env(
    env_id: str, *, frame_size: int, options: Mapping[str, Any] | None = None
) -> PixelEnv:
    """An environment by its Gymnasium id; frames are what it draws, as squares of that size.

    Args:
        options: arguments of the environment's constructor.

    Raises:
        UserError: for an unknown id, options that it does not take, an action space other than
            one discrete choice or bounded numbers, or an environment that does not draw itself.
    """
    register_fast()
    own: dict[str, Any] = {"frame_size": frame_size} if env_id.startswith(PREFIX) else {}
    if env_id.startswith("swm/"):
        platform()  # registers them
    if ":" not in env_id and env_id not in gym.registry:
        raise UserError(f"--env {env_id}: no such environment; {_close_to(env_id)}")
    with quiet(), explained(env_id):
        try:
            env = gym.make(env_id, render_mode="rgb_array", **own, **(options or {}))
        except TypeError as error:
            raise UserError(f"--env {env_id}: {error}") from error
    return PixelEnv(env, env_id, frame_size)


def actions_of(space: gym.Space[Any], env_id: str) -> Actions:
    """An action space as the agent sees it.

    Raises:
        UserError: for a space other than Discrete or a bounded Box.
    """
    if isinstance(space, spaces.Discrete):
        a, one = int(space.n), np.ones(int(space.n), np.float32)
        return Actions(True, a, -one, one, int(space.start))
    if (
        isinstance(space, spaces.Box)
        and np.isfinite(space.low).all() & np.isfinite(space.high).all()
    ):
        low, high = (x.reshape(-1).astype(np.float32) for x in (space.low, space.high))
        if len(space.shape) == 1:
            return Actions(False, len(low), low, high)
    raise UserError(
        f"--env {env_id}: its actions are {space}; an agent takes one discrete choice, or a vector "
        "of numbers with bounds"
    )


def _says(value: object) -> bool:
    """Whether an info's entry is a yes or a no."""
    return isinstance(value, bool | np.bool_) or value in (0, 1)


def _close_to(env_id: str) -> str:
    known = {name.lower(): name for name in [*FAST, *gym.registry]}
    short = {name.split("/")[-1].split("-")[0]: name for name in known}
    asked = env_id.lower()
    close = difflib.get_close_matches(asked, known, n=2, cutoff=0.6)
    close += [short[x] for x in difflib.get_close_matches(asked, short, n=1, cutoff=0.6)]
    names = list(dict.fromkeys(known[name] for name in close))
    if names:
        return f"did you mean {' or '.join(names[:2])}?"
    return f"the fast ones are {', '.join(FAST)}"
