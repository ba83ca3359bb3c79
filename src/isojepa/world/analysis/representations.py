"""What probes read from: the model's embeddings, and what they have to beat."""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64
from sklearn.decomposition import PCA

from isojepa.randomness import Stream, seed_from
from isojepa.world.analysis.study import Study, embed_rows, shrink
from isojepa.world.model.world_model import WorldModel

THUMBNAIL = 32  # pixels, of the frames whose principal components are the baseline


class ProbedRows(NamedTuple):
    """The frames used, by their rows in the data set."""

    train: Int64[np.ndarray, " n"]
    held_out: Int64[np.ndarray, " m"]


class Embedded(NamedTuple):
    """One representation of both sets of frames."""

    train: Float32[np.ndarray, "n d"]
    held_out: Float32[np.ndarray, "m d"]


def representations_of(study: Study, rows: ProbedRows, *, seed: int) -> dict[str, Embedded]:
    """Embeddings by the model, by it before training, and by PCA of the frames."""
    models = {"model": study.model}
    if study.model.spec.frozen is None:
        models["untrained"] = untrained(study.model, seed=seed)
    found = {
        name: Embedded(*(embed_rows(model, study.trajectories, part) for part in rows))
        for name, model in models.items()
    }
    return found | {"pixels": frame_components(study, rows, seed=seed)}


def untrained(model: WorldModel, *, seed: int) -> WorldModel:
    """The same architecture with other random weights, on the same device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from(seed, Stream.UNTRAINED))
        fresh = WorldModel(model.spec)
    return fresh.to(next(model.parameters()).device).eval()


def frame_components(study: Study, rows: ProbedRows, *, seed: int) -> Embedded:
    """Of small frames, as many as the embedding has dimensions."""
    size = min(THUMBNAIL, study.model.frame_size)
    x, x_new = (
        np.concatenate(
            [
                shrink(study.trajectories.rows(part), size).reshape(len(part), -1)
                for part in np.array_split(one, max(1, len(one) // 512))
            ]
        ).astype(np.float32)
        for one in rows
    )
    d = min(study.model.embedding_dim, *x.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames that never change
        components = PCA(d, svd_solver="randomized", random_state=seed).fit(x)
    return Embedded(components.transform(x), components.transform(x_new))
