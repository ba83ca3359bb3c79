"""Residual networks small enough to train on a laptop's CPU, registered with timm by name."""

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

SMALL_IMAGE = 64  # up to this many pixels a side, a ResNet keeps its full resolution in the stem


def _micro(channels: tuple[int, ...], **kwargs: Any) -> ResNet:
    allowed = {k: v for k, v in kwargs.items() if k in {"in_chans", "num_classes", "drop_rate"}}
    if kwargs.get("pretrained"):
        raise ValueError("the micro networks have no pretrained weights")
    return ResNet(BasicBlock, [1, 1, 1, 1], channels=channels, **allowed)


@register_model
def resnet_micro(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet-10 of widths 32 to 256: 1.2 M parameters, a 256-d embedding."""
    return _micro((32, 64, 128, 256), pretrained=pretrained, **kwargs)


@register_model
def resnet_nano(pretrained: bool = False, **kwargs: Any) -> ResNet:
    """ResNet-10 of widths 16 to 128: 0.3 M parameters, a 128-d embedding."""
    return _micro((16, 32, 64, 128), pretrained=pretrained, **kwargs)


def keep_resolution(backbone: nn.Module) -> bool:
    """Give a timm ResNet the stem for small images: stride 1 and no pooling; say if it was one."""
    if not isinstance(backbone, ResNet) or not isinstance(backbone.conv1, nn.Conv2d):
        return False
    old = backbone.conv1
    backbone.conv1 = nn.Conv2d(old.in_channels, old.out_channels, 3, padding=1, bias=False)
    backbone.maxpool = nn.Identity()
    return True
