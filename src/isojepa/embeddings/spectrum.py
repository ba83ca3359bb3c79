"""What second moments say: how many directions are in use, how evenly, and what a probe pays."""

from math import sqrt
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import linalg, special

from isojepa.embeddings.label_free import entropic_rank
from isojepa.embeddings.moments import Moments

DEAD = 1e-4
"""A direction with a smaller share of the mean variance than this counts as dead: its standard
deviation is below a hundredth of the others'."""
LEVEL = 1e-3
"""Chance that isotropic Gaussian samples are said to have a dead direction."""
NUMERICAL_ZERO = 1e-12
"""Relative to the largest eigenvalue; rounding decides what is below."""


class Bias(NamedTuple):
    """What ridge regression loses of a weight along the narrowest direction: Lemma 1 of LeJEPA.

    Ridge a shrinks the weight along a direction of variance l by the share a / (l + a).
    """

    ridge: float
    """As a share of the mean variance."""
    narrowest: float
    """Share of the weight that is lost along the narrowest direction; nan if n is at most d, where
    that direction cannot be seen."""
    isotropic: float
    """The same for as many isotropic Gaussian samples of equal total variance: the narrowest
    direction of few samples is narrower than the law's, so these lose more than a / (1 + a)."""


class Spectrum(NamedTuple):
    """Second moments of n samples, beside those of as many isotropic Gaussian ones."""

    n: int
    d: int
    eigenvalues: Float[np.ndarray, " d"]
    """Of the covariance, largest first, none below 0."""
    axes: Float[np.ndarray, "d r"]
    """Principal axes as columns, in the same order; fewer than d if n is at most d."""
    isotropic: Float[np.ndarray, " d"]
    """Mean eigenvalues of n isotropic Gaussian samples with the same total variance."""
    mean: Float[np.ndarray, " d"]
    effective_rank: float
    """Exponential of the entropy of the shares of variance (Roy and Vetterli 2007)."""
    uncentred_rank: float
    """The same of second moments around 0: 1 for a collapse to any other point."""
    isotropic_rank: float
    """The same for n isotropic Gaussian samples."""
    rankme: float
    """The same of the singular values of the embeddings, uncentred (Garrido et al. 2023)."""
    condition_number: float
    """Largest over smallest eigenvalue; infinite if a direction is dead or n is at most d."""
    dead: int
    """Directions of almost no variance, `DEAD`, where an isotropic Gaussian has some."""
    unevenness: float
    """Squared coefficient of variation of the true eigenvalues, without what n adds; 0 if even."""
    unevenness_z: float
    """In standard deviations of the same for isotropic Gaussian samples."""
    probe_variance: float
    """Total variance of a linear probe's weights over an isotropic embedding's: Lemma 2 of LeJEPA.

    mean(l) mean(1/l) over the true eigenvalues l, without what n adds: 1 if isotropic. Infinite
    with a dead direction, nan if n is too small to tell."""
    probe_variance_error: float
    """Its standard deviation over isotropic Gaussian samples."""
    probe_bias: tuple[Bias, ...]
    """At a weak, a moderate and a strong ridge."""

    @property
    def deviation(self) -> float:
        """Root mean square of the coordinates' standard deviations: 1 for N(0, I)."""
        return sqrt(self.eigenvalues.mean())

    @property
    def length(self) -> float:
        """Root mean square length of the samples."""
        return sqrt(self.eigenvalues.sum() + self.mean @ self.mean)

    @property
    def shift(self) -> float:
        """Length of the mean in standard deviations, without what n adds; 0 if centred."""
        variance = self.eigenvalues.mean()
        excess = self.mean @ self.mean - self.eigenvalues.sum() / self.n
        return sqrt(max(excess, 0.0) / variance) if variance > 0 else float("inf")

    @property
    def rank_share(self) -> float:
        """Effective rank over that of an isotropic Gaussian: 1 if no direction is preferred."""
        return self.effective_rank / self.isotropic_rank

    @property
    def uncentred_share(self) -> float:
        """The same of second moments around 0: a mean away from it is a direction of its own."""
        return self.uncentred_rank / self.isotropic_rank

    @property
    def isotropic_condition(self) -> float:
        """Condition number of n isotropic Gaussian samples; infinite if n is at most d."""
        spanned = self.n > self.d and self.isotropic[-1] > 0
        return float(self.isotropic[0] / self.isotropic[-1]) if spanned else float("inf")

    @property
    def alive(self) -> int:
        """Directions with more variance than rounding makes."""
        return int((self.eigenvalues > NUMERICAL_ZERO * self.eigenvalues[0]).sum())


def spectrum_of(moments: Moments, *, effective_n: float | None = None, seed: int = 0) -> Spectrum:
    """Summarise second moments.

    Args:
        effective_n: independent Gaussian samples that would know the covariance as well; all by
            default. Heavy tails and repeated rows make it fewer.
    """
    values, axes = moments.eigen
    n, d = moments.n, len(values)
    freedom = max(2.0, float(n if effective_n is None else effective_n) - 1)
    isotropic = values.mean() * isotropic_eigenvalues(freedom, d, seed=seed)
    threshold = values.mean() * np.minimum(DEAD, least_eigenvalues(freedom, d))
    # At n = d + 1 the bound is within what rounding makes of a direction without any variance.
    threshold = np.maximum(threshold, 16 * np.finfo(float).eps * values[0])
    dead = int((values[: min(n - 1, d)] <= threshold[: min(n - 1, d)]).sum())
    squared = float((values**2).mean() / max(values.mean() ** 2, np.finfo(float).tiny))
    noise = (d + 1) / freedom
    cost, error = _probe_variance(values, freedom, dead)
    return Spectrum(
        n=n,
        d=d,
        eigenvalues=values,
        axes=axes,
        isotropic=isotropic,
        mean=moments.mean,
        effective_rank=entropic_rank(values),
        uncentred_rank=entropic_rank(moments.second),
        isotropic_rank=max(entropic_rank(isotropic), 1.0),
        rankme=entropic_rank(np.sqrt(moments.second)),
        condition_number=float(values[0] / values[-1]) if dead == 0 and n > d else float("inf"),
        dead=dead,
        unevenness=max(squared - 1 - noise, 0.0),
        unevenness_z=(squared - 1 - noise) * freedom / 2 if d > 1 else 0.0,
        probe_variance=cost,
        probe_variance_error=error,
        probe_bias=tuple(_bias(ridge, values, isotropic) for ridge in (0.01, 0.1, 1.0)),
    )


