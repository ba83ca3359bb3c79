"""Residual networks small enough to train on a laptop's CPU, registered with timm by name."""

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

SMALL_IMAGE = 64  # up to this many pixels a side, a ResNet is spared the early loss of resolution
MICRO_NAMES = {"resnet_micro", "resnet_nano"}


@register_model
def resnet_micro(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """Four residual blocks of widths 32 to 256: 1.2 M parameters, a 256-d embedding."""
    return _micro((32, 64, 128, 256), pretrained, kwargs)


@register_model
def resnet_nano(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """Three residual blocks of widths 32 to 128, for about 16 px: 0.3 M parameters, a 128-d
    embedding."""
    return _micro((32, 64, 128), pretrained, kwargs)


def keep_resolution(backbone: nn.Module, stride: int = 1) -> bool:
    """Give a timm ResNet a 3 x 3 stem of the given stride and no pooling; say if it was one."""
    old = getattr(backbone, "conv1", None)
    if not isinstance(backbone, ResNet) or not isinstance(old, nn.Conv2d):
        return False
    stem = nn.Conv2d(old.in_channels, old.out_channels, 3, stride=stride, padding=1, bias=False)
    backbone.add_module("conv1", stem)
    backbone.add_module("maxpool", nn.Identity())
    return True


def _micro(channels: tuple[int, ...], pretrained: bool, settings: dict[str, Any]) -> ResNet:
    if pretrained:
        raise ValueError("no weights of the micro networks are published")
    if "img_size" in settings:  # as other convolutional networks of timm answer
        raise TypeError("convolutional networks read any size: img_size is not accepted")
    block: Any = BasicBlock
    network = ResNet(
        block,
        (1, 1, 1, 1),
        channels=(*channels, channels[-1])[:4],
        zero_init_last=False,  # four blocks need no help to start, and short runs lose by it
        in_chans=settings.get("in_chans", 3),
        num_classes=settings.get("num_classes", 0),
    )
    if len(channels) == 3:
        network.add_module("layer4", nn.Identity())
    keep_resolution(network, stride=2)
    return network
