"""Whether distance between embeddings follows distance between states, and along paths."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.stats import spearmanr

from isojepa.randomness import Stream, seed_from
from isojepa.world.analysis.study import (
    Study,
    episode_rows,
    locate,
    plain,
    spread,
)
from isojepa.world.environments.environments import Environment, Row

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

    def correlations(self) -> dict[str, dict[str, float | int | None]]:
        """How each goes with the latent distance, where there are pairs.

        Spearman's correlation; where the median latent distance reaches nine tenths of its largest
        value; and the share of pairs further apart, between which it says little.
        """
        found: dict[str, dict[str, float | int | None]] = {}
        for name in ("state", "path", "steps"):
            other = getattr(self, name)
            known = np.isfinite(other)
            if known.sum() >= LEAST and np.ptp(other[known]) > 0:
                rho: Any = spearmanr(self.latent[known], other[known]).statistic
                x, y = running_median(other[known], self.latent[known])
                end = float(x[np.argmax(y >= LEVEL * y.max())])
                found[name] = {
                    "spearman": plain(rho),
                    "pairs": int(known.sum()),
                    "levels_off": end,
                    "beyond": float((other[known] > end).mean()),
                }
        return found


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
    known = study.known
    if known is not None and known.distance is not None and _has(study, known):
        state = np.asarray(known.distance(_states(study, rows[a]), _states(study, rows[b])))
        path = _paths(study, known, rows[first], rows, seed=seed)[np.searchsorted(first, a), b]
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
    study: Study,
    known: Environment,
    sources: Int64[np.ndarray, " s"],
    rows: Int64[np.ndarray, " n"],
    *,
    seed: int,
) -> Float64[np.ndarray, "s n"]:
    """Shortest paths from some frames' states to others', through visited states; NaN if none.

    States are joined that lie within two environment steps of one another: walls, which no step
    crosses, stay closed.
    """
    data = study.trajectories
    assert known.distance is not None
    others = np.setdiff1d(episode_rows(data, np.arange(len(data))), rows)
    nodes = np.concatenate([rows, spread(others, max(0, NODES - len(rows)), seed=seed)])
    before = episode_rows(data, study.held_out)
    episode, step = locate(data, before)
    before = before[step < data.lengths[episode] - 1]
    moves = np.asarray(known.distance(_states(study, before), _states(study, before + 1)))
    moved = moves[np.isfinite(moves) & (moves > 0)]
    if not len(moved):
        return np.full((len(sources), len(rows)), np.nan)
    reach, everyone = REACH * float(np.median(moved)), _states(study, nodes)
    starts, ends, lengths = [], [], []
    for begin in range(0, len(nodes), AT_ONCE):
        some = {k: v[begin : begin + AT_ONCE, None] for k, v in everyone.items()}
        apart = np.asarray(known.distance(some, {k: v[None] for k, v in everyone.items()}))
        i, j = np.nonzero(apart <= reach)
        starts.append(i + begin)
        ends.append(j)
        lengths.append(np.maximum(apart[i, j], 1e-9))
    place = (np.concatenate(starts), np.concatenate(ends))
    graph = csr_matrix((np.concatenate(lengths), place), shape=(len(nodes), len(nodes)))
    at = np.searchsorted(rows, sources)
    found = np.asarray(dijkstra(graph, indices=at), np.float64)[:, : len(rows)]
    return np.where(np.isfinite(found), found, np.nan)


def _has(study: Study, known: Environment) -> bool:
    return all(name in study.trajectories.columns for name in known.needs)


def _states(study: Study, rows: Int64[np.ndarray, " n"]) -> Row:
    known = study.known
    assert known is not None
    return {name: study.trajectories.column(name)[rows] for name in known.needs}
