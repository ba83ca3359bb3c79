"""LeJEPA: the views of a sample agree, and SIGReg keeps each view's embeddings Gaussian."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.distributed import sum_over_ranks
from isojepa.objective.automatic import AutomaticWeight
from isojepa.objective.decoupled import Shape
from isojepa.objective.directions import Directions
from isojepa.objective.sigreg import Scale, SIGReg


class LeJEPATerms(NamedTuple):
    """The loss and its two terms, each a scalar of the global batch."""

    loss: Float[Tensor, ""]
    invariance: Float[Tensor, ""]
    sigreg: Float[Tensor, ""]
    """The regulariser before its weight: SIGReg, unless another was chosen."""


def view_disagreement(z: Float[Tensor, "v n d"], n_global: int) -> Float[Tensor, ""]:
    """Mean squared distance per coordinate between each view and the mean of the global views.

    The mean is over views, dimensions and the samples of all ranks, which may hold unequal shares.
    """
    centre = z[:n_global].mean(0)
    squared = (z - centre).square().sum()
    total, count = sum_over_ranks(torch.stack([squared, z.new_full((), float(z.numel()))]))
    return total / count


class LeJEPALoss(nn.Module):
    """(1 - lambd) * invariance + lambd * SIGReg, LeJEPA's one loss with one weight.

    Args:
        n_global: how many leading views are global; their mean is the centre all views approach.
            None means all of them.
        lambd: weight of SIGReg in [0, 1]; 0.05 is the paper's default, 0.01 to 0.1 its good range.
            An `AutomaticWeight` finds it while training.
        slices, knots, t_max, seed, directions, scale, shape: see `SIGReg`.
        regulariser: in place of SIGReg, whose settings are then without effect.

    Shape:
        (v, n, d) -> `LeJEPATerms` of scalars. SIGReg is computed per view and averaged; `step`, if
        given, chooses its directions (see `SIGReg`).

    Raises:
        ValueError: for `lambd` outside [0, 1] or more global views than views.
    """

    def __init__(
        self,
        n_global: int | None = None,
        lambd: float | AutomaticWeight = 0.05,
        *,
        slices: int = 1024,
        knots: int = 17,
        t_max: float = 3.0,
        seed: int = 0,
        directions: Directions = "random",
        scale: Scale = "joint",
        shape: Shape = "epps_pulley",
        regulariser: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(lambd, AutomaticWeight) and not 0 <= lambd <= 1:
            raise ValueError(f"lambd must lie in [0, 1], got {lambd}")
        if n_global is not None and n_global < 1:
            raise ValueError(f"n_global must be at least 1, got {n_global}")
        self.n_global, self.lambd = n_global, lambd
        self.sigreg = regulariser or SIGReg(
            slices, knots, t_max, seed, directions=directions, scale=scale, shape=shape
        )

    def forward(self, z: Float[Tensor, "v n d"], *, step: int | None = None) -> LeJEPATerms:
        n_global = z.shape[0] if self.n_global is None else self.n_global
        if n_global > z.shape[0]:
            raise ValueError(f"n_global is {n_global} but z holds {z.shape[0]} views")
        sigreg = self.sigreg(z, step=step)
        with torch.autocast(z.device.type, enabled=False):
            z = z if z.dtype == torch.float64 else z.float()
            invariance = view_disagreement(z, n_global)
        lambd = self.weight()
        loss = (1 - lambd) * invariance + lambd * sigreg
        if isinstance(self.lambd, AutomaticWeight) and self.training:
            self.lambd.advance(sigreg.detach())
        return LeJEPATerms(loss, invariance, sigreg)

    def weight(self) -> float | Tensor:
        """Lambda as it is now."""
        return self.lambd() if isinstance(self.lambd, AutomaticWeight) else self.lambd
