"""A frozen encoder over samples: one embedding per sample."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.distributed import gather_over_ranks, rank, world_size
from isojepa.encoders.modalities.modality import Dataset, Network
from isojepa.training.batches import share


@torch.no_grad()
def embed_samples(
    encoder: Network,
    data: Dataset,
    indices: Sequence[int] | np.ndarray | Tensor,
    *,
    batch_size: int = 256,
    track: Callable[[Iterator, int, str], Iterator] = lambda items, _total, _what: items,
) -> Float[Tensor, "n d"]:
    """Embed the one view that each sample is prepared as, in eval mode, on the encoder's device.

    Args:
        indices: positions in `data`.
        track: wraps the iterator over batches to show progress.

    Returns:
        float32, on the encoder's device, in the order of `indices`.
    """
    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    chosen = torch.as_tensor(indices)
    parts = []
    batches = chosen.split(batch_size) if len(chosen) else ()
    for part in track(iter(batches), len(batches), "embedding"):
        samples = (x.to(device, non_blocking=True) for x in data.read(part))
        parts.append(encoder(encoder.prepare(*samples)).float())
    encoder.train(training)
    width = encoder.embedding_dim
    return torch.cat(parts) if parts else torch.zeros(0, width, device=device)


def embed_together(
    encoder: Network,
    data: Dataset,
    indices: Sequence[int] | np.ndarray | Tensor,
    *,
    batch_size: int = 256,
    track: Callable[[Iterator, int, str], Iterator] = lambda items, _total, _what: items,
) -> Float[Tensor, "n d"]:
    """`embed`, each rank its share of the batches; all of them on every rank."""
    chosen = torch.as_tensor(indices)
    mine = share_of_batches(len(chosen), batch_size, rank(), world_size())
    x = embed_samples(encoder, data, chosen[mine], batch_size=batch_size, track=track)
    return gather_over_ranks(x).samples


def share_of_batches(n: int, batch_size: int, rank: int, world: int) -> slice:
    """A rank's part of n samples: whole batches, so that each is what one process would have."""
    part = share(-(-n // batch_size), rank, world)
    return slice(min(n, part.start * batch_size), min(n, part.stop * batch_size))
