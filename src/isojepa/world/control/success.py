"""How often goals were reached: shares with their intervals, differences, and by distance."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binomtest

from isojepa.runs.typed import Inline, Key


@dataclass(frozen=True)
class SuccessRate:
    """The share of pairs whose goal was reached."""

    success: float
    interval: tuple[float, float]
    """Wilson's, 95 %."""
    pairs: int


def success_rate(successes: Bool[np.ndarray, " n"]) -> SuccessRate:
    """The share of successes and its Wilson interval."""
    k, n = int(successes.sum()), len(successes)
    low, high = binomtest(k, n).proportion_ci(method="wilson")
    return SuccessRate(k / n, (float(low), float(high)), n)


@dataclass(frozen=True)
class Difference:
    """A share of successes less another's, of the same pairs."""

    difference: float
    interval: tuple[float, float]
    """Newcombe's, 95 %."""


def paired_difference(a: Bool[np.ndarray, " n"], b: Bool[np.ndarray, " n"]) -> Difference:
    """The success rate of `a` less that of `b`, where a[i] and b[i] are of the same pair.

    The interval is method 10 of Newcombe (Statistics in Medicine 17, 1998, 2635-2650): from
    Wilson's two and the correlation, a positive one corrected for continuity.
    """
    ours, theirs = success_rate(a), success_rate(b)
    p, q, n = ours.success, theirs.success, ours.pairs
    (low_a, high_a), (low_b, high_b) = ours.interval, theirs.interval
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    together: float = both * neither - int((a & ~b).sum()) * int((~a & b).sum())
    if together > 0:
        together = max(0.0, together - n / 2)
    margins = n * n * np.sqrt(p * (1 - p) * q * (1 - q))
    r = together / margins if margins else 0.0

    def reach(x: float, y: float) -> float:
        return float(np.sqrt(x * x - 2 * r * x * y + y * y))

    down, up = reach(p - low_a, high_b - q), reach(high_a - p, q - low_b)
    return Difference(p - q, (p - q - down, p - q + up))


@dataclass(frozen=True)
class DistanceBin:
    """The success of pairs of about the same distance from start to goal."""

    least: Annotated[float, Key("from")]
    most: Annotated[float, Key("to")]
    rate: Inline[SuccessRate]


def by_distance(
    distance: Float[np.ndarray, " n"], successes: Bool[np.ndarray, " n"], *, bins: int = 4
) -> tuple[DistanceBin, ...]:
    """Success in bins that hold about as many pairs each; none where there is no distance."""
    if not np.isfinite(distance).all() or len(distance) < bins:
        return ()
    order = np.argsort(distance, kind="stable")
    return tuple(
        DistanceBin(
            float(distance[part[0]]), float(distance[part[-1]]), success_rate(successes[part])
        )
        for part in np.array_split(order, bins)
    )
