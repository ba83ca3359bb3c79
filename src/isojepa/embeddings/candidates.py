"""Which directions may be telling, and the worst of each kind by half of the samples."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from isojepa.embeddings.clusters import (
    LEAST_SHARE,
    count_gap,
    deepest_valley,
    separating_directions,
)
from isojepa.normality.univariate import epps_pulley

RANDOM = 128
STARTS = 48
"""Starting points of the search for extreme kurtosis."""
PROMISING = 24
"""Directions of lowest kurtosis, and of least normal moments, that are searched for gaps."""
ALIKE = 0.9
"""Cosine from which two directions count as the same."""
PEAKED = ("axis", "coordinate", "cluster", "pursuit")
"""Kinds of directions in which gaps are looked for."""


class Candidates(NamedTuple):
    """Directions of one kind; the best of each kind are tested."""

    title: str
    kind: str
    vectors: Float[np.ndarray, "d m"]


def candidate_directions(
    x: Float[np.ndarray, "a d"], columns: Callable[[int], str], seed: int
) -> Iterator[Candidates]:
    """Directions worth a look: axes of the samples, single columns, outliers and random ones."""
    n, d = x.shape
    if d == 1:
        yield Candidates("The only dimension", "axis", np.ones((1, 1)))
        return
    mean = x.mean(0)
    centred = x - mean
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[lengths > 1e-6 * max(lengths[0], 1e-30)].T  # columns, the widest first
    k = max(2, min(axes.shape[1], n // 8))
    scores = centred @ axes[:, :k]
    spread = scores.std(0)
    random = np.random.default_rng(seed).standard_normal((d, RANDOM))
    yield Candidates("A random direction", "random", _unit(random))
    yield Candidates("Towards the mean", "mean", _unit(mean[:, None]))
    last = [axes.shape[1] - 1] if axes.shape[1] == d < n / 2 else []
    for i in sorted({*range(min(8, axes.shape[1])), *last}):
        yield Candidates(f"Principal axis {i + 1}", "axis", axes[:, [i]])
    for i in _telling_coordinates(centred):
        along = np.zeros((d, 1))
        along[i] = 1
        yield Candidates(f"The file's {columns(i)}", "coordinate", along)
    separating = separating_directions(scores, seed)
    yield Candidates("Between clusters", "cluster", _unit(axes[:, :k] @ separating))
    pursued = _extreme_kurtosis(scores / spread, seed) / spread[:, None]
    yield Candidates("A mixture of axes", "pursuit", _unit(axes[:, :k] @ pursued))


def _telling_coordinates(centred: Float[np.ndarray, "a d"]) -> list[int]:
    """The widest, narrowest, most and least peaked, and most lopsided coordinates, two of each."""
    deviation = centred.std(0)
    z = centred / np.where(deviation > 0, deviation, np.inf)
    kurtosis, skewness = (z**4).mean(0), (z**3).mean(0)
    scores = (deviation, -deviation, kurtosis, -kurtosis, np.abs(skewness))
    return list(dict.fromkeys(int(i) for score in scores for i in np.argsort(-score)[:2]))


def _extreme_kurtosis(
    white: Float[np.ndarray, "a k"], seed: int, steps: int = 15
) -> Float[np.ndarray, "k m"]:
    """Directions of locally extreme kurtosis: Hyvarinen and Oja's fixed-point iteration (1997).

    Low kurtosis shows two groups, high kurtosis tails (Pena and Prieto 2001).
    """
    w = np.random.default_rng(seed).standard_normal((white.shape[1], STARTS))
    for _ in range(steps):
        w = _unit(w)
        w = white.T @ (white @ w) ** 3 / len(white) - 3 * w
    return w


def _unit(directions: Float[np.ndarray, "d m"]) -> Float[np.ndarray, "d m"]:
    return directions / np.maximum(np.linalg.norm(directions, axis=0), 1e-30)


def choose_directions(
    x: Float[np.ndarray, "a d"], candidates: list[Candidates]
) -> Iterator[tuple[str, str, Float[np.ndarray, " d"]]]:
    """Title, reason and vector of the directions to test: of each kind the worst by each measure.

    Kinds are kept apart because directions fitted to the samples always look worse on these.
    """
    vectors = np.concatenate([c.vectors for c in candidates], axis=1)
    owner = [c for c in candidates for _ in range(c.vectors.shape[1])]
    along = x @ vectors
    deviation = along.std(0)
    z = (along - along.mean(0)) / np.where(deviation > 0, deviation, np.inf)
    statistics = epps_pulley(torch.from_numpy(np.ascontiguousarray(along.T))).numpy()
    skewness, kurtosis = (z**3).mean(0), (z**4).mean(0)
    gaps = np.ones(len(owner))
    # Equal groups have the lowest kurtosis, unequal ones a skewness or a high kurtosis.
    bent = skewness**2 + (kurtosis - 3) ** 2 / 4
    peaked = np.flatnonzero([c.kind in PEAKED for c in owner])
    for score in (kurtosis, -bent):
        for i in peaked[np.argsort(score[peaked])[:PROMISING]]:
            gaps[i] = gap_p_value(along[:, i])
    # The least is the worst. Which measures suit which kinds:
    rankings = (
        ("furthest from N(0, 1)", -statistics, ("random", "mean", "axis", "coordinate")),
        ("widest", -deviation, ("axis",)),
        ("narrowest", deviation, ("axis",)),
        ("two peaks", gaps, PEAKED),
        ("heaviest tails", -kurtosis, ("axis", "coordinate", "pursuit")),
        ("lightest tails", kurtosis, ("axis", "coordinate", "pursuit")),
        ("most lopsided", -np.abs(skewness), ("axis", "coordinate")),
    )
    taken: list[int] = []
    for why, score, kinds in rankings:
        for kind in kinds:
            of_kind = [i for i, c in enumerate(owner) if c.kind == kind]
            best = min(of_kind, key=score.__getitem__, default=None)
            if best is None or (why == "two peaks" and score[best] > 0.05):
                continue
            if all(abs(vectors[:, best] @ vectors[:, i]) < ALIKE for i in taken):
                taken.append(best)
                yield owner[best].title, why, vectors[:, best]


def gap_p_value(x: Float[np.ndarray, " a"]) -> float:
    """Of the deepest valley between two groups; 1 where one of them is too small to count."""
    gap = count_gap(x, deepest_valley(x))
    return gap.p_value if gap.share > LEAST_SHARE else 1.0
