"""The platform's environments as the stage of `play`: set to pairs, then stepped."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Shaped

from isojepa.world.control.play import Seen
from isojepa.world.environments.environments import (
    Row,
    quiet,
    reset,
    set_pairs,
)


class PlatformStage:
    """b environments of a `stable_worldmodel.World`, each at its start and under its goal.

    Actions are cut to the bounds of the action space before the environment sees them.

    Args:
        world: see `environments.make_environments`.
        starts: rows of the data set, one per environment; likewise `goals`.
        seeds: everything else about an environment, such as its colours, follows from its seed.
    """

    def __init__(
        self, world: Any, starts: list[Row], goals: list[Row], *, seeds: list[int]
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

    def look(self, rows: Int64[np.ndarray, " n"]) -> Seen:
        """See `play.Stage`."""
        state = {
            name: values[rows, 0]
            for name, values in self.world.infos.items()
            if isinstance(values, np.ndarray) and name != "pixels"
        }
        return Seen(rows, self.frames[rows], state)

    def step(
        self, rows: Int64[np.ndarray, " n"], actions: Shaped[np.ndarray, "n a"]
    ) -> Bool[np.ndarray, " n"]:
        """See `play.Stage`."""
        every = np.zeros((len(self.frames), len(self.low)), np.float32)
        every[rows] = np.clip(actions, self.low, self.high)
        beyond = ~np.isclose(every[rows], actions, rtol=1e-4, atol=1e-5).all(1)  # not by rounding
        self.taken, self.cut = self.taken + len(rows), self.cut + int(beyond.sum())
        mask = np.zeros(len(self.frames), bool)
        mask[rows] = True
        with quiet():
            _, _, terminated, _, self.world.infos = self.world.envs.step(every, mask=mask)
        self.frames[rows] = self.world.infos["pixels"][rows, 0]
        return terminated[rows]

    def _write_states(self) -> None:
        """Set the platform's record of each state, which is of the reset until the first step."""
        for i, (start, goal) in enumerate(zip(self.starts, self.goals)):
            for prefix, row in (("", start), ("goal_", goal)):
                for name, value in row.items():
                    held = self.world.infos.get(prefix + name)
                    if isinstance(held, np.ndarray) and held[i, 0].shape == np.shape(value):
                        held[i, 0] = value
