"""The same sums by recurrence, in plain PyTorch on any device: one cosine and sine per element.

On a uniform grid t_j = j * step the harmonics of a = step * x follow from their neighbours,

    cos (j + 1) a = cos (j - 1) a - 2 sin a sin j a
    sin (j + 1) a = sin (j - 1) a + 2 sin a cos j a

and nothing of size n * m * knots is stored. Written with 2 sin a rather than Chebyshev's 2 cos a,
because that is accurate near a = 0, where collapsed embeddings are. Columns are taken a block at a
time, so that the handful of intermediate tensors stays in the processor's cache.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

BLOCK = {"cpu": 2**16}
"""Elements per block of columns, by type of device; on others 2^24, which bounds the memory."""


def sums(
    x: Float[Tensor, "... n m"], knots: int, step: float
) -> tuple[Float[Tensor, "... m k"], Float[Tensor, "... m k"]]:
    """Sums over the n samples of cos(t x) and sin(t x) at t = 0, step, ..., (knots - 1) step."""
    cos_sums = x.new_empty((*x.shape[:-2], x.shape[-1], knots))
    sin_sums = torch.empty_like(cos_sums)
    for block in _column_blocks(x):
        columns = x[..., block]
        for j, (cosine, sine) in enumerate(_harmonics(columns, knots, step)):
            cos_sums[..., block, j] = cosine.sum(-2)
            sin_sums[..., block, j] = sine.sum(-2)
    return cos_sums, sin_sums


def gradient(
    x: Float[Tensor, "... n m"],
    grad_cos: Float[Tensor, "... m k"],
    grad_sin: Float[Tensor, "... m k"],
    step: float,
) -> Float[Tensor, "... n m"]:
    """Gradient in x of the inner product of the sums with `grad_cos` and `grad_sin`.

    sum_j t_j (grad_sin_j cos(t_j x) - grad_cos_j sin(t_j x)).
    """
    knots = grad_cos.shape[-1]
    t = step * torch.arange(knots, dtype=x.dtype, device=x.device)
    of_cosine, of_sine = (t * grad_sin).unsqueeze(-3), (-t * grad_cos).unsqueeze(-3)
    grad_x = torch.empty_like(x)
    for block in _column_blocks(x):
        columns = x[..., block]
        total = torch.zeros_like(columns)
        for j, (cosine, sine) in enumerate(_harmonics(columns, knots, step)):
            total.addcmul_(cosine, of_cosine[..., block, j])
            total.addcmul_(sine, of_sine[..., block, j])
        grad_x[..., block] = total
    return grad_x


def _column_blocks(x: Tensor) -> Iterator[slice]:
    *leading, n, m = x.shape
    rows = max(1, n * torch.Size(leading).numel())
    width = max(16, BLOCK.get(x.device.type, 2**24) // rows // 16 * 16)  # whole cache lines
    for start in range(0, m, width):
        yield slice(start, start + width)


def _harmonics(x: Tensor, knots: int, step: float) -> Iterator[tuple[Tensor, Tensor]]:
    """cos(j step x) and sin(j step x), j = 0, ..., knots - 1, each overwritten two steps later."""
    a = step * x
    cosine, sine = a.cos(), a.sin()
    twice_sine = 2 * sine
    # 0 * x, so that what is not a number at one knot is not a number at any.
    before = 0 * x + 1, 0 * x
    now = cosine, sine
    yield before
    for _ in range(1, knots):
        yield now
        after = (
            before[0].addcmul_(twice_sine, now[1], value=-1),
            before[1].addcmul_(twice_sine, now[0]),
        )
        before, now = now, after
