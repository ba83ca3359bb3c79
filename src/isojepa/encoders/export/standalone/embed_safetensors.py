"""Image files -> embeddings, by timm and Pillow: the network is built by its parts."""

from pathlib import Path
from typing import Any

import command
import numpy as np
import timm
from embedding import Settings, embedding
from safetensors.torch import load_file
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

HERE = Path(__file__).parent
MICRO = {"resnet_micro": (32, 64, 128, 256), "resnet_nano": (32, 64, 128)}
settings = Settings.read(HERE / "config.json")


def build() -> Any:
    """The network without its weights."""
    name, arguments = settings.model, settings.arguments or {}
    if name not in MICRO:
        network = timm.create_model(name, **arguments)
        return with_small_stem(network, 1) if settings.stem == "small" else network
    widths = MICRO[name]
    sizes: dict[str, Any] = {"channels": (*widths, widths[-1])[:4], "zero_init_last": False}
    block: Any = BasicBlock
    network = ResNet(block, (1, 1, 1, 1), **sizes, **arguments)
    if len(widths) == 3:
        network.layer4 = nn.Identity()
    return with_small_stem(network, 2)


def with_small_stem(network: Any, stride: int) -> Any:
    """A ResNet whose first layer is a 3 x 3 convolution, without pooling."""
    old = network.conv1
    network.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, stride, 1, bias=False)
    network.maxpool = nn.Identity()
    return network


network = build()
weights = load_file(HERE / "model.safetensors")
parts = {name: name.partition(".") for name in weights}
network.load_state_dict({p[2]: weights[name] for name, p in parts.items() if p[0] == "backbone"})
whitening = {p[2]: weights[name] for name, p in parts.items() if p[0] == "whitening"} or None
network.eval()


def embed(file: Any) -> np.ndarray:
    """The embedding (d,) of the image in file, a path or an open file."""
    return embedding(network, file, settings, whitening)


if __name__ == "__main__":
    command.run(embed)
