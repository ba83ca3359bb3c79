"""Whether distance between embeddings follows distance between states, and along paths."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.stats import spearmanr

from isojepa.randomness import Stream, seed_from
from isojepa.runs.typed import Sparse
from isojepa.world.analysis.study import Study, locate, sampled
from isojepa.world.episodes.trajectories import episode_rows

SOURCES, TARGETS = 48, 40  # pairs join each of some frames with some others
NODES = 3000  # states of the graph along which paths are measured
REACH = 2.0  # edges of the graph join states up to so many median environment steps apart
LEVEL = 0.9  # of the largest median latent distance: where it levels off
LEAST = 20  # pairs of which a correlation is given
AT_ONCE = 250  # rows of the distance matrix


class LatentDistances(NamedTuple):
    """Distances between pairs of frames, four ways; NaN where one is not defined."""

    latent: Float64[np.ndarray, " m"]
    """Euclidean, between embeddings."""
    state: Float64[np.ndarray, " m"]
    """Between states, as the environment's success rule measures it."""
    path: Float64[np.ndarray, " m"]
    """The same summed along the shortest path through states that were visited."""
    steps: Float64[np.ndarray, " m"]
    """Environment steps between two frames of one episode."""

    def correlations(self) -> "DistanceCorrelations":
        """How each goes with the latent distance; None where there are too few pairs."""
        return DistanceCorrelations(*map(self._correlation, (self.state, self.path, self.steps)))

    def _correlation(self, other: Float64[np.ndarray, " m"]) -> "DistanceCorrelation | None":
        known = np.isfinite(other)
        if known.sum() < LEAST or np.ptp(other[known]) == 0:
            return None
        x, y = running_median(other[known], self.latent[known])
        end = float(x[np.argmax(y >= LEVEL * y.max())])
        return DistanceCorrelation(
            spearman=float(spearmanr(self.latent[known], other[known]).statistic),
            pairs=int(known.sum()),
            levels_off=end,
            beyond=float((other[known] > end).mean()),
        )


@dataclass(frozen=True, kw_only=True)
class DistanceCorrelation:
    """How a distance goes with the latent one."""

    spearman: float | None
    pairs: int
    levels_off: float | None = None
    """Where the median latent distance reaches nine tenths of its largest value."""
    beyond: float | None = None
    """Share of the pairs further apart than that, between which it says little."""


@dataclass(frozen=True)
class DistanceCorrelations:
    """One per kind of distance; see `LatentDistances`."""

    state: Sparse[DistanceCorrelation | None] = None
    path: Sparse[DistanceCorrelation | None] = None
    steps: Sparse[DistanceCorrelation | None] = None


def latent_distances(
    study: Study, rows: Int64[np.ndarray, " n"], z: Float[np.ndarray, "n d"], *, seed: int
) -> LatentDistances:
    """Distances between pairs of the given frames, half of them of the same episode.

    Args:
        rows: of the held-out frames that were embedded.
        z: their embeddings.
    """
    rng = np.random.default_rng(seed_from(seed, Stream.DISTANCE_PAIRS))
    episode, step = locate(study.trajectories, rows)
    first = np.sort(rng.permutation(len(rows))[:SOURCES])
    pairs = []
    for source in first:
        near = np.setdiff1d(np.flatnonzero(episode == episode[source]), [source])
        far = np.flatnonzero(episode != episode[source])
        for pool in (near, far):
            if len(pool):
                chosen = rng.choice(pool, min(TARGETS // 2, len(pool)), replace=False)
                pairs += [(source, other) for other in chosen]
    a, b = np.array(pairs, np.int64).reshape(-1, 2).T
    latent = np.linalg.norm(z[a].astype(np.float64) - z[b], axis=1)
    steps = np.where(episode[a] == episode[b], np.abs(step[a] - step[b]), np.nan)
    state = path = np.full(len(a), np.nan)
    if study.distance:
        state = np.asarray(study.distance(study.states(rows[a]), study.states(rows[b])))
        path = _paths(study, rows[first], rows, seed=seed)[np.searchsorted(first, a), b]
    return LatentDistances(latent, state.astype(np.float64), path, steps.astype(np.float64))


def running_median(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], bins: int = 20
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Medians of x and y in bins of equally many pairs, by x."""
    edges = np.quantile(x, np.linspace(0, 1, bins + 1))
    place = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    used = [place == k for k in range(bins) if (place == k).any()]
    return np.array([np.median(x[k]) for k in used]), np.array([np.median(y[k]) for k in used])


def _paths(
    study: Study, sources: Int64[np.ndarray, " s"], rows: Int64[np.ndarray, " n"], *, seed: int
) -> Float64[np.ndarray, "s n"]:
    """Shortest paths from some frames' states to others', through visited states; NaN if none.

    States are joined that lie within two environment steps of one another: walls, which no step
    crosses, stay closed.
    """
    data, distance = study.trajectories, study.distance
    assert distance is not None
    others = np.setdiff1d(episode_rows(data, np.arange(len(data))), rows)
    nodes = np.concatenate([rows, sampled(others, max(0, NODES - len(rows)), seed=seed)])
    before = episode_rows(data, study.held_out)
    episode, step = locate(data, before)
    before = before[step < data.lengths[episode] - 1]
    moves = np.asarray(distance(study.states(before), study.states(before + 1)))
    moved = moves[np.isfinite(moves) & (moves > 0)]
    if not len(moved):
        return np.full((len(sources), len(rows)), np.nan)
    reach, everyone = REACH * float(np.median(moved)), study.states(nodes)
    starts, ends, lengths = [], [], []
    for begin in range(0, len(nodes), AT_ONCE):
        some = {k: v[begin : begin + AT_ONCE, None] for k, v in everyone.items()}
        apart = np.asarray(distance(some, {k: v[None] for k, v in everyone.items()}))
        i, j = np.nonzero(apart <= reach)
        starts.append(i + begin)
        ends.append(j)
        lengths.append(np.maximum(apart[i, j], 1e-9))
    place = (np.concatenate(starts), np.concatenate(ends))
    graph = csr_matrix((np.concatenate(lengths), place), shape=(len(nodes), len(nodes)))
    at = np.searchsorted(rows, sources)
    found = np.asarray(dijkstra(graph, indices=at), np.float64)[:, : len(rows)]
    return np.where(np.isfinite(found), found, np.nan)
