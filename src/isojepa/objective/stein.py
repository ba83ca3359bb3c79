"""The kernel Stein discrepancy of embeddings from N(0, I): no slices, and no sample of the target.

KerJEPA (arXiv 2512.19605) trains with it; Chwialkowski et al. (2016) and Liu et al. (2016) have the
statistic, Gorham and Mackey (2017) the inverse multiquadric kernel with exponent -1/2.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.distributed import gather_over_ranks, sum_over_ranks


def stein_discrepancy(z: Float[Tensor, "... n d"]) -> Float[Tensor, ""]:
    """n times the squared kernel Stein discrepancy from N(0, I), as a U-statistic.

    With k(x, y) = f(|x - y|^2), f(r) = (1 + r / d)^(-1/2), and the score -x of N(0, I), Stein's
    kernel is

        u(x, y) = f x.y + 2 r f' - 2 d f' - 4 r f'',

    of mean 0 in either argument under N(0, I), and the value n mean_{i != j} u(z_i, z_j). Its
    expectation at perfect Gaussianity is 0, and single batches may be negative; n - n / d or so
    more at a point. The diagonal is left out because u(x, x) = |x|^2 + 1 has a gradient of its
    own, which would shrink every batch. Distances count per dimension, so that the kernel keeps
    its width as d grows; the width of KerJEPA's may be another.

    In float32 at least, under `torch.distributed` over the samples of all ranks, each of which
    computes the pairs of its own. Memory for some ten arrays of n^2.

    Args:
        z: embeddings; axis -2 holds the samples, leading axes (views, time steps) are separate
            samples whose values are averaged.

    Raises:
        ValueError: if `z` has fewer than two axes, or there are fewer than two samples.
    """
    if z.ndim < 2:
        raise ValueError(f"stein_discrepancy needs (..., n, d) embeddings, got {tuple(z.shape)}")
    z = z if z.dtype == torch.float64 else z.float()
    sample, start = gather_over_ranks(z)
    n = sample.shape[-2]
    if n < 2:
        raise ValueError("stein_discrepancy needs at least two samples")
    pairs = stein_kernel(z, sample)
    rows = torch.arange(z.shape[-2], device=z.device)
    own = torch.zeros(z.shape[-2], n, dtype=torch.bool, device=z.device)
    own[rows, start + rows] = True
    share = pairs.masked_fill(own, 0).sum((-2, -1)) / (n - 1)
    # The other argument is a constant here, and the kernel symmetric: half of the gradient.
    share = 2 * share - share.detach()
    return sum_over_ranks(share, same=("ksd", *z.shape[:-2], z.shape[-1])).mean()


def stein_kernel(
    x: Float[Tensor, "... r d"], y: Float[Tensor, "... n d"]
) -> Float[Tensor, "... r n"]:
    """u of each pair; see `stein_discrepancy`."""
    d = x.shape[-1]
    inner = x @ y.mT
    squared = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1).unsqueeze(-2) - 2 * inner
    r = squared.clamp_min(0)
    f = (1 + r / d).rsqrt()
    cubed = f * f * f
    slope, curvature = -0.5 / d * cubed, 0.75 / d**2 * cubed * f * f
    return f * inner + 2 * (r - d) * slope - 4 * r * curvature


class SteinDiscrepancy(nn.Module):
    """`stein_discrepancy` as a regulariser; nothing is drawn, so `step` is ignored.

    Shape:
        (..., n, d) -> ().
    """

    floor = 0.0
    """Expectation at perfect Gaussianity."""

    def forward(self, z: Float[Tensor, "... n d"], *, step: int | None = None) -> Float[Tensor, ""]:
        del step
        with torch.autocast(z.device.type, enabled=False):
            return stein_discrepancy(z)
