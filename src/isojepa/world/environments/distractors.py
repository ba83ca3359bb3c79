"""Dots that move predictably and mean nothing: they bounce off the picture's edges."""

from dataclasses import dataclass

import numpy as np

from isojepa.errors import UserError
from isojepa.world.environments.drawing import Colour, Picture, paint_dot

MOST = 16


@dataclass(frozen=True, kw_only=True)
class Distractors:
    """n dots on straight paths at constant speed, reflected at the edges; a function of time."""

    n: int = 0
    """Dots."""
    speed: float = 0.02
    """Way per environment step, in sides of the picture."""
    radius: float = 0.045
    """Standard deviation of a dot, in sides of the picture."""
    colour: Colour = (70, 90, 220)

    def __post_init__(self) -> None:
        if not 0 <= self.n <= MOST:
            raise UserError(f"distractors={self.n}: expected 0 to {MOST}")

    def begin(self, random: np.random.Generator) -> np.ndarray:
        """Places and velocities (n, 4) at an episode's start, in sides of the picture."""
        places, angles = random.random((self.n, 2)), random.uniform(0, 2 * np.pi, self.n)
        ways = self.speed * np.stack([np.cos(angles), np.sin(angles)], 1)
        return np.concatenate([places, ways], 1)

    def places(self, begun: np.ndarray, t: int) -> np.ndarray:
        """Where they are (n, 2) after t steps, in sides of the picture."""
        unfolded = np.mod(begun[:, :2] + t * begun[:, 2:], 2.0)
        return np.minimum(unfolded, 2.0 - unfolded)

    def paint(self, picture: Picture, begun: np.ndarray, t: int) -> None:
        """Paint them, in place."""
        side = len(picture)
        for x, y in self.places(begun, t) * side - 0.5:
            paint_dot(picture, float(x), float(y), self.radius * side, self.colour)
