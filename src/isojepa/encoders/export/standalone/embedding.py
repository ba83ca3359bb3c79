"""An image file -> what the network reads, exactly as in training -> its embedding."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from pixels import upright
from torch import Tensor


class Settings(NamedTuple):
    """What is written of the encoder, as far as it is needed here."""

    model: str
    channels: int
    side: int
    """Of the square to which images are squeezed, in pixels."""
    image_size: int
    """Of its central part, which the network reads."""
    mean: list[float]
    std: list[float]
    embedding: str
    """How it is taken: "pooled", or of the last class tokens."""
    stem: str
    whitened: bool
    arguments: dict[str, Any] | None = None
    """To build the network with, where its parts are built here."""

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """From a file of JSON."""
        found = json.loads(path.read_text())
        return cls(**{name: found[name] for name in cls._fields if name in found})


@torch.no_grad()
def embedding(
    network: Any, file: Any, settings: Settings, whitening: dict[str, Tensor] | None = None
) -> np.ndarray:
    """The embedding (d,) of the image in file, a path or an open file.

    Args:
        whitening: weight and bias of the map that makes embeddings white, where there is one.
    """
    x = forward(network, network_input(file, settings)[None], settings.embedding)
    if whitening is not None:
        x = torch.nn.functional.linear(x, **whitening)
    return x[0].numpy()


def forward(network: Any, images: Tensor, embedding: str) -> Tensor:
    """Embeddings (n, d) of prepared images: pooled, or the last two class tokens side by side."""
    if embedding == "pooled":
        return network(images)
    layers = network.forward_intermediates(
        images,
        indices=2,
        return_prefix_tokens=True,
        norm=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    return torch.cat([prefix[:, 0] for _, prefix in layers], -1)


def network_input(file: Any, settings: Settings) -> Tensor:
    """The input (channels, size, size) of the network.

    The whole image is squeezed to a square; its central part in the original's geometry is cut out
    of that, resampled with a triangle filter, and normalised.
    """
    image = upright(file, settings.channels)
    side, size = settings.side, settings.image_size
    square = image.resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = torch.from_numpy(np.array(square)).reshape(side, side, -1).permute(2, 0, 1) / 255
    aspect = torch.tensor(image.width / image.height)
    rows, columns = (filter_of(x.clamp(max=1), side, size) for x in (aspect, 1 / aspect))
    mean, std = (torch.tensor(x)[:, None, None] for x in (settings.mean, settings.std))
    return ((rows @ pixels @ columns.mT).clamp(0, 1) - mean) / std


def filter_of(extent: Tensor, source: int, target: int) -> Tensor:
    """Weights (target, source) that cut the central share `extent` out and resample it."""
    centre = ((1 - extent) / 2 + extent * (torch.arange(target) + 0.5) / target) * source
    support = (extent * source / target).clamp(min=1)
    weights = (1 - (torch.arange(source) + 0.5 - centre[:, None]).abs() / support).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)
