"""A trained run as a policy of the platform, for collecting episodes."""

from pathlib import Path

import numpy as np

from isojepa.randomness import seed_from
from isojepa.world.control.config import Control, PlanConfig, open_control
from isojepa.world.control.policy import Observation
from isojepa.world.environments.environment import PIXELS, Infos, VectorEnv
from isojepa.world.environments.pixel_env import raw_actions


class GoalSeeker:
    """The platform's policy interface over planning: one goal after another, from the data set.

    Every `budget` steps a new goal frame is drawn.

    Args:
        control: see `open_control`.
        seed: of goals and plans, until `set_seed` gives another.
    """

    type = "world_model"

    def __init__(self, control: Control, seed: int) -> None:
        self.control = control
        self.set_seed(seed)

    @staticmethod
    def of_run(run: Path, env_id: str, seed: int) -> "GoalSeeker":
        """Of a run folder of `isojepa world train`, in an environment."""
        config = PlanConfig(run=run, env=env_id, protocol="published", films=0)
        return GoalSeeker(open_control(config), seed)

    def set_env(self, env: VectorEnv) -> None:
        """Remember the platform's environments and begin anew."""
        self._acts = raw_actions(env.single_action_space, self.control.known.id)
        self.set_seed(self.seed)

    def set_seed(self, seed: int) -> None:
        """Begin anew: what follows depends on this seed alone."""
        self.seed = seed
        self._step = 0

    def get_action(self, info_dict: Infos, **_: object) -> np.ndarray:
        """The next action of every environment."""
        frames = np.asarray(info_dict[PIXELS])[:, -1]
        n, budget = len(frames), self.control.config.budget
        if self._step % budget == 0:
            self._begin(n)
        into = self._step % self.control.model.frame_skip
        if into == 0:
            self._block = self._policy.actions(Observation(np.arange(n), frames, {}))
        self._step += 1
        return self._acts.to_env(self._block[:, into])

    def _begin(self, n: int) -> None:
        data, acts = self.control.trajectories, self._acts
        seed = seed_from(self.seed, self._step)
        rows = np.random.default_rng(seed).integers(int(data.lengths.sum()), size=n)
        self._policy = self.control.policy(acts.low, acts.high, seed=seed, discrete=acts.discrete)
        self._policy.begin(n, data.rows(rows))
