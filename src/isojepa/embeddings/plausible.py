"""Numbers that no measurement gives: no-data values, overflow, scales that floats cannot square."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64, Shaped

from isojepa.errors import UserError

BEYOND = 1e6
"""Robust standard deviations from the median, beyond which a number is no measurement. Squares of
numbers below that still leave the others' variance eight digits."""
SMALLEST, LARGEST = 1e-30, 1e30
"""Scales between which squares stay normal numbers in float32."""
MAD = 1.4826
"""Standard deviation over median absolute deviation, of a normal law."""
ROWS = 4096
"""Of the first block, from which medians are taken."""


class Implausible(NamedTuple):
    """A row with a number that is no measurement."""

    number: int
    """Of the row."""
    column: int
    value: float


class Range(NamedTuple):
    """Between what every number of a column is taken for a measurement."""

    centre: Float[np.ndarray, " d"]
    reach: Float[np.ndarray, " d"]

    @staticmethod
    def of(name: str, block: Float[np.ndarray, "b d"]) -> "Range":
        """From the medians of some rows: a few broken numbers do not move them.

        Raises:
            UserError: if the numbers are so small or large that their squares are 0 or infinite.
        """
        rows = block[:: max(1, len(block) // ROWS)].astype(np.float64)
        centre = np.median(rows, axis=0)
        with np.errstate(over="ignore"):
            away = np.abs(rows - centre)
        away[away == 0] = np.nan  # half of a sparse column may be one number
        told = np.isfinite(away).sum(0) > 2
        spread = np.full(len(centre), np.nan)
        if told.any():
            spread[told] = MAD * np.nanmedian(away[:, told], axis=0)
        usual = np.nanmedian(spread) if told.any() else np.nanmax(np.abs(centre), initial=0.0)
        size = max(usual, float(np.median(np.abs(centre))))
        if size > LARGEST or 0 < size < SMALLEST:
            raise UserError(
                f"{name}: the numbers are of the order of {size:.1g}, whose squares no float "
                "holds; divide them by that first, and judge the shape alone: --any-scale"
            )
        # Columns of which too little is told, and those much narrower than the rest, as the rest
        spread = np.where(told, np.maximum(spread, 1e-3 * usual), usual)
        reach = np.maximum(BEYOND * spread, BEYOND * 1e-3 * np.abs(centre))
        return Range(centre, np.where(reach > 0, reach, LARGEST))

    def beyond(
        self, block: Float[np.ndarray, "b d"], rows: Int64[np.ndarray, " b"]
    ) -> list[Implausible]:
        """The rows of a block with a number out of range, and the worst such number of each."""
        with np.errstate(over="ignore"):
            excess: Shaped[np.ndarray, "b d"] = np.abs(block - self.centre.astype(block.dtype))
            broken = np.flatnonzero((excess > self.reach).any(1))
        worst = (excess[broken] / self.reach).argmax(1)
        return [
            Implausible(int(rows[i]), int(column), float(block[i, column]))
            for i, column in zip(broken, worst)
        ]
