"""VICReg's two regularisers: variance of each dimension, covariance of each pair."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.distributed import sum_over_ranks


def variance_covariance(z: Float[Tensor, "... n d"]) -> Float[Tensor, ""]:
    """VICReg's two regularisers with weight 1 and 1 / 25, averaged over leading axes.

    The hinge of the standard deviations below 1, and the squared off-diagonal covariances summed
    and divided by d; over the samples of all ranks. Bardes et al., arXiv 2105.04906, equations 1
    to 4, with its published ratio of weights.
    """
    d = z.shape[-1]
    augmented = torch.cat([z.new_ones(*z.shape[:-1], 1), z], -1)
    moments = sum_over_ranks(augmented.mT @ augmented)  # (..., 1 + d, 1 + d)
    count = moments[..., :1, :1]
    mean = moments[..., :1, 1:] / count
    covariance = (moments[..., 1:, 1:] - count * mean.mT * mean) / (count - 1)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    hinge = (1 - (variance.clamp(min=0) + 1e-4).sqrt()).relu().mean()
    off_diagonal = covariance.square().sum((-2, -1)) - variance.square().sum(-1)
    return hinge + off_diagonal.mean() / d / 25


class VICReg(nn.Module):
    """`variance_covariance` as a regulariser; it sees second moments only, and `step` is ignored.

    Shape:
        (..., n, d) -> (); leading axes (views, time steps) are separate samples whose values are
        averaged. In float32 at least, over the samples of all ranks.
    """

    floor = float("nan")
    """Its value at perfect Gaussianity depends on n and d."""

    def forward(self, z: Float[Tensor, "... n d"], *, step: int | None = None) -> Float[Tensor, ""]:
        del step
        with torch.autocast(z.device.type, enabled=False):
            return variance_covariance(z if z.dtype == torch.float64 else z.float())
