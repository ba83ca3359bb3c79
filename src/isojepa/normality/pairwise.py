"""Multivariate statistics that are sums of a function of the distance between two samples.

Each is a weighted squared distance between the empirical characteristic function of z and that of
N(0, I), integrated in closed form, so none needs a grid, a direction or a seed:

    n [ mean_ij k(|z_i - z_j|^2) - 2 mean_i h(|z_i|^2) + c ].

Invariant under rotations. Null hypothesis: N(0, I); of `whiten(z)`, some normal law. Cost
n^2 (d + one evaluation of k) operations and n^2 memory.
"""

from math import exp, lgamma, pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.hypergeometric import mean_distance, sphere_average
from isojepa.normality.samples import multivariate_sample, squared_distances, whiten
from isojepa.normality.statistic import Null


def bhep(z: Float[Tensor, "... n d"], beta: float = 1.0) -> Float[Tensor, "..."]:
    """Baringhaus-Henze-Epps-Pulley: the characteristic functions' distance, Gaussian weighted.

    k(r2) = exp(-beta^2 r2 / 2), h(r2) = q^(-d/2) exp(-beta^2 r2 / (2 q)) with q = 1 + beta^2, and
    c = (1 + 2 beta^2)^(-d/2). The weight is the density of N(0, beta^2 I); the mean under the null
    is 1 - c. In high dimension k vanishes off the diagonal and the statistic says little.
    Epps and Pulley (1983); Baringhaus and Henze (1988), Metrika 35; Henze and Wagner (1997),
    J. Multivariate Analysis 62.

    Args:
        z: samples on axis -2; leading axes are separate samples.
        beta: standard deviation of the weight, positive; 1 / (beta sqrt(2)) is the bandwidth of
            the equivalent kernel density.
    """
    if not beta > 0:
        raise ValueError(f"beta must be positive, got {beta}")
    z = multivariate_sample(z)
    n, d = z.shape[-2:]
    q = 1 + beta**2
    pairs = torch.exp(-(beta**2) / 2 * squared_distances(z)).mean((-2, -1))
    single = torch.exp(-(beta**2) / (2 * q) * z.square().sum(-1)).mean(-1)
    return n * (pairs - 2 * q ** (-d / 2) * single + (1 + 2 * beta**2) ** (-d / 2))


def henze_zirkler(z: Float[Tensor, "... n d"], null: Null = "composite") -> Float[Tensor, "..."]:
    """Henze-Zirkler: `bhep` at the bandwidth that suits n and d.

    beta = ((2 d + 1) n / 4)^(1 / (d + 4)) / sqrt(2). Henze and Zirkler (1990), Communications in
    Statistics: Theory and Methods 19(10).

    Args:
        z: samples on axis -2; leading axes are separate samples.
        null: "composite", as published, whitens z and needs d + 1 samples; "simple" does not.

    Raises:
        ValueError: for the composite null with n at most d.
    """
    z = multivariate_sample(z)
    n, d = z.shape[-2:]
    beta = ((2 * d + 1) * n / 4) ** (1 / (d + 4)) / sqrt(2)
    return bhep(whiten(z) if null == "composite" else z, beta)


def energy(z: Float[Tensor, "... n d"]) -> Float[Tensor, "..."]:
    """Energy distance to N(0, I): n (2 E|z_i - Z| - E|Z - Z'| - mean_ij |z_i - z_j|).

    Z and Z' independent standard normal, their expectations in closed form. Its weight is
    |t|^-(d+1), so that far samples keep a gradient, of bounded norm; only coinciding samples have
    none. Mean E|Z - Z'| under the null. Szekely and Rizzo (2005), J. Multivariate Analysis 93, who
    whiten with divisor n - 1.

    Args:
        z: samples on axis -2; leading axes are separate samples.
    """
    z = multivariate_sample(z)
    n, d = z.shape[-2:]
    # Not from the Gram matrix: the root would turn its rounding into errors of 1e-3, and the
    # gradient at coinciding samples into NaN.
    pairs = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist").mean((-2, -1))
    single = mean_distance(z.square().sum(-1), d).mean(-1)
    return n * (2 * single - 2 * exp(lgamma((d + 1) / 2) - lgamma(d / 2)) - pairs)


def epps_pulley_all_directions(
    z: Float[Tensor, "... n d"], window: float = 1.0
) -> Float[Tensor, "..."]:
    """`epps_pulley_whole_line` of a.z averaged over all directions a of the sphere, exactly.

    The limit of SIGReg for infinitely many slices, knots and range. With w = window,
    p = 1 + 1/w^2 and F(s) = 1F1(1/2; d/2; -s), the Gaussian exp(-s u) averaged over the sphere,
    k(r2) = sqrt(2 pi) w F(w^2 r2 / 2), h(r2) = sqrt(2 pi / p) F(r2 / (2 p)) and
    c = sqrt(2 pi / (1 + p)). Its mean under the null is sqrt(2 pi) w - c, 1.0595 for w = 1,
    whatever n and d; F decays as a power, so that it works in any dimension.

    Args:
        z: samples on axis -2; leading axes are separate samples.
        window: standard deviation of the Gaussian window over frequencies, positive.
    """
    if not window > 0:
        raise ValueError(f"window must be positive, got {window}")
    z = multivariate_sample(z)
    n, d = z.shape[-2:]
    p = 1 + 1 / window**2
    pairs = sphere_average(window**2 / 2 * squared_distances(z), d).mean((-2, -1))
    single = sphere_average(z.square().sum(-1) / (2 * p), d).mean(-1)
    distance = sqrt(2 * pi) * window * pairs - 2 * sqrt(2 * pi / p) * single
    return n * (distance + sqrt(2 * pi / (1 + p)))
