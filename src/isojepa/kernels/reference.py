"""The eager definition of the characteristic-function sums, which every kernel must equal."""

import torch
from jaxtyping import Float
from torch import Tensor


def cos_sin_sums(
    x: Float[Tensor, "... n m"], knots: int, step: float
) -> tuple[Float[Tensor, "... m k"], Float[Tensor, "... m k"]]:
    """Sums over the n samples of cos(t x) and sin(t x) at t = 0, step, ..., (knots - 1) step.

    Allocates the (..., n, m, k) angles: meant for tests, not for training.
    """
    t = step * torch.arange(knots, dtype=x.dtype, device=x.device)
    angles = x.unsqueeze(-1) * t
    return angles.cos().sum(-3), angles.sin().sum(-3)
