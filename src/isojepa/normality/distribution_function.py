"""Distances between the empirical distribution function and the standard normal's.

All sort the sample: their gradient passes through the sample's values, while the ranks, locally
constant, carry none; at ties it is one of the one-sided gradients. Null hypothesis: N(0, 1); of
`standardise(x)`, some normal law (Lilliefors' and Stephens' case 3, divisor n - 1).
"""

from math import pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.samples import univariate_sample


def kolmogorov_smirnov(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Kolmogorov-Smirnov: the largest distance between the distribution functions, in [0, 1].

    D = sup |F_n - Phi|, two-sided. sqrt(n) D has Kolmogorov's limit law (1933); with estimated
    mean and variance, Lilliefors (1967). Its gradient passes through one sample only.

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    x = univariate_sample(x)
    cdf = torch.special.ndtr(x.sort(-1).values)
    i = _ranks(x)
    above = (i / x.shape[-1] - cdf).amax(-1)
    below = (cdf - (i - 1) / x.shape[-1]).amax(-1)
    return torch.maximum(above, below)


def cramer_von_mises(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Cramer-von Mises: n times the integral of (F_n - Phi)^2 dPhi.

    W^2 = 1/(12 n) + sum_i ((2i - 1)/(2n) - Phi(x_(i)))^2; mean 1/6 under the null. Anderson and
    Darling (1952), Annals of Mathematical Statistics 23(2).

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    x = univariate_sample(x)
    n = x.shape[-1]
    cdf = torch.special.ndtr(x.sort(-1).values)
    return 1 / (12 * n) + ((2 * _ranks(x) - 1) / (2 * n) - cdf).square().sum(-1)


def watson(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Watson: Cramer-von Mises less what the mean of Phi(x) explains; the same on a circle.

    U^2 = W^2 - n (mean Phi(x) - 1/2)^2; mean 1/12 under the null. Watson (1961),
    Goodness-of-fit tests on a circle, Biometrika 48.

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    x = univariate_sample(x)
    centre = torch.special.ndtr(x).mean(-1) - 0.5
    return cramer_von_mises(x) - x.shape[-1] * centre.square()


def anderson_darling(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Anderson-Darling: n times the integral of (F_n - Phi)^2 / (Phi (1 - Phi)) dPhi.

    A^2 = -n - mean_i (2i - 1) (log Phi(x_(i)) + log Phi(-x_(n+1-i))); mean 1 under the null.
    Anderson and Darling (1952), Annals of Mathematical Statistics 23(2).

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    x = univariate_sample(x)
    x = x.sort(-1).values
    log_cdf = torch.special.log_ndtr(x)
    log_survival = torch.special.log_ndtr(-x).flip(-1)
    n = x.shape[-1]
    return -n - ((2 * _ranks(x) - 1) / n * (log_cdf + log_survival)).sum(-1)


def wasserstein(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """n times the squared 2-Wasserstein distance between the sample and N(0, 1), exactly.

    sum_i (x_(i) - q_i)^2 + n - sum_i q_i^2, where q_i is the mean of N(0, 1) between its quantiles
    (i-1)/n and i/n. Grows under the null like log log n. Del Barrio, Cuesta-Albertos, Matran and
    Rodriguez-Rodriguez (1999), Annals of Statistics 27(4), for the composite form.

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    x = univariate_sample(x)
    n = x.shape[-1]
    edges = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    density = torch.exp(-0.5 * torch.special.ndtri(edges).square()) / sqrt(2 * pi)
    cell_means = n * (density[:-1] - density[1:])
    within_cells = float(n - cell_means.square().sum())
    return (x.sort(-1).values - cell_means.to(x)).square().sum(-1) + within_cells


def quantile_distance(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Squared distance of the sorted sample to the normal quantiles i/(n+1): sum over samples.

    The usual discretisation of `wasserstein`; divided by n, the shape term of VISReg (arXiv
    2606.02572).

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    x = univariate_sample(x)
    i = torch.arange(1, x.shape[-1] + 1, dtype=torch.float64)
    quantiles = torch.special.ndtri(i / (x.shape[-1] + 1))
    return (x.sort(-1).values - quantiles.to(x)).square().sum(-1)


def _ranks(x: Tensor) -> Tensor:
    return torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