def isotropic_eigenvalues(
    freedom: float | int, d: int, *, draws: int = 3, seed: int = 0
) -> Float[np.ndarray, " d"]:
    """Mean eigenvalues of the covariance of isotropic Gaussian samples, largest first; mean 1.

    A finite sample looks anisotropic (Marchenko-Pastur).

    Args:
        freedom: degrees of freedom, n - 1; need not be whole.
        d: dimensions.
    """
    rng = np.random.default_rng(seed)
    small, large = (d, float(freedom)) if freedom >= d else (max(1, round(freedom)), float(d))
    spectra = np.zeros((draws, d))
    for row in spectra:
        row[:small] = wishart_eigenvalues(rng, small, large)
    spectrum = spectra.mean(0)
    return spectrum / spectrum.mean()


def wishart_eigenvalues(
    rng: np.random.Generator, small: int, large: float
) -> Float[np.ndarray, " small"]:
    """Eigenvalues of a random Wishart matrix of unit scale, largest first.

    Those of B B^T for a bidiagonal B of independent chi variables (Dumitriu and Edelman 2002,
    J. Math. Phys. 43(11)): small^2 operations, and no matrix.

    Args:
        small: order of the matrix.
        large: degrees of freedom, at least `small`; need not be whole.
    """
    diagonal = rng.chisquare(large - np.arange(small))  # of B, squared
    below = rng.chisquare(np.arange(small - 1, 0, -1))
    main = diagonal + np.r_[0.0, below]
    side = np.sqrt(diagonal[:-1] * below)
    return linalg.eigvalsh_tridiagonal(main, side)[::-1].clip(min=0)


def least_eigenvalues(
    freedom: float | int, d: int, level: float = LEVEL
) -> Float[np.ndarray, " d"]:
    """What eigenvalues of isotropic Gaussian samples stay above, largest first, if their mean is 1.

    All of them, but with chance `level`. The least eigenvalue of a Wishart matrix of m by m and n
    degrees of freedom lies below t with a chance of at most

        2 L t^((n - m + 1) / 2) / (n - m + 1),
        L = 2^((n - m - 1) / 2) gamma((n + 1) / 2) / (gamma(m / 2) gamma(n - m + 1))

    (Chen and Dongarra 2005, SIAM Journal on Matrix Analysis and Applications 27(3)), and by
    Cauchy's interlacing the k-th least one above the least of m - k + 1 by m - k + 1. Where
    n = m the least falls below a hundredth of its mean in a tenth of draws.

    Args:
        freedom: degrees of freedom, n - 1; need not be whole.
        d: dimensions; beyond `freedom` of them eigenvalues are 0.
    """
    small = min(d, max(1, round(freedom)))
    large = max(float(d), freedom, float(small)) if freedom < d else max(freedom, float(small))
    size = np.arange(1.0, small + 1)  # m of the matrix that bounds each eigenvalue, largest first
    order = small - size + 1  # 1 for the least
    chance = level * 6 / (np.pi * order) ** 2  # adds up to the level
    free = large - size + 1
    log_l = (
        (free - 2) / 2 * np.log(2)
        + special.gammaln((large + 1) / 2)
        - special.gammaln(size / 2)
        - special.gammaln(free)
    )
    log_t = (np.log(chance) + np.log(free / 2) - log_l) * 2 / free
    bounds = np.minimum.accumulate(np.exp(log_t) / freedom)
    return np.pad(bounds, (0, d - small))


def _probe_variance(
    values: Float[np.ndarray, " d"], freedom: float | int, dead: int
) -> tuple[float, float]:
    """Lemma 2's cost and its standard deviation under isotropy.

    The inverse of a Wishart matrix of `freedom` degrees of freedom is too large by
    freedom / (freedom - d - 1) on average; the spread of its trace is Bai and Silverstein's (2004).
    """
    d = len(values)
    if d == 1:
        return 1.0, 0.0
    if dead:
        return float("inf"), 0.0
    if freedom < 1.2 * d + 4:
        return float("nan"), 0.0
    y = d / freedom
    cost = float(values.mean() * (1 / values).mean() * (freedom - d - 1) / freedom)
    return cost, sqrt(2 * y) / (d * (1 - y)) + 2 / freedom


def _bias(ridge: float, values: Float[np.ndarray, " d"], perfect: Float[np.ndarray, " d"]) -> Bias:
    if perfect[-1] <= NUMERICAL_ZERO * perfect[0]:  # no sample reaches that far
        return Bias(ridge, float("nan"), float("nan"))

    def lost(x: Float[np.ndarray, " d"]) -> float:
        return float(ridge / (x[-1] / max(x.mean(), np.finfo(float).tiny) + ridge))

    return Bias(ridge, lost(values), lost(perfect))
