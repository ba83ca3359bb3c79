"""Start and goal pairs from a data set: where control begins and what it has to reach."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.stats import binomtest

from isojepa.errors import UserError
from isojepa.randomness import Stream, seed_from
from isojepa.world.episodes.trajectories import Trajectories

Protocol = Literal["published", "strict"]
States = dict[str, np.ndarray]  # the data set's columns, one row per pair


class Pairs(NamedTuple):
    """n pairs: the goal is the frame `offset` environment steps after the start."""

    episode: Int64[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    offset: int
    distance: Float[np.ndarray, " n"]
    """Between the two states, in the environment's unit; NaN where it has no measure."""

    def rows(self, trajectories: Trajectories, *, goal: bool) -> Int64[np.ndarray, " n"]:
        """Rows of the starts, or of the goals, in the whole data set."""
        first = np.cumsum(trajectories.lengths) - trajectories.lengths
        return first[self.episode] + self.start + (self.offset if goal else 0)

    def states(self, trajectories: Trajectories, *, goal: bool) -> States:
        """All columns at the starts, or at the goals."""
        rows = self.rows(trajectories, goal=goal)
        return {name: trajectories.column(name)[rows] for name in trajectories.columns}


def draw_pairs(
    trajectories: Trajectories,
    episodes: Int64[np.ndarray, " e"],
    *,
    count: int,
    offset: int,
    seed: int,
    distance: Callable[[States, States], np.ndarray] | None = None,
    solved: Callable[[States, States], np.ndarray] | None = None,
) -> Pairs:
    """Draw pairs uniformly from all steps of the given episodes that have a goal, without repeats.

    Args:
        episodes: to draw from: all for the published protocol, the held-out ones for the strict
            one.
        offset: environment steps from start to goal.
        seed: the draw is a function of (seed, data set, episodes).
        distance: (starts, goals) -> (n,), recorded with the pairs.
        solved: (starts, goals) -> (n,) of bool; such pairs are left out.

    Raises:
        UserError: if there are too few.
    """
    lengths = np.maximum(trajectories.lengths[episodes] - offset, 0)
    if not lengths.sum():
        longest = int(trajectories.lengths[episodes].max(initial=0))
        raise UserError(
            f"{trajectories.path}: a goal {offset} steps ahead needs episodes of at least "
            f"{offset + 1} steps; the longest of these {len(episodes)} has {longest}"
        )
    every = np.stack(
        [
            np.repeat(episodes, lengths),
            np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths),
        ]
    ).astype(np.int64)
    order = np.random.default_rng(seed_from(seed, Stream.PAIRS)).permutation(every.shape[1])
    episode, start = every[:, order]
    candidates = Pairs(episode, start, offset, np.full(len(order), np.nan))
    if solved is not None or distance is not None:
        starts, goals = (candidates.states(trajectories, goal=goal) for goal in (False, True))
        if distance is not None:
            candidates = candidates._replace(
                distance=np.asarray(distance(starts, goals), np.float64)
            )
        if solved is not None:
            open_ = ~np.asarray(solved(starts, goals), bool)
            episode, start, _, far = candidates
            candidates = Pairs(episode[open_], start[open_], offset, far[open_])
    if len(candidates.start) < count:
        which = "with a start that does not already solve it " if solved else ""
        raise UserError(
            f"{trajectories.path}: {count} pairs asked for, but {len(episodes)} episodes hold only "
            f"{len(candidates.start)} pairs {which}{offset} steps apart; lower --pairs or "
            "collect more episodes"
        )
    return Pairs(
        candidates.episode[:count], candidates.start[:count], offset, candidates.distance[:count]
    )


class Rate(NamedTuple):
    """A share of successes."""

    success: float
    interval: tuple[float, float]
    """Wilson's, 95 %."""
    pairs: int

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**self._asdict(), "interval": list(self.interval)}


def rate(successes: Bool[np.ndarray, " n"]) -> Rate:
    """The share of successes and its Wilson interval."""
    k, n = int(successes.sum()), len(successes)
    low, high = binomtest(k, n).proportion_ci(method="wilson")
    return Rate(k / n, (float(low), float(high)), n)


class Difference(NamedTuple):
    """A share of successes less another's, of the same pairs."""

    difference: float
    interval: tuple[float, float]
    """Newcombe's, 95 %."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"difference": self.difference, "interval": list(self.interval)}


def paired_difference(a: Bool[np.ndarray, " n"], b: Bool[np.ndarray, " n"]) -> Difference:
    """The rate of `a` less that of `b`, where a[i] and b[i] are of the same pair.

    The interval is method 10 of Newcombe (Statistics in Medicine 17, 1998, 2635-2650): from
    Wilson's two and the correlation, a positive one corrected for continuity.
    """
    (p, (low_a, high_a), n), (q, (low_b, high_b), _) = rate(a), rate(b)
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


class Bin(NamedTuple):
    """Pairs of about the same distance."""

    least: float
    most: float
    rate: Rate


def by_distance(
    distance: Float[np.ndarray, " n"], successes: Bool[np.ndarray, " n"], *, bins: int = 4
) -> list[Bin]:
    """Success in bins that hold about as many pairs each; none where there is no distance."""
    if not np.isfinite(distance).all() or len(distance) < bins:
        return []
    found = []
    for part in np.array_split(np.argsort(distance, kind="stable"), bins):
        near, far = float(distance[part[0]]), float(distance[part[-1]])
        found.append(Bin(near, far, rate(successes[part])))
    return found
