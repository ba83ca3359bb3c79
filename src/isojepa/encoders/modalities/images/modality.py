"""Images as a modality: the three functions by which they are trained on."""

import torch

from isojepa.encoders.modalities.images.encoder import Encoder as network
from isojepa.encoders.modalities.images.encoder import EncoderSpec
from isojepa.encoders.modalities.images.images import Squares
from isojepa.encoders.modalities.images.images import read_images as read
from isojepa.encoders.modalities.images.parameters import draw_parameters
from isojepa.encoders.modalities.images.recipes import ViewRecipe
from isojepa.encoders.modalities.images.views import make_views
from isojepa.encoders.modalities.modality import Batch, Views

__all__ = ["network", "read", "views"]


def views(
    batch: Batch[Squares],
    step: int,
    *,
    recipe: ViewRecipe,
    spec: EncoderSpec,
    seed: int,
    device: torch.device,
) -> Views:
    """Random views of a batch, a function of the seed, the step and places in the global batch."""
    squares, aspects = batch.samples
    parameters = draw_parameters(
        recipe, aspects, seed=seed, step=step, first=batch.first, total=batch.total
    )
    squares = squares.to(device, non_blocking=True)
    return make_views(squares, parameters, recipe, spec.mean, spec.std)
