"""The eager definition of the characteristic-function sums, which every kernel must equal.

Allocates the (..., n, m, k) angles: meant for tests, not for training.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def sums(
    x: Float[Tensor, "... n m"], knots: int, step: float
) -> tuple[Float[Tensor, "... m k"], Float[Tensor, "... m k"]]:
    """Sums over the n samples of cos(t x) and sin(t x) at t = 0, step, ..., (knots - 1) step."""
    t = step * torch.arange(knots, dtype=x.dtype, device=x.device)
    angles = x.unsqueeze(-1) * t
    return angles.cos().sum(-3), angles.sin().sum(-3)


def gradient(
    x: Float[Tensor, "... n m"],
    grad_cos: Float[Tensor, "... m k"],
    grad_sin: Float[Tensor, "... m k"],
    step: float,
) -> Float[Tensor, "... n m"]:
    """Gradient in x of the inner product of the sums with `grad_cos` and `grad_sin`."""
    t = step * torch.arange(grad_cos.shape[-1], dtype=x.dtype, device=x.device)
    angles = x.unsqueeze(-1) * t
    of_cosine, of_sine = (t * grad_sin).unsqueeze(-3), (t * grad_cos).unsqueeze(-3)
    return (of_cosine * angles.cos() - of_sine * angles.sin()).sum(-1)
