"""Some of the data with what the model makes of them: all the report needs to see."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from isojepa.encoders.evaluation.features import embed_samples
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.modalities.modality import Dataset, Modality
from isojepa.randomness import epoch_order
from isojepa.runs.folder import save_arrays

SAMPLE = 2000
VIEWED = 512
"""Samples whose views are kept."""


class SampleArrays(NamedTuple):
    """What sample.npz holds; without what is None."""

    thumbnails: UInt8[np.ndarray, "n h w c"]
    embeddings: Float[np.ndarray, "n d"]
    projections: Float[np.ndarray, "n k"]
    paths: np.ndarray
    views: Float[np.ndarray, "v m d"] | None
    labels: Int64[np.ndarray, " n"] | None
    class_names: np.ndarray | None


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
    labels, classes = data.labels, data.listing.class_names
    if labels is None or classes is None:
        labels = classes = None
    arrays = SampleArrays(
        thumbnails=modality.read.pictures(data, torch.from_numpy(chosen)),
        embeddings=embeddings.cpu().numpy(),
        projections=projections.float().cpu().numpy(),
        paths=np.array([data.listing.names[i] for i in chosen]),
        views=None if views is None else views[:, :VIEWED].float().cpu().numpy(),
        labels=None if labels is None else labels[chosen],
        class_names=None if classes is None else np.array(classes),
    )
    save_arrays(path, **{name: x for name, x in arrays._asdict().items() if x is not None})
