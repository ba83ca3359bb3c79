"""LeWorldModel: predicted embeddings meet the next ones, and SIGReg keeps every time step's
embeddings Gaussian."""

from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.distributed import sum_over_ranks
from isojepa.objective.sigreg import SIGReg

Regulariser = Literal["sigreg", "vicreg"]


class LeWMTerms(NamedTuple):
    """The loss and its terms, each a scalar of the global batch."""

    loss: Float[Tensor, ""]
    prediction: Float[Tensor, ""]
    """Mean squared error per coordinate one block ahead, from real embeddings."""
    sigreg: Float[Tensor, ""]
    """The regulariser before its weight; 0 if the weight is 0."""
    rollout: Float[Tensor, ""]
    """Mean squared error further ahead, from the model's own predictions; 0 if not asked for."""


def mean_squared_error(
    predicted: Float[Tensor, "..."], target: Float[Tensor, "..."]
) -> Float[Tensor, ""]:
    """Mean over the coordinates and the samples of all ranks, which may hold unequal shares."""
    squared = (predicted - target).square().sum()
    count = torch.tensor(float(predicted.numel()), dtype=squared.dtype, device=squared.device)
    total, count = sum_over_ranks(torch.stack([squared, count]))
    return total / count


def variance_covariance(z: Float[Tensor, "t n d"]) -> Float[Tensor, ""]:
    """VICReg's two regularisers with weight 1 and 1 / 25, averaged over time steps.

    The hinge of the standard deviations below 1, and the squared off-diagonal covariances summed
    and divided by d; over the samples of all ranks. Bardes et al., arXiv 2105.04906, equations 1
    to 4, with its published ratio of weights.
    """
    t, _, d = z.shape
    ones = z.new_ones(t, z.shape[1], 1)
    augmented = torch.cat([ones, z], -1)
    moments = sum_over_ranks(augmented.transpose(1, 2) @ augmented)  # (t, 1 + d, 1 + d)
    count = moments[:, 0, 0].view(t, 1, 1)
    mean = moments[:, :1, 1:] / count
    covariance = (moments[:, 1:, 1:] - count * mean.transpose(1, 2) * mean) / (count - 1)
    variance = covariance.diagonal(dim1=1, dim2=2)
    hinge = (1 - (variance.clamp(min=0) + 1e-4).sqrt()).relu().mean()
    off_diagonal = covariance.square().sum((1, 2)) - variance.square().sum(1)
    return hinge + off_diagonal.mean() / d / 25


class LeWMLoss(nn.Module):
    """Prediction error + lambd * regulariser (LeWorldModel, arXiv 2603.19312).

    Targets keep their gradient: what forbids collapse is the regulariser alone, computed for each
    time step over the batch and averaged.

    Args:
        lambd: weight of the regulariser, not negative; 0 lets the embeddings collapse.
        regulariser: "sigreg", or "vicreg" for the variance and covariance terms of VICReg.
        sigreg: options of `SIGReg`, such as slices, knots, t_max, seed.

    Shape:
        z (b, t, d) real embeddings; predicted (b, t - 1, d), where i predicts z[:, i + 1] from
        real embeddings; rolled (b, k, d), if any: open-loop predictions of the last k of z;
        `step`, if given, chooses SIGReg's directions (see `SIGReg`).

    Raises:
        ValueError: for a negative `lambd`.
    """

    def __init__(
        self, lambd: float = 0.09, *, regulariser: Regulariser = "sigreg", **sigreg: Any
    ) -> None:
        super().__init__()
        if lambd < 0:
            raise ValueError(f"lambd must not be negative, got {lambd}")
        self.lambd, self.regulariser = lambd, regulariser
        self.sigreg = SIGReg(**sigreg)

    def forward(
        self,
        z: Float[Tensor, "b t d"],
        predicted: Float[Tensor, "b p d"],
        rolled: Float[Tensor, "b k d"] | None = None,
        *,
        step: int | None = None,
    ) -> LeWMTerms:
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            prediction = mean_squared_error(predicted.to(z.dtype), z[:, 1:])
            zero = z.new_zeros(())
            rollout = zero
            if rolled is not None:
                rollout = mean_squared_error(rolled.to(z.dtype), z[:, -rolled.shape[1] :])
            regulariser = self._regularise(z.transpose(0, 1), step) if self.lambd else zero
        loss = prediction + rollout + self.lambd * regulariser
        return LeWMTerms(loss, prediction, regulariser, rollout)

    def _regularise(self, z: Float[Tensor, "t b d"], step: int | None) -> Float[Tensor, ""]:
        return self.sigreg(z, step=step) if self.regulariser == "sigreg" else variance_covariance(z)
