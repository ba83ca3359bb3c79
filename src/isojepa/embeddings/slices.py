"""SIGReg's own view of samples: Epps-Pulley along random directions, beside Gaussian noise."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32

from isojepa.embeddings.samples import draw_rows
from isojepa.normality.characteristic_function import epps_pulley, epps_pulley_from_sums, trapezoid

MOST = 1000
"""Samples tested; two seconds on one core."""


class SliceTest(NamedTuple):
    """Epps-Pulley over many directions, and how often Gaussian noise scores as high."""

    n: int
    """Samples tested."""
    slices: int
    """Directions tried."""
    median: float
    """Statistic of the median direction."""
    worst: float
    """Statistic of the direction furthest from normal."""
    median_values: Float32[np.ndarray, " n"]
    """The samples along the median direction."""
    worst_values: Float32[np.ndarray, " n"]
    """The samples along the worst direction."""
    null_slice_95: float
    """95 % quantile of one slice's statistic under N(0, I)."""
    null_worst_95: float
    """95 % quantile of the worst slice's statistic under N(0, I)."""
    p_value: float
    """Share of Gaussian samples of this size whose worst slice is at least as bad."""
    least_p: float
    """The smallest p-value this many simulated samples can give."""


def slice_test(
    x: Float[np.ndarray, "n d"],
    *,
    slices: int = 512,
    n_null: int = 39,
    seed: int = 0,
    knots: int = 17,
    t_max: float = 3.0,
) -> SliceTest:
    """Test the rows of `x`, at most 1,000, against N(0, I) along random directions.

    The p-value is exact (Monte Carlo test): `n_null` samples of N(0, I) of the same n meet the
    same directions, and p = (1 + how many have a worst slice at least as bad) / (1 + n_null).
    Exact means over data and `seed` together: tests that share a seed, n and d share their
    simulated samples, so their p-values err together.
    """
    x = np.asarray(x, dtype=np.float32)[draw_rows(len(x), MOST, seed)]
    n, d = x.shape
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((d, slices), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=0)

    def statistics(rows: Float32[np.ndarray, "n m"]) -> Float[np.ndarray, " m"]:
        columns = torch.from_numpy(np.ascontiguousarray(rows.T))
        return epps_pulley(columns, knots, t_max).double().numpy()

    projected = x @ directions
    found = statistics(projected)
    order = np.argsort(found)
    median, worst = order[slices // 2], order[-1]
    noise = (rng.standard_normal((n, d), dtype=np.float32) for _ in range(n_null))
    null = np.array([statistics(rows @ directions) for rows in noise])
    null_worst = null.max(axis=1)
    return SliceTest(
        n=n,
        slices=slices,
        median=float(found[median]),
        worst=float(found[worst]),
        median_values=projected[:, median],
        worst_values=projected[:, worst],
        null_slice_95=float(np.quantile(null, 0.95)),
        null_worst_95=float(np.quantile(null_worst, 0.95)),
        p_value=float((1 + (null_worst >= found[worst]).sum()) / (1 + n_null)),
        least_p=1 / (1 + n_null),
    )


def sigreg_at_a_point(n: int, knots: int = 17, t_max: float = 3.0) -> float:
    """Epps-Pulley statistic of n samples that all sit at 0: what complete collapse scores."""
    rule = trapezoid(knots, t_max, dtype=torch.float64)
    sums = torch.full_like(rule.knots, n)
    return float(epps_pulley_from_sums(sums, torch.zeros_like(sums), n, rule))
