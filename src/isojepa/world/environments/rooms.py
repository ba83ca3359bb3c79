"""The two rooms of the platform's TwoRoom: which side of the wall, and where the door is."""

from typing import Any

import numpy as np

WALL = 112.0  # pixels of 224, the middle of the wall
UPRIGHT = 1  # the wall's axis: x tells the rooms apart


def in_other_room(a: np.ndarray, b: np.ndarray, axis: int = 0) -> np.ndarray:
    """Whether two positions (..., 2) lie on different sides of the wall.

    Args:
        axis: of the positions that tells the rooms apart: 0 where the wall is upright, as usual.
    """
    return np.asarray((a[..., axis] > WALL) != (b[..., axis] > WALL))


def crosses_legally(env: Any, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a step from one position (2,) to another stays in its room or leads through a door.

    The straight way between them has to meet the middle of the wall within a door's opening.

    Args:
        env: unwrapped, whose doors they are.
    """
    axis = 0 if int(env.wall_axis) == UPRIGHT else 1
    if not in_other_room(before, after, axis):
        return True
    share = (WALL - before[axis]) / (after[axis] - before[axis])
    across = before[1 - axis] + share * (after[1 - axis] - before[1 - axis])
    doors, sizes = (np.asarray(x, np.float64) for x in (env.door_positions, env.door_sizes))
    return bool((np.abs(across - doors) <= sizes).any())
