"""World size and the one collective the package needs: a differentiable sum over ranks."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that share the global batch; 1 outside `torch.distributed`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process, 0 outside `torch.distributed`."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_ranks(x: Tensor) -> Tensor:
    """Sum `x` over all ranks, differentiably.

    The gradient is summed over ranks too: every rank holds the loss of the global batch, so DDP's
    mean over ranks then gives the gradient that one process would have on the whole batch.
    """
    return _AllReduceSum.apply(x) if world_size() > 1 else x


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total
