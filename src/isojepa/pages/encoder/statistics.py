"""What a sample of embeddings says about its distribution; NumPy only, rows are samples."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from isojepa.embeddings.label_free import effective_rank, rankme


def thin(x: Shaped[np.ndarray, "n ..."], most: int = 2000, seed: int = 0) -> np.ndarray:
    """At most `most` rows of `x` in their order, drawn without replacement."""
    if len(x) <= most:
        return x
    return x[np.sort(np.random.default_rng(seed).choice(len(x), most, replace=False))]


# Second moments


def eigenvalues(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Eigenvalues of the covariance (divisor n - 1), largest first, never negative; n >= 2."""
    if len(x) < 2:
        raise ValueError(f"a covariance needs at least 2 samples, got {len(x)}")
    covariance = np.atleast_2d(np.cov(x.astype(np.float64), rowvar=False))
    return np.linalg.eigvalsh(covariance)[::-1].clip(min=0.0)


def entropic_rank(weights: Float[np.ndarray, " d"]) -> float:
    """exp of the entropy of the normalised weights: how many of them matter; 0 if all are 0."""
    total = weights.sum()
    if total == 0:
        return 0.0
    p = weights[weights > 0] / total
    return float(np.exp(-(p * np.log(p)).sum()))


def condition_number(x: Float[np.ndarray, "n d"]) -> float:
    """Largest over smallest eigenvalue of the covariance; infinite if singular, so if n <= d."""
    values = eigenvalues(x)
    # Rounding leaves about d * eps * largest where the true eigenvalue is zero.
    if len(x) <= x.shape[1] or values[-1] <= len(values) * np.finfo(np.float64).eps * values[0]:
        return float("inf")
    return float(values[0] / values[-1])


def spread(x: Float[np.ndarray, "n d"]) -> float:
    """Root mean square of the coordinates' standard deviations: 1 for N(0, I), 0 for a point."""
    return float(np.sqrt(x.astype(np.float64).var(axis=0).mean()))


def isotropic_eigenvalues(n: int, d: int, draws: int = 3) -> np.ndarray:
    """Mean spectrum, (d,), of the sample covariance of n draws from N(0, I_d).

    A finite sample of an isotropic Gaussian looks anisotropic (Marchenko-Pastur); this is the
    spectrum, and through `entropic_rank` the effective rank, that a perfect embedding would show.
    """
    rng = np.random.default_rng(0)
    return np.mean([eigenvalues(rng.standard_normal((n, d))) for _ in range(draws)], axis=0)


class Geometry(NamedTuple):
    """Second-moment summary of a sample, beside what N(0, I) would give at the same n and d."""

    n: int
    d: int
    eigenvalues: np.ndarray
    """(d,), largest first."""
    isotropic: np.ndarray
    """The same for N(0, I): `isotropic_eigenvalues`, (d,)."""
    effective_rank: float
    """Around the origin, where SIGReg wants the mean: 1 for a collapse to any other point."""
    isotropic_rank: float
    """Effective rank of N(0, I) at this n and d."""
    rankme: float
    condition_number: float
    spread: float

    @property
    def rank_share(self) -> float:
        """Effective rank relative to an isotropic sample's: near 1 if no direction is preferred."""
        return self.effective_rank / self.isotropic_rank


def geometry(x: Float[np.ndarray, "n d"], seed: int = 0) -> Geometry:
    """Summarise at most 2,000 rows of `x`; n >= 2, all values finite."""
    x = thin(x, seed=seed)
    spectrum, isotropic = eigenvalues(x), isotropic_eigenvalues(len(x), x.shape[1])
    return Geometry(
        n=len(x),
        d=x.shape[1],
        eigenvalues=spectrum,
        isotropic=isotropic,
        effective_rank=effective_rank(x, centred=False),
        isotropic_rank=entropic_rank(isotropic),
        rankme=rankme(x),
        condition_number=condition_number(x),
        spread=spread(x),
    )


# The Epps-Pulley statistic, slice by slice


def quadrature(knots: int = 17, t_max: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Knots t on [0, t_max] and weights: the folded trapezoid rule times exp(-t^2/2), each (k,).

    Written apart from `normality.univariate.trapezoid`, so that the report checks training with
    code that shares nothing with it.
    """
    t = np.linspace(0.0, t_max, knots)
    weights = np.full(knots, 2 * t[1])
    weights[[0, -1]] = t[1]
    return t, weights * np.exp(-(t**2) / 2)


def sigreg_floor(knots: int = 17, t_max: float = 3.0) -> float:
    """Expected Epps-Pulley statistic of samples from N(0, 1) itself, at any n: 1.06 by default.

    n E|mean exp(itx) - phi(t)|^2 = 1 - |phi(t)|^2 = 1 - exp(-t^2) (LeJEPA, Theorem 6).
    """
    t, weights = quadrature(knots, t_max)
    return float(weights @ (1 - np.exp(-(t**2))))


def sigreg_at_a_point(n: int, knots: int = 17, t_max: float = 3.0) -> float:
    """Epps-Pulley statistic of n samples that all sit at 0: what complete collapse scores."""
    t, weights = quadrature(knots, t_max)
    return float(n * (weights @ (1 - np.exp(-(t**2) / 2)) ** 2))


def epps_pulley(
    x: Float[np.ndarray, "n m"], knots: int = 17, t_max: float = 3.0
) -> Float[np.ndarray, " m"]:
    """Epps-Pulley statistic of each column against N(0, 1), as the definition reads."""
    mean = np.full(len(x), 1 / len(x), dtype=x.dtype)  # a product with it is the fastest mean
    total = np.zeros(x.shape[1])
    for t, weight in zip(*quadrature(knots, t_max)):
        angle = x * x.dtype.type(t)
        real, imaginary = mean @ np.cos(angle), mean @ np.sin(angle)
        total += weight * ((real - np.exp(-(t**2) / 2)) ** 2 + imaginary**2)
    return len(x) * total


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
    median_values: np.ndarray
    """The samples along the median direction, (n,)."""
    worst_values: np.ndarray
    """The samples along the worst direction, (n,)."""
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
    draws: int = 39,
    seed: int = 0,
    knots: int = 17,
    t_max: float = 3.0,
) -> SliceTest:
    """Test the rows of `x` against N(0, I_d) along `slices` random directions.

    The p-value is exact (Monte Carlo test): `draws` samples of N(0, I_d) of the same n meet the
    same directions, and p = (1 + how many have a worst slice at least as bad) / (1 + draws).
    Exact means over data and `seed` together: tests that share a seed, n and d share their
    simulated samples, so their p-values err together.
    """
    x = thin(np.asarray(x, dtype=np.float32), 1000, seed)  # 2 s on one core
    n, d = x.shape
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((d, slices), dtype=np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    projected = x @ directions
    statistics = epps_pulley(projected, knots, t_max)
    order = np.argsort(statistics)
    median, worst = order[slices // 2], order[-1]
    null = np.array(
        [
            epps_pulley(rng.standard_normal((n, d), dtype=np.float32) @ directions, knots, t_max)
            for _ in range(draws)
        ]
    )
    null_worst = null.max(axis=1)
    return SliceTest(
        n=n,
        slices=slices,
        median=float(statistics[median]),
        worst=float(statistics[worst]),
        median_values=projected[:, median],
        worst_values=projected[:, worst],
        null_slice_95=float(np.quantile(null, 0.95)),
        null_worst_95=float(np.quantile(null_worst, 0.95)),
        p_value=float((1 + (null_worst >= statistics[worst]).sum()) / (1 + draws)),
        least_p=1 / (1 + draws),
    )
