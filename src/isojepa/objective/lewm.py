"""LeWorldModel: predicted embeddings meet the next ones, and SIGReg keeps every time step's
embeddings Gaussian."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.distributed import sum_over_ranks
from isojepa.objective.automatic import AutomaticWeight
from isojepa.objective.regularisers import RegulariserName, make_regulariser


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


class LeWMLoss(nn.Module):
    """Prediction error + lambd * regulariser (LeWorldModel, arXiv 2603.19312).

    Targets keep their gradient: what forbids collapse is the regulariser alone, computed for each
    time step over the batch and averaged.

    Args:
        lambd: weight of the regulariser, not negative; 0 lets the embeddings collapse. An
            `AutomaticWeight` finds it while training.
        regulariser: by its name; see `make_regulariser`.
        options: of `make_regulariser`, such as slices, knots, t_max, seed.

    Shape:
        z (b, t, d) real embeddings; predicted (b, t - 1, d), where i predicts z[:, i + 1] from
        real embeddings; rolled (b, k, d), if any: open-loop predictions of the last k of z;
        `step`, if given, chooses SIGReg's directions (see `SIGReg`).

    Raises:
        ValueError: for a negative `lambd`.
    """

    def __init__(
        self,
        lambd: float | AutomaticWeight = 0.09,
        *,
        regulariser: RegulariserName = "sigreg",
        **options: Any,
    ) -> None:
        super().__init__()
        if not isinstance(lambd, AutomaticWeight) and lambd < 0:
            raise ValueError(f"lambd must not be negative, got {lambd}")
        self.lambd, self.regulariser = lambd, regulariser
        self.sigreg = make_regulariser(regulariser, **options)

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
            regulariser = zero
            if isinstance(self.lambd, AutomaticWeight) or self.lambd:
                regulariser = self.sigreg(z.transpose(0, 1), step=step)
        loss = prediction + rollout + self.weight() * regulariser
        if isinstance(self.lambd, AutomaticWeight) and self.training:
            self.lambd.advance(regulariser.detach())
        return LeWMTerms(loss, prediction, regulariser, rollout)

    def weight(self) -> float | Tensor:
        """Lambda as it is now."""
        return self.lambd() if isinstance(self.lambd, AutomaticWeight) else self.lambd
