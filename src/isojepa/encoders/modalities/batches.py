"""Batches in an order that is a function of (seed, epoch), read one ahead of the step."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from jaxtyping import Int64
from torch import Tensor

from isojepa.encoders.modalities.modality import Batch, Dataset, Samples
from isojepa.randomness import epoch_order


def training_batches(
    dataset: Dataset[Samples],
    indices: Int64[Tensor, " n"],
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch[Samples]]:
    """Yield this rank's share of the global batches of steps start, ..., stop - 1.

    The last, incomplete batch of an epoch is dropped. The next batch is read while the caller
    works on the last one. A batch is a function of (seed, step): resuming is starting later.

    Args:
        indices: the samples to train on, as positions in `dataset`.
        batch_size: of the global batch; ranks differ by at most one sample.
    """
    per_epoch = len(indices) // batch_size
    all_labels = None if dataset.labels is None else torch.from_numpy(dataset.labels)
    first, last = (batch_size * r // world for r in (rank, rank + 1))

    @lru_cache(maxsize=1)  # an epoch's order costs as much as there are samples: not once per step
    def order_of(epoch: int) -> Tensor:
        return epoch_order(len(indices), seed=seed, epoch=epoch)

    def read(step: int) -> Batch[Samples]:
        epoch, position = divmod(step, per_epoch)
        order = order_of(epoch)
        places = order[position * batch_size : (position + 1) * batch_size][first:last]
        chosen = indices[places]
        labels = None if all_labels is None else all_labels[chosen]
        return Batch(dataset.read(chosen), labels, first, batch_size)

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(read, start) if start < stop else None
        for step in range(start, stop):
            assert coming is not None
            batch = coming.result()
            coming = ahead.submit(read, step + 1) if step + 1 < stop else None
            yield batch
