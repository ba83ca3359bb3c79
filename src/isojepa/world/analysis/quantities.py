"""What there is to read from an embedding: physical quantities, as the data set records them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from isojepa.errors import UserError
from isojepa.world.environments.environment import Quantity
from isojepa.world.environments.registry import ENVIRONMENTS
from isojepa.world.episodes.trajectories import Trajectories

NOT_PHYSICAL = {
    "reward", "terminated", "truncated", "done", "success", "timestamp", "step", "step_idx",
    "index", "frame_index", "episode_index", "episode_idx", "ep_idx", "task_index", "seed",
}  # fmt: skip
MOST_COLUMNS = 64
"""Numbers per step of a column that is still taken for a list of quantities."""


class Targets(NamedTuple):
    """Quantities along the rows of a data set; n rows, q quantities."""

    quantities: tuple[Quantity, ...]
    values: Float64[np.ndarray, "n q"]
    """As recorded; angles in radians."""

    def at(self, rows: Int64[np.ndarray, " m"]) -> Float64[np.ndarray, "m q"]:
        """The values at some rows."""
        return self.values[rows]


def read_targets(trajectories: Trajectories) -> Targets:
    """The environment's quantities, where the table has them; else every numeric column.

    Quantities that never change are left out.

    Raises:
        UserError: if nothing is left to read.
    """
    known = ENVIRONMENTS.get(trajectories.env_id or "")
    columns = trajectories.columns
    named = [q for q in known.quantities if q.column in columns] if known else []
    quantities = named or _every_column(trajectories)
    values = [
        trajectories.column(q.column).reshape(len(trajectories.column(q.column)), -1)[:, q.index]
        for q in quantities
    ]
    numbers = [np.asarray(v, np.float64) for v in values]
    moving = [i for i, v in enumerate(numbers) if np.isfinite(v).any() and np.nanstd(v) > 1e-9]
    if not moving:
        raise UserError(
            f"{trajectories.path}: records nothing beside frames and actions that changes, so "
            "there is nothing to probe for; give --data with a column such as state or proprio"
        )
    return Targets(tuple(quantities[i] for i in moving), np.stack([numbers[i] for i in moving], 1))


def _every_column(trajectories: Trajectories) -> list[Quantity]:
    found = []
    for name, shape in sorted(trajectories.columns.items()):
        size = int(np.prod(shape))
        numeric = trajectories.column(name).dtype.kind in "fiu"
        if not numeric or name in NOT_PHYSICAL or name.startswith("goal") or size > MOST_COLUMNS:
            continue
        found += [Quantity(f"{name} {i}" if size > 1 else name, name, i) for i in range(size)]
    return found


def as_regression(
    quantities: tuple[Quantity, ...], values: Float64[np.ndarray, "n q"]
) -> Float64[np.ndarray, "n k"]:
    """Columns to regress on: an angle gives two, its sine and cosine."""
    parts = []
    for quantity, column in zip(quantities, values.T):
        parts += [np.sin(column), np.cos(column)] if quantity.angle else [column]
    return np.stack(parts, 1)


def column_slices(quantities: tuple[Quantity, ...]) -> list[slice]:
    """Where each quantity's columns are in what `as_regression` gives."""
    widths = [2 if quantity.angle else 1 for quantity in quantities]
    starts = np.cumsum([0, *widths])
    return [slice(int(s), int(s) + w) for s, w in zip(starts, widths)]


def as_values(
    quantities: tuple[Quantity, ...], guess: Float64[np.ndarray, "m k"]
) -> Float64[np.ndarray, "m q"]:
    """Predicted sines and cosines back to angles; other columns as they are."""
    parts = []
    for quantity, columns in zip(quantities, column_slices(quantities)):
        part = guess[:, columns]
        parts.append(np.arctan2(part[:, 0], part[:, 1]) if quantity.angle else part[:, 0])
    return np.stack(parts, 1)
