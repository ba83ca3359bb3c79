"""The same sums by recurrence, in plain PyTorch on any device: one cosine and one sine per element.

On a uniform grid t_j = j * step the angle j * a, a = step * x, follows the Chebyshev recurrence
c_{j+1} = 2 cos(a) c_j - c_{j-1}, and likewise s_j; the gradient is a cosine and a sine series in a,
summed by Clenshaw's recurrence. Nothing of size n * m * knots is stored.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def cos_sin_sums(
    x: Float[Tensor, "... n m"], knots: int, step: float
) -> tuple[Float[Tensor, "... m k"], Float[Tensor, "... m k"]]:
    """Sums over the n samples of cos(t x) and sin(t x) at t = 0, step, ..., (knots - 1) step."""
    return _CosSinSums.apply(x, knots, step)


class _CosSinSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, knots: int, step: float) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        ctx.knots, ctx.step = knots, step
        a = step * x
        cos_before, cos_now = torch.ones_like(a), a.cos()
        sin_before, sin_now = torch.zeros_like(a), a.sin()
        twice_cos = 2 * cos_now
        cos_sums = x.new_full((*x.shape[:-2], x.shape[-1], knots), float(x.shape[-2]))
        sin_sums = torch.zeros_like(cos_sums)
        for j in range(1, knots):
            torch.sum(cos_now, -2, out=cos_sums[..., j])
            torch.sum(sin_now, -2, out=sin_sums[..., j])
            cos_before, cos_now = cos_now, cos_before.neg_().addcmul_(twice_cos, cos_now)
            sin_before, sin_now = sin_now, sin_before.neg_().addcmul_(twice_cos, sin_now)
        return cos_sums, sin_sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_cos: Tensor, grad_sin: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        t = ctx.step * torch.arange(ctx.knots, dtype=x.dtype, device=x.device)
        # d/dx sum_j gc_j cos(t_j x) + gs_j sin(t_j x) = sum_j p_j sin(j a) + q_j cos(j a)
        p = -(grad_cos * t).unsqueeze(-3)
        q = (grad_sin * t).unsqueeze(-3)
        a = ctx.step * x
        twice_cos = 2 * a.cos()
        p_next, p_after = torch.zeros_like(a), torch.zeros_like(a)
        q_next, q_after = torch.zeros_like(a), torch.zeros_like(a)
        for j in range(ctx.knots - 1, 0, -1):
            p_next, p_after = p_after.neg_().addcmul_(twice_cos, p_next).add_(p[..., j]), p_next
            q_next, q_after = q_after.neg_().addcmul_(twice_cos, q_next).add_(q[..., j]), q_next
        # Clenshaw: sine series = b_1 sin a; cosine series = q_0 + b_1 cos a - b_2, and t_0 = 0.
        gradient = p_next * a.sin() + 0.5 * q_next * twice_cos - q_after
        return gradient, None, None
