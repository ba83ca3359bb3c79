"""SIGReg over all directions and frequencies at once, in closed form: no slices, knots or seed."""

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.distributed import gather_over_ranks, sum_over_ranks
from isojepa.normality.pairwise import all_directions_floor, all_directions_share

EXACT_FLOOR = all_directions_floor()
"""Expectation of `exact_sigreg` at perfect Gaussianity, 1.0595: success, not zero."""


def exact_sigreg(z: Float[Tensor, "... n d"]) -> Float[Tensor, ""]:
    """The limit of SIGReg for infinitely many slices and knots, and an infinite range of them.

    n [ mean_ij kappa(|z_i - z_j|^2) - 2 mean_i eta(|z_i|^2) + sqrt(2 pi / 3) ] with
    kappa(r2) = sqrt(2 pi) 1F1(1/2; d/2; -r2/2) and eta(r2) = sqrt(pi) 1F1(1/2; d/2; -r2/4), the
    Gaussian of a projection averaged over the sphere. It is invariant under rotations and costs
    n^2 d operations, so less than m slices while n is at most about m; memory grows with n d.

    Computed in float32, or float64 if `z` is, also under autocast. Under `torch.distributed` the
    samples of all ranks, in unequal numbers or none, count as one batch: each rank computes the
    pairs of its own samples with all. The gradient exists once, not twice.

    Args:
        z: embeddings, d from 1 to 8192; axis -2 holds the samples, leading axes (views, time
            steps) are separate samples whose statistics are averaged.

    Raises:
        ValueError: if `z` has fewer than two axes, or no rank has a sample.
    """
    if z.ndim < 2:
        raise ValueError(f"exact_sigreg needs (..., n, d) embeddings, got shape {tuple(z.shape)}")
    z = z if z.dtype == torch.float64 else z.float()
    sample, start = gather_over_ranks(z)
    if sample.shape[-2] == 0:
        raise ValueError("exact_sigreg needs at least one sample")
    share = all_directions_share(z, sample, start)
    return EXACT_FLOOR + sum_over_ranks(share, same=("exact", z.shape[-1])).mean()
