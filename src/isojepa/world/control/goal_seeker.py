"""A trained run as a policy of the platform, for collecting episodes."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from isojepa.randomness import seed_from
from isojepa.world.control.config import PlanConfig, Prepared, prepare
from isojepa.world.control.play import Seen
from isojepa.world.control.scoring import planning_policy


def load_policy(run: Path, env_id: str, seed: int) -> "GoalSeeker":
    """A trained run as a policy of the platform, which seeks goals drawn from the run's data set.

    Args:
        run: run folder of `isojepa world train`.
        env_id: the environment it acts in.
        seed: of goals and plans, until `set_seed` gives another.
    """
    config = PlanConfig(run=run, env=env_id, protocol="published", films=0)
    return GoalSeeker(prepare(config), seed)


class GoalSeeker:
    """The platform's policy interface over planning: one goal after another, from the data set.

    Every `budget` steps a new goal frame is drawn.

    Args:
        prepared: see `prepare`.
        seed: see `load_policy`.
    """

    type = "world_model"

    def __init__(self, prepared: Prepared, seed: int) -> None:
        self.prepared = prepared
        self.set_seed(seed)

    def set_env(self, env: Any) -> None:
        """Remember the platform's environments and begin anew."""
        self.env = env
        self.set_seed(self.seed)

    def set_seed(self, seed: int) -> None:
        """Begin anew: what follows depends on this seed alone."""
        self.seed = seed
        self._step = 0

    def get_action(self, info_dict: dict[str, Any], **_: Any) -> Float[np.ndarray, "n a"]:
        """The next action of every environment."""
        frames = np.asarray(info_dict["pixels"])[:, -1]
        n, budget = len(frames), self.prepared.config.budget
        if self._step % budget == 0:
            self._begin(n)
        into = self._step % self.prepared.model.frame_skip
        if into == 0:
            self._block = self._policy.act(Seen(np.arange(n), frames, {}))
        self._step += 1
        space = self.env.single_action_space
        return np.clip(self._block[:, into], space.low, space.high)

    def _begin(self, n: int) -> None:
        data = self.prepared.trajectories
        seed = seed_from(self.seed, self._step)
        rows = np.random.default_rng(seed).integers(int(data.lengths.sum()), size=n)
        space = self.env.single_action_space
        self._policy = planning_policy(self.prepared, space.low, space.high, seed=seed)
        self._policy.begin(data.rows(rows))
