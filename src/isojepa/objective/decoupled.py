"""Scale and shape apart, along each slice: a gradient that does not vanish at collapse.

The characteristic function of embeddings that have shrunk to a point is flat, and so is SIGReg:
at a standard deviation s its gradient is proportional to s. VISReg (arXiv 2606.02572) answers with
(1 - std)^2 per dimension, whose gradient does not depend on s, and a test of shape on embeddings
standardised with constants. Dimensions are not enough, though: embeddings on the diagonal line have
mean 0 and standard deviation 1 in each of them, and Epps-Pulley finds them hardly more wrong than
any other line. So here centre, scale and standardisation are those of each slice. They are correct
along all directions only if the covariance is the identity, and the directions in which there is no
variance pull hardest.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.distributed import gather_over_ranks, sum_over_ranks
from isojepa.kernels import cos_sin_sums
from isojepa.normality.univariate import epps_pulley_from_sums, trapezoid

Shape = Literal["epps_pulley", "wasserstein"]
"""The test of the standardised projections."""

# Divisor below which standardisation stops. It bounds the gradient of the shape at ten times what
# it is at standard deviation 1, where 1 / std would throw collapsed embeddings far out.
SMALLEST_SCALE = 0.1


class SliceMoments(NamedTuple):
    """Of each slice, over the samples of all ranks."""

    centred: Float[Tensor, "... n m"]
    """This rank's projections less their mean, which counts as a constant."""
    mean: Float[Tensor, "... m"]
    std: Float[Tensor, "... m"]
    """Divisor n."""
    n: Float[Tensor, ""]
    """Samples of all ranks."""


def decoupled_statistic(
    z: Float[Tensor, "... n d"],
    directions: Float[Tensor, "d m"],
    *,
    shape: Shape = "epps_pulley",
    knots: int = 17,
    t_max: float = 3.0,
    same: tuple | None = None,
) -> Float[Tensor, "... m"]:
    """n mean^2 + n (1 - std)^2 + shape of (x - mean) / std, along each direction.

    n is the size of the global batch, which makes each term a test statistic whose mean at perfect
    Gaussianity hardly depends on n: 1, 1/2 and that of the shape. The first two together are n
    times the squared Wasserstein distance between N(mean, std^2) and N(0, 1). In the shape, mean
    and std count as constants, and std as at least 0.1.

    Args:
        z: embeddings; axis -2 holds this rank's n samples, leading axes are separate samples.
        directions: unit columns.
        shape: "epps_pulley", as in SIGReg, or "wasserstein", n times the squared Wasserstein
            distance to the normal quantiles at i / (n + 1); the latter sorts all ranks' samples.
        knots, t_max: of Epps-Pulley.
        same: see `sum_over_ranks`.
    """
    moments = slice_moments(z @ directions, same)
    scale = moments.n * (moments.mean.square() + (1 - moments.std).square())
    divisor = moments.std.detach().clamp_min(SMALLEST_SCALE)
    y = moments.centred / divisor.unsqueeze(-2)
    if shape == "wasserstein":
        return scale + _wasserstein(y, quantiles_by_rank(z, directions))
    sums = torch.stack(cos_sin_sums(y, knots, t_max / (knots - 1)))
    cos_sums, sin_sums = sum_over_ranks(sums)
    rule = trapezoid(knots, t_max, dtype=y.dtype, device=y.device)
    return scale + epps_pulley_from_sums(cos_sums, sin_sums, moments.n, rule)


def slice_moments(x: Float[Tensor, "... n m"], same: tuple | None = None) -> SliceMoments:
    """Mean and standard deviation of each slice, in two sums: a far mean costs no precision."""
    count = x.new_full((1,), float(x.shape[-2]))
    totals = sum_over_ranks(torch.cat([x.sum(-2).flatten(), count]), same=same)
    mean = totals[:-1].reshape(*x.shape[:-2], x.shape[-1]) / totals[-1]
    centred = x - mean.detach().unsqueeze(-2)
    variance = sum_over_ranks(centred.square().sum(-2)) / totals[-1]
    std = variance.clamp_min(torch.finfo(x.dtype).tiny).sqrt()
    return SliceMoments(centred, mean, std, totals[-1])


def _wasserstein(y: Tensor, quantiles: Tensor) -> Tensor:
    return sum_over_ranks((y - quantiles).square().sum(-2))


@torch.no_grad()
def quantiles_by_rank(z: Tensor, directions: Tensor) -> Tensor:
    """For each of this rank's projections the normal quantile at its rank among all ranks'."""
    sample, start = gather_over_ranks(z)
    n = sample.shape[-2]
    order = (sample @ directions).argsort(-2)
    levels = torch.arange(1, n + 1, dtype=z.dtype, device=z.device) / (n + 1)
    quantiles = torch.special.ndtri(levels).unsqueeze(-1).expand(order.shape)
    return torch.empty_like(quantiles, memory_format=torch.contiguous_format).scatter_(
        -2, order, quantiles
    )[..., start : start + z.shape[-2], :]


def decoupled_floor(shape: Shape = "epps_pulley", knots: int = 17, t_max: float = 3.0) -> float:
    """Expectation of `decoupled_statistic` for many standard normal samples: 1.83 by default.

    Mean and scale contribute 1 + 1/2. Standardising a sample takes from the variance of its
    characteristic function what mean and variance explain of it, to first order in 1/n
    (1 - phi^2 (1 + t^2 + t^4 / 2)) / n is left. There is no such number for "wasserstein", which
    grows with n, like log log n: NaN.
    """
    if shape == "wasserstein":
        return float("nan")
    t, target, weights = trapezoid(knots, t_max, dtype=torch.float64)
    left = 1 - target.square() * (1 + t.square() + t.pow(4) / 2)
    return 1.5 + float((left * weights).sum())
