"""How each view of each sample is made: where it is cut and how it is recoloured.

Drawn on the CPU for the whole global batch from (seed, step): position p of step s gets the same
views on any number of ranks, after any resume, on any device.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.encoders.modalities.images.recipes import ViewRecipe
from isojepa.randomness import Stream, generator

CROP_ATTEMPTS = 10


class ViewParameters(NamedTuple):
    """How to make each view of each sample. Axes: v views, n samples."""

    left: Float[Tensor, "v n"]
    """Left edge of the crop as a share of the image's width; likewise below."""
    top: Float[Tensor, "v n"]
    width: Float[Tensor, "v n"]
    height: Float[Tensor, "v n"]
    flip: Float[Tensor, "v n"]
    """1 to flip, 0 not to."""
    angle: Float[Tensor, "v n"]
    """Rotation in radians."""
    shear: Float[Tensor, "v n"]
    """Horizontal shear in radians."""
    brightness: Float[Tensor, "v n"]
    """Factor; 1 changes nothing, and likewise for contrast and saturation (0: grey)."""
    contrast: Float[Tensor, "v n"]
    saturation: Float[Tensor, "v n"]
    hue: Float[Tensor, "v n"]
    """Rotation of the colour circle in radians."""
    sigma: Float[Tensor, "v n"]
    """Standard deviation of the blur as a share of the view's side, 0 for none."""
    solarise: Float[Tensor, "v n"]
    """1 to invert what is brighter than one half."""


def draw_parameters(
    recipe: ViewRecipe,
    aspects: Float[Tensor, " n"],
    *,
    seed: int,
    step: int,
    first: int,
    total: int,
) -> ViewParameters:
    """Draw the parameters for positions first, ..., first + n - 1 of a global batch.

    Args:
        recipe: what varies.
        aspects: width over height of each original image, on the CPU.
        seed, step: non-negative keys of the draw.
        first: position of the first of these samples in the global batch.
        total: size of the global batch.
    """
    u = torch.rand(
        recipe.views, total, 2 * CROP_ATTEMPTS + 14, generator=generator(seed, step, Stream.VIEWS)
    )[:, first : first + len(aspects)]
    crops, (x, y, *rest) = u[..., : 2 * CROP_ATTEMPTS], u[..., 2 * CROP_ATTEMPTS :].unbind(-1)
    width, height = _crop_sizes(recipe, crops, aspects)
    flip, angle, shear, jitter, brightness, contrast, saturation, hue, grey, blur, sigma, sol = rest
    jittered = (jitter < recipe.jitter).float()
    return ViewParameters(
        left=x * (1 - width),
        top=y * (1 - height),
        width=width,
        height=height,
        flip=(flip < recipe.flip).float(),
        angle=_symmetric(angle) * math.radians(recipe.rotate),
        shear=_symmetric(shear) * math.radians(recipe.shear),
        brightness=1 + jittered * _symmetric(brightness) * recipe.brightness,
        contrast=(1 + jittered * _symmetric(contrast) * recipe.contrast)
        * torch.where(sol > 1 - recipe.invert, -1.0, 1.0),
        saturation=(grey >= recipe.grey).float()
        * (1 + jittered * _symmetric(saturation) * recipe.saturation),
        hue=jittered * _symmetric(hue) * recipe.hue * 2 * math.pi,
        sigma=(blur < recipe.blur).float() * (0.1 + 1.9 * sigma) / 224,
        solarise=(sol < recipe.solarise).float(),
    )


def centre_parameters(aspects: Float[Tensor, " n"]) -> ViewParameters:
    """The evaluation view: the central square of each image, otherwise unchanged."""
    aspects = aspects.unsqueeze(0)
    width, height = (1 / aspects).clamp_max(1), aspects.clamp_max(1)
    zero, one = torch.zeros_like(aspects), torch.ones_like(aspects)
    return ViewParameters(
        left=(1 - width) / 2,
        top=(1 - height) / 2,
        width=width,
        height=height,
        flip=zero,
        angle=zero,
        shear=zero,
        brightness=one,
        contrast=one,
        saturation=one,
        hue=zero,
        sigma=zero,
        solarise=zero,
    )


def _symmetric(u: Tensor) -> Tensor:
    return 2 * u - 1


def _crop_sizes(recipe: ViewRecipe, u: Tensor, aspects: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, as shares of the image's, of the first crop that fits in ten draws."""
    scales = [recipe.global_scale] * recipe.n_global + [recipe.local_scale] * recipe.n_local
    scale = torch.tensor(scales)
    low, high = scale[:, None, None].unbind(-1)
    area = low + (high - low) * u[..., :CROP_ATTEMPTS]
    log_low, log_high = math.log(recipe.ratio[0]), math.log(recipe.ratio[1])
    ratio = torch.exp(log_low + (log_high - log_low) * u[..., CROP_ATTEMPTS:])
    relative = ratio / aspects[:, None]  # the crop's ratio in the squeezed image's geometry
    width, height = (area * relative).sqrt(), (area / relative).sqrt()
    fits = (width <= 1 + 1e-6) & (height <= 1 + 1e-6)
    first = fits.float().argmax(-1, keepdim=True)
    # None fits an elongated image: the largest central crop of an allowed ratio, as torchvision.
    fallback = (aspects.clamp(*recipe.ratio) / aspects).expand(u.shape[:2])
    some = fits.any(-1)
    width = torch.where(some, width.gather(-1, first)[..., 0], fallback.clamp_max(1))
    height = torch.where(some, height.gather(-1, first)[..., 0], (1 / fallback).clamp_max(1))
    return width.clamp_max(1), height.clamp_max(1)
