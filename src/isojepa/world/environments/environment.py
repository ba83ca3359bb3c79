"""What an environment is, to us and to the platform, as types."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

Row = Mapping[str, np.ndarray]
"""Columns of one step of a data set, or of several with the same leading axes."""
Infos = dict[str, Any]
"""What the platform's environments say beside rewards: arrays (n, 1, ...), and more."""
PIXELS = "pixels"  # the frames among them


@runtime_checkable
class VectorEnv(Protocol):
    """The platform's vector environment, of Gymnasium environments."""

    envs: Sequence[Any]
    single_action_space: Any

    def step(self, actions: np.ndarray, *, mask: np.ndarray | None = None) -> tuple[Any, ...]:
        """Observations, rewards, terminated, truncated, infos; only where the mask is True."""
        ...


@runtime_checkable
class PlatformPolicy(Protocol):
    """What the platform asks for the next action (n, a) of every environment."""

    def set_env(self, env: VectorEnv) -> None: ...
    def get_action(self, info_dict: Infos) -> np.ndarray: ...


@runtime_checkable
class World(Protocol):
    """A `stable_worldmodel.World`."""

    envs: VectorEnv
    infos: Infos
    num_envs: int

    def reset(self, seed: list[int], options: dict[str, Any] | None = None) -> None: ...
    def close(self) -> None: ...
    def set_policy(self, policy: PlatformPolicy) -> None: ...


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
class StrictRule:
    """Success as CLEAR-LeWM counts it, beside the environment's own rule."""

    words: str
    """The rule, for people."""
    needs: tuple[str, ...]
    """Columns that `near` reads."""
    near: Callable[[Row, Row], np.ndarray]
    """Whether a state is as near to a goal as asked, (state, goal)."""
    hold: int = 1
    """Steps one after the other at which that has to hold."""
    legal: Callable[[Any, Row, Row], bool] | None = None
    """Whether a step may be taken, (unwrapped environment, state before, state after): an episode
    with one that may not does not count."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What the platform's environments do not say of themselves."""

    id: str
    steps: int = 100
    """Longest episode when collecting, as in the published data."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Arguments of the constructor."""
    collect_options: Mapping[str, object] = field(default_factory=dict)
    """Those that differ when collecting."""
    needs: tuple[str, ...] = ()
    """Columns that `set_start`, `set_goal`, `distance` and `solved` read."""
    set_start: Callable[..., None] | None = None
    """Put an unwrapped environment into the state of a data set's row, (environment, row)."""
    set_goal: Callable[..., None] | None = None
    """Make a data set's row the state that the environment takes for success, likewise."""
    distance: Callable[[Row, Row], np.ndarray] | None = None
    """Between states, in the unit the success rule uses; arrays of the rows' leading axes."""
    unit: str = ""
    solved: Callable[[Row, Row], np.ndarray] | None = None
    """Whether the environment would call a state a success under a goal, (state, goal)."""
    strict: StrictRule | None = None
    walled: Callable[[Row, Row], np.ndarray] | None = None
    """Whether something stands between a state and a goal, (state, goal)."""
    states: Callable[[Any], Row] | None = None
    """What to record of an unwrapped environment beside what it says of itself."""
    quantities: tuple[Quantity, ...] = ()
    scripted: Callable[[float | None, int], PlatformPolicy] | None = None
    """The platform's scripted policy, of (action noise or None for its usual one, seed)."""
    oracle: Callable[[int], PlatformPolicy] | None = None
    """The scripted policy without noise, of (seed), where it can reach a goal set from outside."""
    own_rule: bool = True
    """Whether the environment says when a goal is reached; else `solved` does."""
    no_script: str = ""
    """Why there is no scripted policy."""
