"""Directions along which the samples look least like N(0, 1), and the samples that make it so.

Directions are chosen on one half of the samples and tested on the other. Along a direction that
does not depend on them, Gaussian samples are Gaussian, so that the tests of one sample apply as
they are, however many directions were tried: only those that were tested count.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy import stats

from isojepa.embeddings.candidates import candidate_directions, choose_directions, gap_p_value
from isojepa.embeddings.clusters import Gap, count_gap, deepest_valley
from isojepa.normality.calibration import Calibration
from isojepa.normality.characteristic_function import trapezoid
from isojepa.normality.null import null_distribution
from isojepa.normality.samples import standardise
from isojepa.normality.statistic import Null
from isojepa.normality.univariate import epps_pulley

LEAST_HALF = 32
"""Samples in a half, below which no search is made."""
GAPS = 3
"""Directions in which a gap is tested: those with the clearest one in the first half."""


class Direction(NamedTuple):
    """Samples along one direction, in the target's standard deviations; held out of its choice."""

    title: str
    """What it is, such as Principal axis 1."""
    why: str
    """Why it was chosen, such as widest."""
    vector: Float[np.ndarray, " d"]
    """Of length 1, in the file's coordinates."""
    rows: Int64[np.ndarray, " b"]
    """Numbers of the samples' rows."""
    values: Float[np.ndarray, " b"]
    """The samples along the direction: N(0, 1) if they are what SIGReg asks for."""
    mean: float
    deviation: float
    skewness: float
    """0 for a normal law."""
    lopsided_z: float
    """Skewness of the deciles in standard errors: one that far samples do not make."""
    kurtosis: float
    """Excess: 0 for a normal law, -2 for two points."""
    statistic: float
    """Epps-Pulley against N(0, 1)."""
    p_value: float
    """Of the statistic."""
    shape_p: float
    """Of Epps-Pulley of the standardised samples: mean and deviation do not count."""
    kurtosis_p: float
    """Anscombe and Glynn's test; two-sided."""
    kurtosis_error: float
    """Standard error of the kurtosis, of any law."""
    gap: Gap | None
    """Of the deepest valley; None if other directions promised deeper ones."""
    drivers: tuple[tuple[int, float], ...]
    """Rows without which the statistic would fall most, with their values."""


class DirectionSearch(NamedTuple):
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
    n_null: int = 1999,
    seed: int = 0,
) -> DirectionSearch:
    """Search half of the samples for telling directions and test the other half along them.

    Args:
        x: samples, finite.
        rows: their numbers in the file.
        unit: standard deviation that the target has in every direction.
        columns: name of a coordinate.
        n_null: simulated samples behind each p-value.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    search, test = np.sort(order[: len(x) // 2]), np.sort(order[len(x) // 2 :])
    if len(search) < LEAST_HALF:
        return DirectionSearch((), 0, len(test))
    scaled = x.astype(np.float64) / unit
    first, second = scaled[search], scaled[test]
    candidates = list(candidate_directions(first, columns, seed))
    chosen = list(choose_directions(first, candidates))
    valleys = [deepest_valley(first @ vector) for _, _, vector in chosen]
    promise = [gap_p_value(first @ vector) for _, _, vector in chosen]
    clearest = sorted(range(len(chosen)), key=promise.__getitem__)[:GAPS]
    directions = []
    for i, (title, why, vector) in enumerate(chosen):
        values = second @ vector
        gap = count_gap(values, valleys[i]) if i in clearest else None
        directions.append(_measure(title, why, vector, rows[test], values, gap, n_null))
    directions.sort(key=lambda direction: -direction.statistic)
    tried = sum(c.vectors.shape[1] for c in candidates)
    return DirectionSearch(tuple(directions), tried, len(test))


def _measure(
    title: str,
    why: str,
    vector: Float[np.ndarray, " d"],
    rows: Int64[np.ndarray, " b"],
    values: Float[np.ndarray, " b"],
    gap: Gap | None,
    n_null: int,
) -> Direction:
    flat = float(values.std()) <= 1e-6 * float(np.abs(values).max())
    sample = torch.from_numpy(values)
    statistic = epps_pulley(sample)
    shape = epps_pulley(standardise(sample))
    return Direction(
        title=title,
        why=why,
        vector=vector,
        rows=rows,
        values=values,
        mean=float(values.mean()),
        deviation=float(values.std(ddof=1)),
        skewness=0.0 if flat else float(stats.skew(values)),
        lopsided_z=0.0 if flat else _decile_skewness(values) * len(values) ** 0.5,
        kurtosis=0.0 if flat else float(stats.kurtosis(values)),
        statistic=float(statistic),
        p_value=_p_value(statistic, len(values), "simple", n_null),
        shape_p=1.0 if flat else _p_value(shape, len(values), "composite", n_null),
        kurtosis_p=1.0 if flat else float(stats.kurtosistest(values).pvalue),
        kurtosis_error=0.0 if flat else _kurtosis_error(values),
        gap=gap,
        drivers=_drivers(values, rows),
    )


def _decile_skewness(x: Float[np.ndarray, " b"]) -> float:
    """(q90 + q10 - 2 q50) / (q90 - q10) over 1.03, its error for n = 1 normal sample."""
    low, middle, high = np.quantile(x, [0.1, 0.5, 0.9])
    return float((high + low - 2 * middle) / max(high - low, 1e-30) / 1.03)


def _kurtosis_error(x: Float[np.ndarray, " b"]) -> float:
    """By the influence function of the kurtosis, z^4 - k - 2 k (z^2 - 1) - 4 skewness z."""
    z = stats.zscore(x)
    skewness, kurtosis = (z**3).mean(), (z**4).mean()
    influence = z**4 - kurtosis - 2 * kurtosis * (z**2 - 1) - 4 * skewness * z
    return float(influence.std() / len(x) ** 0.5)


def _p_value(statistic: torch.Tensor, n: int, null: Null, n_null: int) -> float:
    calibration = Calibration(statistic="epps_pulley", n=n, d=1, null=null, n_null=n_null)
    return float(calibration.p_values(statistic, null_distribution(calibration)))


def _drivers(
    x: Float[np.ndarray, " b"], rows: Int64[np.ndarray, " b"], most: int = 5
) -> tuple[tuple[int, float], ...]:
    """By the statistic's influence function, 2 int Re[(e - c) conj(c - g)] over the window.

    e = exp(i t x) of one sample, c the mean over all, g the normal characteristic function.
    """
    rule = trapezoid(dtype=torch.float64)
    t, target, weights = (part.numpy() for part in rule)
    waves = np.exp(1j * np.outer(x, t))
    mean = waves.mean(0)
    influence = ((waves - mean) * np.conj(mean - target)).real @ weights
    order = np.argsort(-influence, kind="stable")[:most]
    return tuple((int(rows[i]), float(x[i])) for i in order)
