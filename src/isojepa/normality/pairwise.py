"""Multivariate statistics that are sums of a function of the distance between two samples.

Each is a weighted squared distance between the empirical characteristic function of z and that of
N(0, I), integrated in closed form, so none needs a grid, a direction or a seed:

    n [ mean_ij k(|z_i - z_j|^2) - 2 mean_i h(|z_i|^2) + c ].

Invariant under rotations. Null hypothesis: N(0, I); of `whiten(z)`, some normal law. Cost
n^2 (d + one evaluation of k) operations; memory n^2, but for `epps_pulley_all_directions`.
"""

from collections.abc import Iterator
from math import exp, lgamma, pi, sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.hypergeometric import mean_distance, sphere_average_excess
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
    whatever n and d; F decays as a power, so that it works in any dimension. Takes n^2 d
    operations and memory proportional to n d; differentiable once.

    Args:
        z: samples on axis -2; leading axes are separate samples.
        window: standard deviation of the Gaussian window over frequencies, positive.
    """
    if not window > 0:
        raise ValueError(f"window must be positive, got {window}")
    z = multivariate_sample(z)
    return all_directions_floor(window) + all_directions_share(z, z.detach(), 0, window)


def all_directions_floor(window: float = 1.0) -> float:
    """Expectation of `epps_pulley_all_directions` for standard normal samples of any size."""
    return sqrt(2 * pi) * window - sqrt(2 * pi / (2 + 1 / window**2))


def all_directions_share(
    rows: Float[Tensor, "... r d"],
    sample: Float[Tensor, "... n d"],
    start: int,
    window: float = 1.0,
) -> Float[Tensor, "..."]:
    """What some of the samples contribute to `epps_pulley_all_directions` above its floor.

    Since k, h and c have the same mean c under the null, the statistic is its floor plus

        sum_i [ 1/n sum_{j != i} (k(|z_i - z_j|^2) - c) - 2 (h(|z_i|^2) - c) ],

    a sum of small terms that loses no precision in float32. The shares of disjoint sets of rows
    add up, and so do their gradients: that with respect to `rows` is the gradient of the whole
    statistic.

    Args:
        rows: samples start, ..., start + r - 1 of `sample`; the gradient flows to them only.
        sample: all n samples, as constants.
    """
    with_gradient = torch.is_grad_enabled() and rows.requires_grad
    return _Share.apply(rows, sample, start, window, with_gradient)


class _Share(torch.autograd.Function):
    """Value and gradient in blocks of pairs, together: they share distances and powers."""

    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, sample: Tensor, start: int, window: float, with_gradient: bool
    ) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            value, gradient = _share(rows, sample, start, window, with_gradient)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[..., None, None], None, None, None, None


def _share(
    rows: Tensor, sample: Tensor, start: int, window: float, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    (r, d), n = rows.shape[-2:], sample.shape[-2]
    p = 1 + 1 / window**2
    pair_weight, single_weight = sqrt(2 * pi) * window / n, 2 * sqrt(2 * pi / p)
    wide = rows.dtype if rows.device.type == "mps" else torch.float64  # for sums of many terms
    count = rows.shape[:-2].numel()
    x, y = rows.reshape(count, r, d), sample.reshape(count, n, d)
    lengths = x.square().sum(-1) / (2 * p)
    single = sphere_average_excess(lengths, d, 1 / (2 * p), slope=with_gradient)
    value = -single_weight * single.value.sum(-1, dtype=wide)
    gradient = None
    if single.slope is not None:
        gradient = x * (single.slope * (-single_weight / p)).to(x.dtype).unsqueeze(-1)
    # Distances do not see a common shift; without it they lose less to rounding.
    shift = y.mean(-2, keepdim=True)
    x, y = x - shift, y - shift
    for samples, block in _blocks(count, r, n, x.device):
        a, b = x[samples, block], y[samples]
        s = _half_squared_distances(a, b).mul_(window**2)
        pairs = sphere_average_excess(s, d, window**2, slope=with_gradient)
        diagonal = start + block.start
        _clear_diagonal(pairs.value, diagonal)
        value[samples] += pair_weight * pairs.value.sum((-2, -1), dtype=wide)
        if pairs.slope is not None and gradient is not None:
            slope = pairs.slope.to(x.dtype)
            _clear_diagonal(slope, diagonal)
            pull = torch.baddbmm(a * slope.sum(-1, keepdim=True), slope, b, alpha=-1)
            gradient[samples, block] += pull.mul_(2 * window**2 * pair_weight)
    if gradient is not None:
        gradient = gradient.reshape(rows.shape)
    return value.to(rows.dtype).reshape(rows.shape[:-2]), gradient


def _blocks(count: int, r: int, n: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Slices of the separate samples and of their rows, of about as many pairs as fit a cache."""
    budget = 2**17 if device.type == "cpu" else 2**24
    rows = max(1, min(r, budget // max(n, 1)))
    together = max(1, budget // max(r * n, 1))
    for first in range(0, count, together):
        for row in range(0, r, rows):
            yield slice(first, first + together), slice(row, row + rows)


def _half_squared_distances(a: Float[Tensor, "b r d"], b: Float[Tensor, "b n d"]) -> Tensor:
    norms = 0.5 * (a.square().sum(-1).unsqueeze(-1) + b.square().sum(-1).unsqueeze(-2))
    return torch.baddbmm(norms, a, b.mT, alpha=-1).clamp_min_(0)


def _clear_diagonal(x: Tensor, offset: int) -> None:
    x.diagonal(offset, dim1=-2, dim2=-1).zero_()
