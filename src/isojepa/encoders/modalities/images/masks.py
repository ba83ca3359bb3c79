"""Views that lack patches: what is missing is the mean, 0 where images are normalised."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from isojepa.randomness import Stream, generator

PATCHES = 8
"""Patches a side, whatever the view's size; fewer in views of fewer pixels."""


def draw_masks(
    share: float, views: int, *, seed: int, step: int, first: int, n: int, total: int
) -> Bool[Tensor, "v n patches"]:
    """Which patches are missing, as many in each view; those of positions first, ..., first + n - 1
    of the global batch."""
    source = generator(seed, step, Stream.MASKS)
    order = torch.rand(views, total, PATCHES**2, generator=source)[:, first : first + n].argsort(-1)
    return order.argsort(-1) < round(share * PATCHES**2)


def with_holes(
    x: Float[Tensor, "v n c h w"], missing: Bool[Tensor, "v n patches"], value: float = 0.0
) -> Float[Tensor, "v n c h w"]:
    """The views with a value in place of the missing patches."""
    h, w = x.shape[-2:]
    patches = missing.unflatten(-1, (1, PATCHES, PATCHES)).to(x.device)
    for axis, size in ((-2, h), (-1, w)):
        patches = patches.repeat_interleave(math.ceil(size / PATCHES), axis).narrow(axis, 0, size)
    return x.masked_fill(patches, value)
