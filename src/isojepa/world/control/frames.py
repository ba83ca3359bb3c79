"""Frames of a camera as a model reads them."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.errors import UserError
from isojepa.world.episodes.decoded import resize
from isojepa.world.model.latent import LatentModel

FRAMES_AT_ONCE = 128


@torch.no_grad()
def encode_frames(model: LatentModel, frames: UInt8[np.ndarray, "n y x c"]) -> Float[Tensor, "n d"]:
    """Embeddings of single frames, a batch at a time; see `model_frames`."""
    parts = []
    for part in np.array_split(frames, -(-len(frames) // FRAMES_AT_ONCE)):
        x = model_frames(part, model.frame_size).to(model.device)
        parts.append(model.encode(x[:, None])[:, 0].float())
    return torch.cat(parts)


def model_frames(frames: UInt8[np.ndarray, "n y x c"], size: int) -> UInt8[Tensor, "n c size size"]:
    """Frames channels first; those of another size are resized.

    Raises:
        UserError: for frames that are not square.
    """
    if frames.shape[1] != frames.shape[2]:
        raise UserError(
            f"frames of {frames.shape[2]} x {frames.shape[1]} pixels; the model sees squares of "
            f"{size}: crop them first"
        )
    return torch.from_numpy(np.stack([resize(x, size) for x in frames])).permute(0, 3, 1, 2)
