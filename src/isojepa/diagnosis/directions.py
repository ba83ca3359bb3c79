"""Directions along which the samples look least like N(0, 1), and the samples that make it so.

Directions are chosen on one half of the samples and tested on the other. Along a direction that
does not depend on them, Gaussian samples are Gaussian, so that the tests of one sample apply as
they are, however many directions were tried: only those that were tested count.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy import stats

from isojepa.diagnosis.clusters import (
    LEAST_SHARE,
    Gap,
    count_gap,
    deepest_valley,
    separating_directions,
)
from isojepa.normality.calibration import Calibration, null_distribution
from isojepa.normality.characteristic_function import trapezoid
from isojepa.normality.samples import standardise
from isojepa.normality.univariate import epps_pulley

RANDOM = 128
STARTS = 48
"""Starting points of the search for extreme kurtosis."""
LEAST_HALF = 32
"""Samples in a half, below which no search is made."""
N_NULL = 1999


class Direction(NamedTuple):
    """Samples along one direction, in the target's standard deviations; held out of its choice."""

    title: str
    """What it is, such as "widest principal axis"."""
    vector: Float[np.ndarray, " d"]
    """Of length 1, in the file's coordinates."""
    rows: Int64[np.ndarray, " b"]
    """Numbers of the samples' rows."""
    values: Float[np.ndarray, " b"]
    """The samples along the direction: N(0, 1) if the verdict is Gaussian."""
    mean: float
    deviation: float
    skewness: float
    """0 for a normal law."""
    kurtosis: float
    """Excess: 0 for a normal law, -2 for two points."""
    statistic: float
    """Epps-Pulley against N(0, 1)."""
    p_value: float
    """Of the statistic."""
    shape_p: float
    """Of Epps-Pulley of the standardised samples: mean and deviation do not count."""
    skewness_p: float
    """D'Agostino's test; two-sided."""
    kurtosis_p: float
    """Anscombe and Glynn's test; two-sided."""
    gap: Gap
    """Of the deepest valley."""
    drivers: tuple[tuple[int, float], ...]
    """Rows without which the statistic would fall most, with their values."""


class Search(NamedTuple):
    """The worst of many directions."""

    directions: tuple[Direction, ...]
    """The largest Epps-Pulley statistic first."""
    tried: int
    """Directions looked at on the one half."""
    n: int
    """Samples in the other half."""


