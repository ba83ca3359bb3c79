"""Start and goal pairs from a data set: where control begins and what it has to reach."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int64

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
