"""World size and the collectives of the package: a differentiable sum, and a gathering, over ranks.

Every rank must make the same calls in the same order. A rank that leaves one out cannot be seen
without waiting for it: the others wait until the process group's timeout, and what torch raises
then is raised again with that cause named. Ranks that call out of step with each other, or with
other settings, are found by a fingerprint that travels with the sum.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes that share the global batch; 1 outside `torch.distributed`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this process, 0 outside `torch.distributed`."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_ranks(x: Tensor, *, same: tuple | None = None) -> Tensor:
    """Sum `x` over all ranks, differentiably.

    The gradient is summed over ranks too: every rank holds the loss of the global batch, so DDP's
    mean over ranks then gives the gradient that one process would have on the whole batch.

    Args:
        same: what has to be the same on all ranks, such as (seed, step). It costs one more element
            of the sum and no synchronisation; two ranks that differ pass with probability 1/4093.

    Raises:
        RuntimeError: if `same` differs between ranks (on a GPU, as an assertion on the device that
            the next synchronisation raises), or torch cannot finish the sum.
    """
    if world_size() == 1:
        return x
    if same is None:
        return _AllReduceSum.apply(x)
    # Below 2^12, so that float32 holds the sum exactly for thousands of ranks.
    fingerprint = crc32(repr(same).encode()) % 4093
    packed = torch.cat([x.flatten(), x.new_full((1,), fingerprint)])
    packed = _AllReduceSum.apply(packed)
    agrees = packed[-1].detach() == world_size() * fingerprint
    if agrees.device.type == "cpu" and not agrees:
        raise RuntimeError(
            f"rank {rank()} is at {same}, but other ranks are not: every rank must call the loss "
            "equally often, with the same settings and shapes (but for the number of samples)"
        )
    torch._assert_async(agrees, "ranks call the loss out of step or with different settings")
    return packed[:-1].reshape(x.shape)


class Gathered(NamedTuple):
    """The samples of all ranks in order of rank."""

    samples: Tensor
    """(..., n, d), n the sum of the ranks' counts; the same on every rank."""
    start: int
    """Position of this rank's first sample."""


@torch.no_grad()
def gather_over_ranks(x: Tensor) -> Gathered:
    """Collect the (..., n, d) samples of all ranks, which may hold unequal numbers, even none.

    No gradient flows. The host waits for the counts once, unless there is one process.

    Raises:
        RuntimeError: if torch cannot finish, for example because a rank did not call.
    """
    if world_size() == 1:
        return Gathered(x.detach(), 0)
    count = torch.tensor([x.shape[-2]], device=x.device)
    counts_per_rank = [torch.empty_like(count) for _ in range(world_size())]
    with _explained():
        dist.all_gather(counts_per_rank, count)
    counts = torch.cat(counts_per_rank).tolist()
    padded = x.new_zeros(*x.shape[:-2], max(counts), x.shape[-1])
    padded[..., : x.shape[-2], :] = x
    parts = [torch.empty_like(padded) for _ in counts]
    with _explained():
        dist.all_gather(parts, padded)
    kept = [part[..., :n, :] for part, n in zip(parts, counts)]
    return Gathered(torch.cat(kept, -2), sum(counts[: rank()]))


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return _all_reduce(x)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _all_reduce(gradient)


def _all_reduce(x: Tensor) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    with _explained():
        dist.all_reduce(total)
    return total


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(
            f"SIGReg on rank {rank()} of {world_size()} could not reach the other ranks. Every "
            "rank must call the loss equally often, with the same shapes but for the number of "
            "samples; a rank that has no samples passes an empty batch (..., 0, d), forwards and "
            f"backwards. torch.distributed says: {error}"
        ) from error
