"""The views of a batch of images, normalised as the network reads them."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.encoders.modalities.images.parameters import ViewParameters, centre_parameters
from isojepa.encoders.modalities.images.recipes import ViewRecipe
from isojepa.encoders.modalities.images.rendering import Effects, render_views
from isojepa.encoders.modalities.modality import Views


def make_views(
    images: UInt8[Tensor, "n c s s"],
    parameters: ViewParameters,
    recipe: ViewRecipe,
    mean: list[float],
    std: list[float],
) -> Views:
    """Render the recipe's global and local views and normalise them per channel."""
    large = ViewParameters(*(x[: recipe.n_global] for x in parameters))
    views = [normalise(render_views(images, large, recipe.global_size), mean, std)]
    if not recipe.n_local:
        return Views(views[0], None)
    local = ViewParameters(*(x[recipe.n_global :] for x in parameters))
    return Views(views[0], normalise(render_views(images, local, recipe.local_size), mean, std))


def centre_view(
    images: UInt8[Tensor, "n c s s"],
    aspects: Float[Tensor, " n"],
    size: int,
    mean: list[float],
    std: list[float],
) -> Float[Tensor, "n c h w"]:
    """The normalised evaluation view of each image."""
    plain = Effects(blur=False, warp=False, solarise=False)  # no look at values: it can be exported
    return normalise(render_views(images, centre_parameters(aspects), size, plain), mean, std)[0]


def normalise(
    x: Float[Tensor, "... c h w"], mean: list[float], std: list[float]
) -> Float[Tensor, "... c h w"]:
    """Subtract the mean and divide by the standard deviation of each channel."""
    shift = torch.tensor(mean, dtype=x.dtype)[:, None, None].to(x.device, non_blocking=True)
    scale = torch.tensor(std, dtype=x.dtype)[:, None, None].to(x.device, non_blocking=True)
    return (x - shift) / scale
