"""Brightness, contrast, saturation and hue as one affine map of the colours per sample."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)


def recolour(
    view: Float[Tensor, "n c h w"],
    brightness: Tensor,
    contrast: Tensor,
    saturation: Tensor,
    hue: Tensor,
) -> Float[Tensor, "n c h w"]:
    """Change luma and chroma by one affine map per sample.

    Brightness b and contrast c act on the luma Y as b (c Y + (1 - c) mean Y); saturation s and hue
    h scale and turn the chroma plane by b c s. Written so, the four commute, and torchvision's
    random order has nothing to randomise. Images without three channels have luma only.
    """
    n, channels, h, w = view.shape
    gain = brightness * contrast
    means = view.mean((2, 3))
    if channels != 3:
        offset = (brightness * (1 - contrast))[:, None] * means.mean(1, keepdim=True)
        return view * gain[:, None, None, None] + offset[:, :, None, None]
    luma = torch.tensor(LUMA, device=view.device, dtype=view.dtype)
    matrix = gain[:, None, None] * chroma(saturation, hue)
    offset = (brightness * (1 - contrast) * (means @ luma))[:, None, None]
    return torch.baddbmm(offset, matrix, view.reshape(n, 3, h * w)).reshape(view.shape)


def chroma(saturation: Float[Tensor, " n"], hue: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Maps RGB to RGB, keeping the luma, scaling and turning the chroma around the grey axis."""
    luma = torch.tensor(LUMA, device=hue.device, dtype=hue.dtype)
    eye = torch.eye(3, device=luma.device, dtype=luma.dtype)
    grey = luma.expand(3, 3)  # x -> (Y, Y, Y)
    off_grey = eye - grey
    # Rotation by 90 degrees in the plane orthogonal to grey, then made to keep the luma at zero.
    ones = torch.ones(3, device=luma.device, dtype=luma.dtype) / math.sqrt(3)
    cross = torch.linalg.cross(ones.expand(3, 3), eye, dim=-1).mT
    plane = eye - torch.outer(ones, ones)
    quarter = off_grey @ cross @ plane
    along = off_grey @ plane
    turned = hue.cos()[:, None, None] * along + hue.sin()[:, None, None] * quarter
    return grey + saturation[:, None, None] * turned
