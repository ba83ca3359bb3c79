"""Start and goal pairs from a data set: where control begins and what it has to reach."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

from isojepa.errors import UserError
from isojepa.randomness import Stream, seed_from
from isojepa.world.episodes.trajectories import Trajectories

Protocol = Literal["published", "strict"]
Goals = Literal["ahead", "walled"]
States = dict[str, np.ndarray]  # the data set's columns, one row per pair
Relation = Callable[[States, States], np.ndarray]
"""(starts, goals) -> (n,)."""
TRIED = 50  # draws for each pair wanted, before pairs of any two frames are called too few


class Pairs(NamedTuple):
    """n pairs of two frames, of one episode or of two."""

    episode: Int64[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    """Step in that episode."""
    goal_episode: Int64[np.ndarray, " n"]
    goal: Int64[np.ndarray, " n"]
    """Step in that episode."""
    distance: Float[np.ndarray, " n"]
    """Between the two states, in the environment's unit; NaN where it has no measure."""

    def rows(self, trajectories: Trajectories, *, goal: bool) -> Int64[np.ndarray, " n"]:
        """Rows of the starts, or of the goals, in the whole data set."""
        first = np.cumsum(trajectories.lengths) - trajectories.lengths
        if goal:
            return first[self.goal_episode] + self.goal
        return first[self.episode] + self.start

    def states(self, trajectories: Trajectories, *, goal: bool) -> States:
        """All columns at the starts, or at the goals."""
        rows = self.rows(trajectories, goal=goal)
        return {name: trajectories.column(name)[rows] for name in trajectories.columns}

    def take(self, which: np.ndarray | slice) -> "Pairs":
        """Some of the pairs."""
        return Pairs(*(x[which] for x in self))

    def keys(self, seed: int) -> list[int]:
        """A seed for each pair, of what it is alone: not of its place, or of the others."""
        where = np.stack(self[:4], 1).tolist()
        return [seed_from(seed, *one) for one in where]


def draw_pairs(
    trajectories: Trajectories,
    episodes: Int64[np.ndarray, " e"],
    *,
    count: int,
    offset: int,
    seed: int,
    distance: Relation | None = None,
    solved: Relation | None = None,
    fewer: bool = False,
) -> Pairs:
    """Draw pairs uniformly from all steps of the given episodes that have a goal, without repeats.

    Args:
        episodes: to draw from: all for the published protocol, the held-out ones for the strict
            one.
        offset: environment steps from start to goal.
        seed: the draw is a function of (seed, data set, episodes).
        distance: (starts, goals) -> (n,), recorded with the pairs.
        solved: (starts, goals) -> (n,) of bool; such pairs are left out.
        fewer: take what there is, if there are too few, down to none.

    Raises:
        UserError: if there are too few.
    """
    lengths = np.maximum(trajectories.lengths[episodes] - offset, 0)
    if not lengths.sum() and not fewer:
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
    pairs = Pairs(episode, start, episode, start + offset, np.full(len(order), np.nan))
    pairs = _measured(trajectories, pairs, distance, solved)
    if len(pairs.start) < count and not fewer:
        which = "with a start that does not already solve it " if solved else ""
        raise UserError(
            f"{trajectories.path}: {count} pairs asked for, but {len(episodes)} episodes hold only "
            f"{len(pairs.start)} pairs {which}{offset} steps apart; lower --pairs or "
            "collect more episodes"
        )
    return pairs.take(slice(count))


def draw_walled_pairs(
    trajectories: Trajectories,
    episodes: Int64[np.ndarray, " e"],
    *,
    count: int,
    seed: int,
    walled: Relation,
    distance: Relation | None = None,
    solved: Relation | None = None,
) -> Pairs:
    """Draw pairs of any two frames of the given episodes between which something stands.

    Args:
        walled: (starts, goals) -> (n,) of bool; the other pairs are left out.

    Raises:
        UserError: if there are too few.
    """
    steps = trajectories.lengths[episodes]
    where = np.stack(
        [
            np.repeat(episodes, steps),
            np.arange(steps.sum()) - np.repeat(np.cumsum(steps) - steps, steps),
        ]
    ).astype(np.int64)
    random = np.random.default_rng(seed_from(seed, Stream.WALLED_PAIRS))
    start, goal = where[:, random.integers(where.shape[1], size=(2, TRIED * count))].swapaxes(0, 1)
    pairs = Pairs(start[0], start[1], goal[0], goal[1], np.full(start.shape[1], np.nan))
    _, first = np.unique(np.stack(pairs[:4]), axis=1, return_index=True)
    pairs = pairs.take(np.sort(first))
    stands = np.asarray(walled(*(pairs.states(trajectories, goal=g) for g in (False, True))), bool)
    pairs = _measured(trajectories, pairs.take(stands), distance, solved)
    if len(pairs.start) < count:
        raise UserError(
            f"{trajectories.path}: {count} pairs asked for, but {len(episodes)} episodes hold too "
            "few with something between start and goal; lower --pairs or collect more episodes"
        )
    return pairs.take(slice(count))


def _measured(
    trajectories: Trajectories, pairs: Pairs, distance: Relation | None, solved: Relation | None
) -> Pairs:
    """The pairs with their distances, less those that are solved at the start."""
    if distance is None and solved is None:
        return pairs
    starts, goals = (pairs.states(trajectories, goal=goal) for goal in (False, True))
    if distance is not None:
        pairs = pairs._replace(distance=np.asarray(distance(starts, goals), np.float64))
    if solved is not None:
        pairs = pairs.take(~np.asarray(solved(starts, goals), bool))
    return pairs
