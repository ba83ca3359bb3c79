"""Which samples an update sees, as a function of (seed, step), and reading ahead of it."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import TypeVar

from jaxtyping import Int64
from torch import Tensor

from isojepa.randomness import epoch_order

T = TypeVar("T")


def share(batch_size: int, rank: int, world: int) -> slice:
    """A rank's part of a global batch; ranks differ by at most one sample."""
    return slice(*(batch_size * r // world for r in (rank, rank + 1)))


def batch_places(
    n: int, *, batch_size: int, seed: int, rank: int = 0, world: int = 1
) -> Callable[[int], Int64[Tensor, " b"]]:
    """A function: step -> which of n samples this rank's share of its global batch holds.

    The last, incomplete batch of an epoch is dropped.
    """
    per_epoch, part = n // batch_size, share(batch_size, rank, world)

    @lru_cache(maxsize=1)  # an epoch's order costs as much as there are samples: not once per step
    def order_of(epoch: int) -> Tensor:
        return epoch_order(n, seed=seed, epoch=epoch)

    def places(step: int) -> Tensor:
        epoch, position = divmod(step, per_epoch)
        return order_of(epoch)[position * batch_size : (position + 1) * batch_size][part]

    return places


def read_ahead(read: Callable[[int], T], steps: Iterable[int]) -> Iterator[T]:
    """`read(step)` for each step; the next is read while the caller works on the last one."""
    steps = iter(steps)
    with ThreadPoolExecutor(1) as thread:
        coming = [thread.submit(read, step) for step in islice(steps, 1)]
        while coming:
            result = coming.pop().result()
            coming = [thread.submit(read, step) for step in islice(steps, 1)]
            yield result
