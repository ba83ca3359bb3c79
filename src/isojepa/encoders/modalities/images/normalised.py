"""The views of a batch of images, normalised as the network reads them."""

import functools
import importlib
import logging
from types import ModuleType

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.encoders.modalities.images.parameters import ViewParameters, centre_parameters
from isojepa.encoders.modalities.images.recipes import ViewRecipe
from isojepa.encoders.modalities.images.rendering import Effects, render_views
from isojepa.encoders.modalities.modality import Views

log = logging.getLogger(__name__)
PLAIN = Effects(blur=False, warp=False, solarise=False)  # no look at values: it can be exported


def make_views(
    images: UInt8[Tensor, "n c s s"],
    parameters: ViewParameters,
    recipe: ViewRecipe,
    mean: list[float],
    std: list[float],
) -> Views:
    """Render the recipe's global and local views and normalise them per channel."""
    large = ViewParameters(*(x[: recipe.n_global] for x in parameters))
    views = [normalised_views(images, large, recipe.global_size, mean, std)]
    if not recipe.n_local:
        return Views(views[0], None)
    local = ViewParameters(*(x[recipe.n_global :] for x in parameters))
    return Views(views[0], normalised_views(images, local, recipe.local_size, mean, std))


def centre_view(
    images: UInt8[Tensor, "n c s s"],
    aspects: Float[Tensor, " n"],
    size: int,
    mean: list[float],
    std: list[float],
) -> Float[Tensor, "n c h w"]:
    """The normalised evaluation view of each image."""
    return normalised_views(images, centre_parameters(aspects), size, mean, std, PLAIN)[0]


def normalised_views(
    images: UInt8[Tensor, "n c s s"],
    parameters: ViewParameters,
    size: int,
    mean: list[float],
    std: list[float],
    effects: Effects | None = None,
) -> Float[Tensor, "v n c h w"]:
    """Views of side `size`, normalised per channel; on CPUs by compiled code where there is any.

    Args:
        effects: which of them any view has, if that is known; without, it is read off the values.
    """
    if images.device.type == "cpu" and not torch.compiler.is_compiling():
        compiled = compiled_rendering()
        if compiled is not None:
            return compiled.render_normalised(images, parameters, size, mean, std)
    return normalise(render_views(images, parameters, size, effects), mean, std)


@functools.cache
def compiled_rendering() -> ModuleType | None:
    """The module that renders on CPUs, or None where the package was installed without it."""
    try:
        return importlib.import_module("isojepa.encoders.modalities.images.compiled")
    except ImportError as error:
        log.info("views are made without compiled code (%s), several times slower", error)
        return None


def normalise(
    x: Float[Tensor, "... c h w"], mean: list[float], std: list[float]
) -> Float[Tensor, "... c h w"]:
    """Subtract the mean and divide by the standard deviation of each channel."""
    shift = torch.tensor(mean, dtype=x.dtype)[:, None, None].to(x.device, non_blocking=True)
    scale = torch.tensor(std, dtype=x.dtype)[:, None, None].to(x.device, non_blocking=True)
    return (x - shift) / scale
