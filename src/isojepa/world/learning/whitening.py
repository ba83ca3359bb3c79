"""What a trained model's embeddings lack of isotropy, made up for after the fact.

SIGReg hardly sees directions that are missing: along a random direction of d the variance of a
covariance with eigenvalues s departs from 1 by only sqrt(2 var(s) / d). Of 64 dimensions a world
model may fill some twenty, and straight distances then count only those. Planning by distances in
whitened coordinates reaches far goals more often; `docs/explanation/world-models.md` has figures.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from isojepa.boundaries import reading
from isojepa.files import write_atomically
from isojepa.randomness import Stream
from isojepa.runs.checkpoints import sealed, unsealed
from isojepa.world.episodes.trajectories import Trajectories
from isojepa.world.learning.measures import sample_embeddings
from isojepa.world.model.latent import LatentModel

FILE = "whitening.safetensors"
FRAMES = 2000
FLOOR = 1e-3
"""Directions of less than this share of the largest variance are not raised to 1: they hold what
predictions get wrong as much as what frames show."""


def whitening(z: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """A, for which the covariance of z A is the identity but for directions below the floor."""
    values, axes = torch.linalg.eigh(torch.cov(z.double().T))
    least = values[-1].clamp(min=torch.finfo(torch.float32).tiny)
    return (axes / values.clamp(min=FLOOR * least).sqrt()).float()


def fit_whitening(
    model: LatentModel, trajectories: Trajectories, episodes: Int64[np.ndarray, " e"], *, seed: int
) -> Float[Tensor, "d d"]:
    """The whitening of the embeddings of frames drawn from some episodes, on the model's device."""
    return whitening(
        sample_embeddings(model, trajectories, episodes, FRAMES, seed=seed, stream=Stream.WHITENING)
    )


def save_whitening(folder: Path, matrix: Float[Tensor, "d d"]) -> None:
    """Write it beside the weights of an exported world model."""
    write_atomically(folder / FILE, sealed({"matrix": matrix.cpu()}))


def load_whitening(path: str | Path) -> Float[Tensor, "d d"] | None:
    """That of a run or of its `world_model` folder, on the CPU; None if it was trained without.

    Raises:
        UserError: if the file is damaged.
    """
    folder = Path(path)
    for file in (folder / "world_model" / FILE, folder / FILE):
        if file.is_file():
            with reading(file, "a whitening of embeddings"):
                return unsealed(file)["matrix"]
    return None
