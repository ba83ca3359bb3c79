"""Views as parameters say, made on whatever device holds the images.

Crop, antialiased resize, flip and blur are one pair of small matrices per sample, applied as
rows @ image @ columns; brightness, contrast, saturation and hue are one 3 x 3 matrix and an offset.
A batch of views is therefore three batched matrix products, with no loop over samples.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.encoders.modalities.images.colour import recolour
from isojepa.encoders.modalities.images.parameters import ViewParameters


class Effects(NamedTuple):
    """What at least one view of a batch has, and the others pass through unchanged."""

    blur: bool
    warp: bool
    """Rotation or shear."""
    solarise: bool


def effects_of(parameters: ViewParameters) -> Effects:
    """The effects that any of the views has."""
    return Effects(
        blur=bool(parameters.sigma.any()),
        warp=bool(parameters.angle.any() or parameters.shear.any()),
        solarise=bool(parameters.solarise.any()),
    )


def render_views(
    images: UInt8[Tensor, "n c s s"],
    parameters: ViewParameters,
    size: int,
    effects: Effects | None = None,
) -> Float[Tensor, "v n c h w"]:
    """Make the views, of side `size`, with values in [0, 1], on the images' device.

    The order is crop and resize, flip, blur, rotate and shear, colour, solarise.

    Args:
        effects: which of them any view has, if that is known; else it is read off the parameters.
    """
    if effects is None:
        effects = effects_of(parameters)
    pixels = images.float() / 255
    p = ViewParameters(*(x.to(images.device, non_blocking=True) for x in parameters))
    views = []
    for i in range(p.left.shape[0]):  # over views, so that the images are not copied v times
        rows = _resampling(p.top[i], p.height[i], images.shape[-2], size)
        columns = _resampling(p.left[i], p.width[i], images.shape[-1], size, p.flip[i])
        if effects.blur:
            blur = _blurring(p.sigma[i] * size, size)
            rows, columns = blur @ rows, blur @ columns
        view = rows.unsqueeze(1) @ pixels @ columns.unsqueeze(1).mT
        if effects.warp:
            view = _warp(view, p.angle[i], p.shear[i])
        view = recolour(view, p.brightness[i], p.contrast[i], p.saturation[i], p.hue[i])
        view = view.clamp(0, 1)
        if effects.solarise:
            invert = (p.solarise[i, :, None, None, None] > 0) & (view > 0.5)
            view = torch.where(invert, 1 - view, view)
        views.append(view)
    return torch.stack(views)


def _resampling(
    start: Tensor, extent: Tensor, source: int, target: int, flip: Tensor | None = None
) -> Float[Tensor, "n t s"]:
    """Matrices that cut [start, start + extent] out of [0, 1] and resize it, antialiased.

    A triangle filter as wide as the shrinkage, as in Pillow and torchvision's antialiased bilinear.
    """
    position = (torch.arange(target, device=start.device) + 0.5) / target
    position = position.expand(start.shape[0], target)  # `len` would fix it in an export
    if flip is not None:
        position = torch.where(flip[:, None] > 0, 1 - position, position)
    centre = (start[:, None] + extent[:, None] * position) * source
    support = (extent * source / target).clamp_min(1)[:, None, None]
    pixel = torch.arange(source, device=start.device) + 0.5
    weights = (1 - (pixel - centre[..., None]).abs() / support).clamp_min(0)
    return weights / weights.sum(-1, keepdim=True)


def _blurring(sigma: Tensor, size: int) -> Float[Tensor, "n t t"]:
    pixel = torch.arange(size, device=sigma.device)
    squared = (pixel[:, None] - pixel).square()
    weights = torch.exp(-0.5 * squared / sigma.square().clamp_min(1e-4)[:, None, None])
    return weights / weights.sum(-1, keepdim=True)


def _warp(view: Tensor, angle: Tensor, shear: Tensor) -> Tensor:
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    top = torch.stack([cos, cos * shear.tan() - sin, zero], -1)
    bottom = torch.stack([sin, sin * shear.tan() + cos, zero], -1)
    grid = torch.nn.functional.affine_grid(
        torch.stack([top, bottom], -2), list(view.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(
        view, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
