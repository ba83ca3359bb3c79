"""A frozen encoder over samples: one embedding per sample."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.encoders.modalities.modality import Dataset, Network


@torch.no_grad()
def embed(
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
    for part in track(iter(chosen.split(batch_size)), -(-len(chosen) // batch_size), "embedding"):
        samples = (x.to(device, non_blocking=True) for x in data.read(part))
        parts.append(encoder(encoder.prepare(*samples)).float())
    encoder.train(training)
    return torch.cat(parts)
