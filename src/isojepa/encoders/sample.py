"""Some of the data with what the model makes of them: all the report needs to see."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.encoders.evaluation.features import embed_samples
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.modalities.modality import Dataset, Modality
from isojepa.randomness import epoch_order
from isojepa.runs.folder import save_arrays

SAMPLE = 2000
VIEWED = 512
"""Samples whose views are kept."""


@torch.no_grad()
def write_sample(
    path: Path,
    jepa: JEPA,
    data: Dataset,
    modality: Modality,
    *,
    seed: int,
    views: Float[Tensor, "v n d"] | None = None,
) -> None:
    """Write thumbnails, embeddings, projections, paths and labels of at most 2,000 samples.

    Held-out images come first, so that the sample shows them wherever there are any.

    Args:
        views: embeddings of the global views of a batch, of which some are kept: by them LiDAR
            tells samples apart.
    """
    order = epoch_order(len(data), seed=seed, epoch=0).numpy()
    held = data.held_out[order]
    chosen = np.concatenate([order[held], order[~held]])[:SAMPLE]
    if held.sum() >= SAMPLE // 4:
        chosen = chosen[: min(SAMPLE, int(held.sum()))]
    embeddings = embed_samples(jepa.encoder, data, torch.from_numpy(chosen))
    jepa.projector.eval()
    projections = jepa.projector(embeddings)
    jepa.projector.train()
    arrays = {
        "thumbnails": modality.read.pictures(data, torch.from_numpy(chosen)),
        "embeddings": embeddings.cpu().numpy(),
        "projections": projections.float().cpu().numpy(),
        "paths": np.array([data.listing.names[i] for i in chosen]),
    }
    if views is not None:
        arrays["views"] = views[:, :VIEWED].float().cpu().numpy()
    if data.labels is not None and data.listing.class_names is not None:
        arrays["labels"] = data.labels[chosen]
        arrays["class_names"] = np.array(data.listing.class_names)
    save_arrays(path, **arrays)
