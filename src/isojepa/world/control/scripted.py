"""What planning is measured against: a cloned policy, chance, a script, a straight line."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8

from isojepa.errors import UserError
from isojepa.world.control.frames import model_frames
from isojepa.world.control.policy import Observation, State, VectorPolicy, seeds_for
from isojepa.world.environments.environment import Row
from isojepa.world.learning.cloning import GoalPolicy


class ClonedPolicy(VectorPolicy):
    """Behaviour cloning: the block of actions that a network gives for the frame and the goal.

    Args:
        network: in eval mode; see `learning/cloning.py`.
    """

    def __init__(self, network: GoalPolicy) -> None:
        self.network = network
        self.device = next(network.parameters()).device

    def begin(self, b: int, goals: UInt8[np.ndarray, "b y x c"] | None) -> None:
        """See `VectorPolicy`.

        Raises:
            UserError: without goals.
        """
        del b
        if goals is None:
            raise UserError("a cloned policy needs a goal: give it an image of what it shall see")
        self._goals = model_frames(goals, self.network.spec.frame_size).to(self.device)

    @torch.no_grad()
    def actions(self, observation: Observation) -> Float[np.ndarray, "n k a"]:
        """The next block of every episode."""
        spec = self.network.spec
        now = model_frames(observation.frames, spec.frame_size).to(self.device)
        block = self.network(now, self._goals[torch.from_numpy(observation.rows).to(self.device)])
        actions = spec.scale.restore(block.float().cpu().numpy())
        return actions.reshape(len(now), spec.frame_skip, -1)


class RandomPolicy(VectorPolicy):
    """Uniform within the action bounds, anew at every step."""

    def __init__(
        self,
        low: Float[np.ndarray, " a"],
        high: Float[np.ndarray, " a"],
        *,
        seed: int | Sequence[int] = 0,
    ) -> None:
        self.low, self.high, self.seed = low, high, seed
        self.bounds = low, high

    def begin(self, b: int, goals: UInt8[np.ndarray, "b y x c"] | None) -> None:
        """See `VectorPolicy`."""
        del goals
        self._random = [np.random.default_rng(seed) for seed in seeds_for(self.seed, b)]

    def actions(self, observation: Observation) -> Float[np.ndarray, "n k a"]:
        """One action each."""
        own = [self._random[i] for i in observation.rows]
        drawn = [random.uniform(self.low, self.high, (1, len(self.low))) for random in own]
        return np.stack(drawn).astype(np.float32)


class ScriptedPolicy(VectorPolicy):
    """One action at a time from the environment's own quantities: an oracle, or a straight line.

    Args:
        script: observation -> actions (n, a).
        sense: the quantities where it acts in one environment of its own, each (1, ...).
    """

    def __init__(
        self, script: Callable[[Observation], np.ndarray], sense: Callable[[], State] = dict
    ) -> None:
        self.script, self.sense = script, sense

    def begin(self, b: int, goals: UInt8[np.ndarray, "b y x c"] | None) -> None:
        """See `VectorPolicy`."""

    def actions(self, observation: Observation) -> Float[np.ndarray, "n k a"]:
        """One action each."""
        return self.script(observation).astype(np.float32)[:, None]


LINES = {"swm/TwoRoom-v1": ("proprio", 2, 5.0), "swm/PushT-v1": ("state", 2, 100.0)}
"""An agent's position: the column, its first dimensions; and its step under a full action."""


def straight_line(
    env_id: str, goals: Sequence[Row], sense: Callable[[], State] = dict
) -> ScriptedPolicy | None:
    """Go straight to the agent's position at the goal, whatever is between; None where unknown.

    Args:
        goals: rows of the data set, one per episode.
        sense: see `ScriptedPolicy`.
    """
    if env_id not in LINES:
        return None
    column, n, step = LINES[env_id]
    ends = np.stack([np.asarray(goal[column], np.float64)[:n] for goal in goals])

    def script(observation: Observation) -> np.ndarray:
        way = (ends[observation.rows] - observation.state[column][:, :n]) / step
        return way / np.maximum(1.0, np.linalg.norm(way, axis=1, keepdims=True))

    return ScriptedPolicy(script, sense)
