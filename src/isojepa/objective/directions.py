"""Directions of the slices, a function of (seed, step) alone."""

from abc import ABC, abstractmethod
from math import ceil
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.distributed import world_size
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


class Sketched(nn.Module, ABC):
    """A loss along directions that are a function of (seed, step), in float32 at least.

    Without a step, calls in training mode advance a counter, which the state dict keeps.
    """

    def __init__(self, slices: int, seed: int) -> None:
        super().__init__()
        if slices < 1:
            raise ValueError(f"slices must be at least 1, got {slices}")
        self.slices, self.seed = slices, seed
        self.step = 0

    def forward(self, z: Float[Tensor, "... n d"], *, step: int | None = None) -> Float[Tensor, ""]:
        if z.ndim < 2 or (z.shape[-2] == 0 and world_size() == 1):
            name = type(self).__name__
            raise ValueError(f"{name} needs (..., n, d) embeddings, got shape {tuple(z.shape)}")
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            return self._value(z, self._advance() if step is None else step)

    @abstractmethod
    def _value(self, z: Float[Tensor, "... n d"], step: int) -> Float[Tensor, ""]: ...

    @torch.compiler.disable
    def _advance(self) -> int:
        step = self.step
        self.step += self.training
        return step

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.step)

    def set_extra_state(self, state: Any) -> None:
        self.step = int(state)
