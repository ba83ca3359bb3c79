"""Images that are in memory already, as the squares that views are cut from."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from isojepa.encoders.modalities.images.images import ImageSet
from isojepa.encoders.sources.folder import Listing
from isojepa.errors import UserError


def image_set(
    images: UInt8[Tensor, "n h w c"], listing: Listing, side: int, channels: int
) -> ImageSet:
    """Squares of these images.

    Raises:
        UserError: if they have another number of channels.
    """
    n, height, width, found = images.shape
    if found != channels:
        raise UserError(f"images of {channels} channel(s) are needed, and these have {found}")
    pixels = images.permute(0, 3, 1, 2)
    if (height, width) != (side, side):
        size = (side, side)
        resized = interpolate(pixels.float(), size, mode="bilinear", antialias=True)
        pixels = resized.round().clamp(0, 255).byte()
    return ImageSet(
        listing=listing,
        side=side,
        channels=channels,
        aspects=torch.full((n,), width / height),
        pixels=pixels.contiguous(),
        held_out=np.zeros(n, bool),
    )
