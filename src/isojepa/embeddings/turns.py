"""Blocks of rows shared among processes, with the results of one."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

from isojepa.distributed import rank, world_size
from isojepa.training.ranks import of_every

P = TypeVar("P")


def in_turns(
    blocks: Iterable[tuple[int, np.ndarray]], work: Callable[[int, np.ndarray], P], *, shared: bool
) -> Iterator[tuple[int, P]]:
    """Rows of each block and `work(start, block)`, in order, on every process.

    Every process reads all blocks and works on its own; results travel, and are taken in the order
    of the file, so that sums have the same roundings however many processes there are.

    Args:
        work: a function of the block and of nothing that an earlier one changes.
        shared: whether all processes call this; else each block is worked on here.
    """
    processes = world_size() if shared else 1
    waiting: list[int] = []
    own: P | None = None
    for start, block in blocks:
        if len(waiting) == rank() or processes == 1:
            own = work(start, block)
        waiting.append(len(block))
        if len(waiting) == processes:
            yield from _round(waiting, own, processes)
            waiting, own = [], None
    if waiting:
        yield from _round(waiting, own, processes)


def _round(sizes: list[int], own: P | None, processes: int) -> Iterator[tuple[int, P]]:
    parts = [own] if processes == 1 else of_every(own)
    yield from zip(sizes, parts)
