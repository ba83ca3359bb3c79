"""A frozen encoder over images: one embedding per image."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.encoders.modalities.images.images import ImageSet


@torch.no_grad()
def embed(
    encoder: Encoder,
    images: ImageSet,
    indices: Sequence[int] | np.ndarray | Tensor,
    *,
    batch_size: int = 256,
    track: Callable[[Iterator, int, str], Iterator] = lambda items, _total, _what: items,
) -> Float[Tensor, "n d"]:
    """Embed the central view of each image, in eval mode, on the encoder's device.

    Args:
        indices: positions in `images`.
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
        samples = (x.to(device, non_blocking=True) for x in images.read(part))
        parts.append(encoder(encoder.prepare(*samples)).float())
    encoder.train(training)
    return torch.cat(parts)