def worst_directions(
    x: Float[np.ndarray, "m d"],
    rows: Int64[np.ndarray, " m"],
    *,
    unit: float = 1.0,
    columns: Callable[[int], str] = "column {}".format,
    seed: int = 0,
) -> Search:
    """Search half of the samples for telling directions and test the other half along them.

    Args:
        x: samples, finite.
        rows: their numbers in the file.
        unit: standard deviation that the target has in every direction.
        columns: name of a coordinate.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    search, test = np.sort(order[: len(x) // 2]), np.sort(order[len(x) // 2 :])
    if len(search) < LEAST_HALF:
        return Search((), 0, len(test))
    scaled = x.astype(np.float64) / unit
    candidates = list(_candidates(scaled[search], columns, seed))
    names = [title for title, directions in candidates for _ in range(directions.shape[1])]
    vectors = np.concatenate([directions for _, directions in candidates], axis=1)
    found = _choose(scaled[search] @ vectors, vectors)
    directions = [
        _measure(_title(names[i], why), vectors[:, i], scaled[test], rows[test], scaled[search])
        for i, why in found
    ]
    directions.sort(key=lambda direction: -direction.statistic)
    return Search(tuple(directions), vectors.shape[1], len(test))


def _title(name: str, why: str) -> str:
    return f"{name}: {why}" if why else name


# Candidates, from the first half


def _candidates(
    x: Float[np.ndarray, "a d"], columns: Callable[[int], str], seed: int
) -> Iterator[tuple[str, Float[np.ndarray, "d m"]]]:
    n, d = x.shape
    mean = x.mean(0)
    centred = x - mean
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[lengths > 1e-6 * max(lengths[0], 1e-30)].T  # columns, the widest first
    if d == 1:
        yield "The only dimension", np.ones((1, 1))
        return
    random = np.random.default_rng(seed).standard_normal((d, RANDOM))
    yield "A random direction", random / np.linalg.norm(random, axis=0)
    if np.linalg.norm(mean) > 0:
        yield "Towards the mean", (mean / np.linalg.norm(mean))[:, None]
    for i in range(min(8, axes.shape[1])):
        yield f"Principal axis {i + 1}", axes[:, i : i + 1]
    if n > 2 * d and axes.shape[1] == d:
        yield f"Principal axis {d}", axes[:, -1:]
    deviation = centred.std(0)
    for i in _telling_coordinates(centred, deviation):
        yield f"The file's {columns(int(i))}", np.eye(d)[:, [i]]
    k = max(2, min(axes.shape[1], n // 8))
    scores = centred @ axes[:, :k]
    spread = scores.std(0)
    yield "A mixture of axes", _unit(axes[:, :k] @ separating_directions(scores, seed))
    pursued = _extreme_kurtosis(scores / spread, seed) / spread[:, None]
    yield "A mixture of axes", _unit(axes[:, :k] @ pursued)


def _telling_coordinates(
    centred: Float[np.ndarray, "a d"], deviation: Float[np.ndarray, " d"], most: int = 8
) -> list[int]:
    safe = np.where(deviation > 0, deviation, np.inf)
    z = centred / safe
    scores = [-deviation, deviation, (z**4).mean(0), -(z**4).mean(0), np.abs((z**3).mean(0))]
    return list(dict.fromkeys(int(i) for s in scores for i in np.argsort(-s)[: most // 4]))


def _extreme_kurtosis(
    white: Float[np.ndarray, "a k"], seed: int, steps: int = 15
) -> Float[np.ndarray, "k m"]:
    """Directions of locally extreme kurtosis: the fixed-point iteration of Hyvarinen and Oja (1997).

    Low kurtosis shows two groups, high kurtosis tails (Pena and Prieto 2001).
    """
    w = np.random.default_rng(seed).standard_normal((white.shape[1], STARTS))
    for _ in range(steps):
        w /= np.linalg.norm(w, axis=0)
        w = white.T @ (white @ w) ** 3 / len(white) - 3 * w
    return w


def _unit(directions: Float[np.ndarray, "d m"]) -> Float[np.ndarray, "d m"]:
    return directions / np.maximum(np.linalg.norm(directions, axis=0), 1e-30)


# The choice, on the first half


def _choose(
    along: Float[np.ndarray, "a m"], vectors: Float[np.ndarray, "d m"]
) -> list[tuple[int, str]]:
    """Indices of the directions to test, and why each was chosen; no two nearly the same."""
    deviation = along.std(0)
    z = (along - along.mean(0)) / np.where(deviation > 0, deviation, np.inf)
    skewness, kurtosis = (z**3).mean(0), (z**4).mean(0)
    statistics = epps_pulley(torch.from_numpy(np.ascontiguousarray(along.T))).numpy()
    apart = [_gap_score(column) for column in along.T]
    random = np.arange(min(RANDOM, along.shape[1]))
    rankings = (
        ("far from N(0, 1)", np.argsort(-statistics)[:2]),
        ("heaviest tails", np.argsort(-kurtosis)[:2]),
        ("lightest tails", np.argsort(kurtosis)[:1]),
        ("two peaks", np.argsort(apart)[:3]),
        ("most lopsided", np.argsort(-np.abs(skewness))[:1]),
        ("widest", np.argsort(-deviation)[:1]),
        ("narrowest", np.argsort(deviation)[:1]),
        ("furthest from N(0, 1) among these", random[np.argsort(-statistics[random])[:1]]),
    )
    chosen: list[tuple[int, str]] = []
    for why, indices in rankings:
        for i in indices:
            if all(abs(vectors[:, i] @ vectors[:, j]) < 0.95 for j, _ in chosen):
                chosen.append((int(i), why))
    return chosen


def _gap_score(x: Float[np.ndarray, " a"]) -> float:
    gap = count_gap(x, deepest_valley(x))
    return gap.p_value if gap.share > LEAST_SHARE else 1.0


# The test, on the second half


def _measure(
    title: str,
    vector: Float[np.ndarray, " d"],
    x: Float[np.ndarray, "b d"],
    rows: Int64[np.ndarray, " b"],
    chosen_on: Float[np.ndarray, "a d"],
) -> Direction:
    values = x @ vector
    sample = torch.from_numpy(values)
    statistic, shape = epps_pulley(sample), epps_pulley(standardise(sample))
    flat = float(values.std()) <= 1e-6 * float(np.abs(values).max())
    return Direction(
        title=title,
        vector=vector,
        rows=rows,
        values=values,
        mean=float(values.mean()),
        deviation=float(values.std(ddof=1)),
        skewness=0.0 if flat else float(stats.skew(values)),
        kurtosis=0.0 if flat else float(stats.kurtosis(values)),
        statistic=float(statistic),
        p_value=_p_value(statistic, len(values), "simple"),
        shape_p=1.0 if flat else _p_value(shape, len(values), "composite"),
        skewness_p=1.0 if flat else float(stats.skewtest(values).pvalue),
        kurtosis_p=1.0 if flat else float(stats.kurtosistest(values).pvalue),
        gap=count_gap(values, deepest_valley(chosen_on @ vector)),
        drivers=_drivers(values, rows),
    )


def _p_value(statistic: torch.Tensor, n: int, null: str) -> float:
    calibration = Calibration(statistic="epps_pulley", n=n, d=1, null=null, n_null=N_NULL)
    return float(calibration.p_values(statistic, null_distribution(calibration)))


def _drivers(
    x: Float[np.ndarray, " b"], rows: Int64[np.ndarray, " b"], most: int = 5
) -> tuple[tuple[int, float], ...]:
    """By the influence function of the statistic: 2 n times the integral of Re((e - c) conj(c - g))

    over the window, with e = exp(i t x_i), c their mean and g the normal characteristic function.
    """
    rule = trapezoid(dtype=torch.float64)
    t, target, weights = (part.numpy() for part in rule)
    waves = np.exp(1j * np.outer(x, t))
    mean = waves.mean(0)
    influence = ((waves - mean) * np.conj(mean - target)).real @ weights
    order = np.argsort(-influence, kind="stable")[:most]
    return tuple((int(rows[i]), float(x[i])) for i in order)
