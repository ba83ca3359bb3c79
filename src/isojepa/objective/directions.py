"""Directions of the slices, a function of (seed, step) alone."""

from math import ceil
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.multivariate import random_directions
from isojepa.randomness import generator

Directions = Literal["random", "orthogonal", "fixed", "exact"]
"""How SIGReg chooses its directions; see `isojepa.objective.sigreg.SIGReg`."""


def orthogonal_directions(
    d: int, slices: int, *, seed: int, step: int = 0, device: torch.device | None = None
) -> Float[Tensor, "d m"]:
    """Unit columns in blocks of d that are orthonormal, each block uniform (Haar); float32.

    Every column is uniform on the sphere, as those of `random_directions`, and drawn on the CPU;
    orthonormal within its block, so that a block misses no direction. The last block is cut. The
    factorisation runs on a CUDA device if `device` is one, without synchronisation, so that
    machines of different makes agree to rounding rather than to the bit.
    """
    shape = (ceil(slices / d), d, min(d, slices))
    gaussian = torch.randn(shape, generator=generator(seed, step))
    if device is not None and device.type == "cuda":
        gaussian = gaussian.to(device, non_blocking=True)
    q, r = torch.linalg.qr(gaussian)
    # Householder's signs are a convention; with a positive diagonal the factor is unique and Haar.
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q.transpose(0, 1).reshape(d, -1)[:, :slices]


@torch.compiler.disable
def draw_directions(
    kind: Directions, z: Float[Tensor, "... n d"], slices: int, *, seed: int, step: int
) -> Float[Tensor, "d m"]:
    """The directions of a step, on the device and in the precision of `z`."""
    d = z.shape[-1]
    if kind == "orthogonal":
        drawn = orthogonal_directions(d, slices, seed=seed, step=step, device=z.device)
    else:
        drawn = random_directions(d, slices, seed=seed, step=0 if kind == "fixed" else step)
    return drawn.to(device=z.device, dtype=z.dtype, non_blocking=True)
