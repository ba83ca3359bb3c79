"""A sample of the images with what the model makes of them: all the report needs to see."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from isojepa.encoders.evaluation.features import embed
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.modalities.images.images import ImageSet
from isojepa.encoders.modalities.images.parameters import centre_parameters
from isojepa.encoders.modalities.images.rendering import render_views
from isojepa.randomness import epoch_order
from isojepa.runs.folder import save_arrays

SAMPLE = 2000
THUMBNAIL = 48


@torch.no_grad()
def write_sample(path: Path, jepa: JEPA, images: ImageSet, *, seed: int) -> None:
    """Write thumbnails, embeddings, projections, paths and labels of at most 2,000 images.

    Held-out images come first, so that the sample shows them wherever there are any.
    """
    order = epoch_order(len(images), seed=seed, epoch=0).numpy()
    held = images.held_out[order]
    chosen = np.concatenate([order[held], order[~held]])[:SAMPLE]
    if held.sum() >= SAMPLE // 4:
        chosen = chosen[: min(SAMPLE, int(held.sum()))]
    embeddings = embed(jepa.encoder, images, torch.from_numpy(chosen))
    jepa.projector.eval()
    projections = jepa.projector(embeddings)
    jepa.projector.train()
    arrays = {
        "thumbnails": thumbnails(images, torch.from_numpy(chosen)),
        "embeddings": embeddings.cpu().numpy(),
        "projections": projections.float().cpu().numpy(),
        "paths": np.array([images.listing.names[i] for i in chosen]),
    }
    if images.labels is not None and images.listing.class_names is not None:
        arrays["labels"] = images.labels[chosen]
        arrays["class_names"] = np.array(images.listing.class_names)
    save_arrays(path, **arrays)


def thumbnails(images: ImageSet, indices: Tensor) -> UInt8[np.ndarray, "n h w c"]:
    """The central square of each image, at most 48 pixels a side."""
    size = min(THUMBNAIL, images.side)
    parts = []
    for part in indices.split(256):
        squares, aspects = images.read(part)
        views = render_views(squares, centre_parameters(aspects), size)[0]
        parts.append((views * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)
