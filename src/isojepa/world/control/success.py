"""How often goals were reached: shares with their intervals, differences, and by distance."""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.stats import binomtest

from isojepa.randomness import Stream, seed_from
from isojepa.runs.typed import Inline, Key, Sparse


@dataclass(frozen=True)
class SuccessRate:
    """The share of pairs whose goal was reached."""

    success: float
    interval: tuple[float, float]
    """Wilson's, 95 %, which takes pairs as independent."""
    pairs: int
    episodes: Sparse[int | None] = None
    """From which the pairs were drawn."""
    by_episode: Sparse[tuple[float, float] | None] = None
    """95 % of the shares with these episodes drawn anew, with all their pairs; of no width where
    all pairs went alike."""


RESAMPLED = 2000  # times that the episodes are drawn anew


def success_rate(
    successes: Bool[np.ndarray, " n"], episodes: Int64[np.ndarray, " n"] | None = None
) -> SuccessRate:
    """The share of successes, its Wilson interval, and that over episodes where they are given.

    Args:
        episodes: to which each pair belongs.
    """
    k, n = int(successes.sum()), len(successes)
    low, high = binomtest(k, n).proportion_ci(method="wilson")
    rate = SuccessRate(k / n, (float(low), float(high)), n)
    if episodes is None:
        return rate
    return replace(
        rate,
        episodes=len(np.unique(episodes)),
        by_episode=cluster_interval(successes.astype(float), episodes),
    )


def cluster_interval(
    values: Float[np.ndarray, " n"], clusters: Int64[np.ndarray, " n"]
) -> tuple[float, float]:
    """95 % interval of the mean by the percentile bootstrap that draws whole clusters.

    Field and Welsh (Journal of the Royal Statistical Society B 69, 2007, 369-390). A function of
    what is given alone.
    """
    _, of = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(of, values), np.bincount(of)
    random = np.random.default_rng(seed_from(len(values), Stream.BOOTSTRAP))
    draws = random.integers(len(sizes), size=(RESAMPLED, len(sizes)))
    low, high = np.quantile(sums[draws].sum(1) / sizes[draws].sum(1), (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True)
class Difference:
    """A share of successes less another's, of the same pairs."""

    difference: float
    interval: tuple[float, float]
    """Newcombe's, 95 %, which takes pairs as independent."""
    by_episode: Sparse[tuple[float, float] | None] = None
    """95 % with whole episodes drawn anew; see `cluster_interval`."""


def paired_difference(
    a: Bool[np.ndarray, " n"],
    b: Bool[np.ndarray, " n"],
    episodes: Int64[np.ndarray, " n"] | None = None,
) -> Difference:
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
    clustered = None
    if episodes is not None:
        clustered = cluster_interval(a.astype(float) - b.astype(float), episodes)
    return Difference(p - q, (p - q - down, p - q + up), clustered)


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
