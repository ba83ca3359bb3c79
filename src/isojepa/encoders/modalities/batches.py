"""Batches in an order that is a function of (seed, epoch), read one ahead of the step."""

from collections.abc import Iterator

import torch
from jaxtyping import Int64
from torch import Tensor

from isojepa.encoders.modalities.modality import Batch, Dataset, Samples
from isojepa.training.batches import batch_places, read_ahead, share


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
    """This rank's share of the global batches of steps start, ..., stop - 1.

    The last, incomplete batch of an epoch is dropped. The next batch is read while the caller
    works on the last one. A batch is a function of (seed, step): resuming is starting later.

    Args:
        indices: the samples to train on, as positions in `dataset`.
        batch_size: of the global batch; ranks differ by at most one sample.
    """
    all_labels = None if dataset.labels is None else torch.from_numpy(dataset.labels)
    first = share(batch_size, rank, world).start
    places = batch_places(len(indices), batch_size=batch_size, seed=seed, rank=rank, world=world)

    def read(step: int) -> Batch[Samples]:
        chosen = indices[places(step)]
        labels = None if all_labels is None else all_labels[chosen]
        return Batch(dataset.read(chosen), labels, first, batch_size)

    return read_ahead(read, range(start, stop))
