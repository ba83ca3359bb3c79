"""SIGReg: a test of isotropic Gaussianity, averaged over random directions, as a loss."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.distributed import sum_over_ranks
from isojepa.kernels import cos_sin_sums
from isojepa.normality.multivariate import random_directions
from isojepa.normality.univariate import epps_pulley_floor, epps_pulley_from_sums, trapezoid


def sliced_epps_pulley(
    z: Float[Tensor, "... n d"],
    directions: Float[Tensor, "d m"],
    *,
    knots: int = 17,
    t_max: float = 3.0,
) -> Float[Tensor, "... m"]:
    """Epps-Pulley statistic of `z` along each direction, over the samples of all ranks.

    Args:
        z: embeddings; axis -2 holds this rank's n samples, leading axes are separate samples.
        directions: unit columns.

    Returns:
        One statistic per leading index and direction, the same on every rank.
    """
    x = z @ directions
    cos_sums, sin_sums = cos_sin_sums(x, knots, t_max / (knots - 1))
    count = torch.tensor([float(x.shape[-2])], dtype=x.dtype, device=x.device)
    packed = torch.cat([cos_sums.flatten(), sin_sums.flatten(), count])  # one collective, not three
    packed = sum_over_ranks(packed)
    cos_sums, sin_sums = packed[:-1].reshape(2, *cos_sums.shape)
    rule = trapezoid(knots, t_max, dtype=x.dtype, device=x.device)
    return epps_pulley_from_sums(cos_sums, sin_sums, packed[-1], rule)


class SIGReg(nn.Module):
    """Sketched isotropic Gaussian regularisation (LeJEPA, arXiv 2511.08544).

    The mean over random directions of the Epps-Pulley statistic of the projected embeddings:
    n times the weighted squared distance of their characteristic function from the normal one.
    At perfect Gaussianity its expectation is `floor`, about 1.06, not 0.

    In training mode each call draws fresh directions and advances `step`; in eval mode the
    directions stay. `step` is kept in the state dict. Computed in float32, or float64 if `z` is,
    also under autocast. Under `torch.distributed` the samples of all ranks count as one batch.

    Args:
        slices: number of random directions per call, at least 1.
        knots: frequencies on [0, t_max], at least 2.
        t_max: largest frequency, positive, in units of one over a standard deviation.
        seed: non-negative seed of the directions.

    Shape:
        (..., n, d) -> (); leading axes (views, time steps) are separate samples whose statistics
        are averaged.

    Raises:
        ValueError: if an argument is out of range, or `z` has fewer than two axes.
    """

    def __init__(
        self, slices: int = 1024, knots: int = 17, t_max: float = 3.0, seed: int = 0
    ) -> None:
        super().__init__()
        if slices < 1:
            raise ValueError(f"slices must be at least 1, got {slices}")
        self.floor = epps_pulley_floor(knots, t_max)
        self.slices, self.knots, self.t_max, self.seed = slices, knots, t_max, seed
        self.step = 0

    def forward(self, z: Float[Tensor, "... n d"]) -> Float[Tensor, ""]:
        if z.ndim < 2:
            raise ValueError(f"SIGReg needs (..., n, d) embeddings, got shape {tuple(z.shape)}")
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            directions = self.directions(z)
            return sliced_epps_pulley(z, directions, knots=self.knots, t_max=self.t_max).mean()

    @torch.compiler.disable
    def directions(self, z: Float[Tensor, "... n d"]) -> Float[Tensor, "d m"]:
        """The directions for `z` at this step, on its device and in its dtype; advances `step`."""
        drawn = random_directions(z.shape[-1], self.slices, seed=self.seed, step=self.step)
        self.step += self.training
        return drawn.to(device=z.device, dtype=z.dtype, non_blocking=True)

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.step)

    def set_extra_state(self, state: Any) -> None:
        self.step = int(state)

    def extra_repr(self) -> str:
        return f"slices={self.slices}, knots={self.knots}, t_max={self.t_max}, seed={self.seed}"
