"""A frozen encoder over samples: one embedding per sample."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.distributed import gather_over_ranks, rank, world_size
from isojepa.encoders.modalities.modality import Dataset, Network
from isojepa.progress import Track, untracked
from isojepa.training.batches import share


@torch.no_grad()
def embed_samples(
    encoder: Network,
    data: Dataset,
    indices: Sequence[int] | np.ndarray | Tensor,
    *,
    batch_size: int = 256,
    shared: bool = False,
    track: Track = untracked,
) -> Float[Tensor, "n d"]:
    """Embed the one view that each sample is prepared as, in eval mode, on the encoder's device.

    Args:
        indices: positions in `data`.
        shared: each rank embeds its share of the batches, and has all of them in the end.
        track: wraps the iterator over batches to show progress.

    Returns:
        float32, on the encoder's device, in the order of `indices`.
    """
    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    chosen = torch.as_tensor(indices)
    if shared:
        chosen = chosen[share_of_batches(len(chosen), batch_size, rank(), world_size())]
    parts = []
    batches = chosen.split(batch_size) if len(chosen) else ()
    for part in track(iter(batches), len(batches), "embedding"):
        samples = (x.to(device, non_blocking=True) for x in data.read(part))
        parts.append(encoder(encoder.prepare(*samples)).float())
    encoder.train(training)
    width = encoder.embedding_dim
    x = torch.cat(parts) if parts else torch.zeros(0, width, device=device)
    return gather_over_ranks(x).samples if shared else x


def share_of_batches(n: int, batch_size: int, rank: int, world: int) -> slice:
    """A rank's part of n samples: whole batches, so that each is what one process would have."""
    part = share(-(-n // batch_size), rank, world)
    return slice(min(n, part.start * batch_size), min(n, part.stop * batch_size))
