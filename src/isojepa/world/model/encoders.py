"""Frame encoders: the published vision transformer, a small strided network, or any of timm's."""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from isojepa.backbones.class_tokens import class_token, is_plain
from isojepa.backbones.networks import Embed, build_network, output_of, refused
from isojepa.errors import UserError

Features = Literal["pooled", "grid"]
Options = dict[str, Any]  # arguments of a network's constructor
GRID = 4  # rows and columns to which frozen feature maps are averaged


@register_model
def lewm_vit(pretrained: bool = False, **kwargs: Any) -> VisionTransformer:
    """The published frame encoder: a ViT-Tiny with patches of 14 px and a class token.

    Its layer norms have the 1e-12 of Hugging Face's ViT, on which the published weights rest.
    """
    if pretrained:
        raise ValueError("lewm_vit is trained from scratch")
    sizes = {"patch_size": 14, "embed_dim": 192, "depth": 12, "num_heads": 3}
    norm = partial(nn.LayerNorm, eps=1e-12)
    return VisionTransformer(norm_layer=norm, **{**sizes, **_known(kwargs, sizes)})


@register_model
def conv_micro(pretrained: bool = False, **kwargs: Any) -> nn.Sequential:
    """Three strided convolutions of widths 16 to 64, flattened so that places stay apart.

    The first reads patches of 8 px, 4 px apart. At 64 px: 27 k parameters and 1,024 features.
    """
    if pretrained:
        raise ValueError("conv_micro has no pretrained weights")
    layers: list[nn.Module] = []
    before = kwargs.get("in_chans", 3)
    for i, channels in enumerate(kwargs.get("channels", (16, 32, 64))):
        kernel, stride, padding = (3, 2, 1) if i else (8, 4, 2)
        layers.append(nn.Conv2d(before, channels, kernel, stride, padding, bias=False))
        layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        before = channels
    return nn.Sequential(*layers, nn.Flatten())


class FrameEncoder(nn.Module):
    """Normalised frames in, one feature vector per frame out.

    A transformer gives its class token, `conv_micro` its flattened map, others of timm's their
    pooled features.

    Args:
        name: a timm model name; `options` are passed to its constructor.
        frame_size: side of the frames in pixels.
        pretrained: start from timm's published weights, downloaded by timm.

    Raises:
        UserError: for a name that timm does not know, or frames that the network cannot read.
    """

    def __init__(
        self, name: str, options: Options, frame_size: int, *, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.backbone = _build(name, options, frame_size, pretrained)
        self.features = _width(self, self, name, frame_size, options.get("in_chans", 3))

    def forward(self, frames: Float[Tensor, "n c y x"]) -> Float[Tensor, "n e"]:
        if is_plain(self.backbone):
            return class_token(self.backbone, frames)
        return self.backbone(frames)


class FrozenFeatures(nn.Module):
    """Features of a network that is not trained, on the axes along which they vary most.

    As in DINO-WM only what follows is trained. The axes are fitted once (`fit`) and scaled
    together, so that the embedding's mean variance per coordinate is 1.

    Args:
        features: "pooled", or "grid": the map of patches averaged to 4 x 4 and flattened.
        d: number of axes kept.
    """

    mean: Tensor
    axes: Tensor

    def __init__(
        self,
        name: str,
        options: Options,
        frame_size: int,
        *,
        features: Features,
        d: int,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.kind = features
        self.backbone = _build(name, options, frame_size, pretrained).requires_grad_(False)
        self.features = d
        if features == "grid" and not hasattr(self.backbone, "forward_features"):
            raise UserError(f"--encoder {name}: has no feature map to freeze; choose another")
        full = _width(self, self._map, name, frame_size)
        if d > full:
            raise UserError(f"--embedding-dim {d}: {name} has only {full} {features} features")
        self.register_buffer("mean", torch.zeros(full))
        self.register_buffer("axes", torch.eye(full, d))

    def forward(self, frames: Float[Tensor, "n c y x"]) -> Float[Tensor, "n e"]:
        return (self._map(frames) - self.mean) @ self.axes

    def train(self, mode: bool = True) -> "FrozenFeatures":  # noqa: ARG002
        """Stay in eval mode: the network does not learn, and neither do its statistics."""
        return super().train(False)

    @torch.no_grad()
    def fit(self, frames: Float[Tensor, "n c y x"]) -> None:
        """Choose the axes from a sample of frames, at least as many as axes."""
        x = torch.cat([self._map(part) for part in frames.split(64)]).double()
        centre = x.mean(0)
        _, spread, axes = torch.linalg.svd(x - centre, full_matrices=False)
        scale = (spread[: self.features].square().sum() / len(x) / self.features).sqrt()
        self.mean.copy_(centre)
        self.axes.copy_(axes[: self.features].T / scale.clamp(min=1e-12))

    @torch.no_grad()
    def _map(self, frames: Tensor) -> Tensor:
        if self.kind == "pooled":
            return self.backbone(frames)
        x = self.backbone.forward_features(frames)  # type: ignore[operator]
        if x.ndim == 3:  # tokens of a transformer: drop the class token, lay out the patches
            x = x[:, self.backbone.num_prefix_tokens :]
            x = x.transpose(1, 2).unflatten(2, (round(x.shape[1] ** 0.5), -1))
        return F.adaptive_avg_pool2d(x, GRID).flatten(1)


def normalise_pixels(
    frames: Shaped[Tensor, "n c y x"], mean: Float[Tensor, " c"], std: Float[Tensor, " c"]
) -> Float[Tensor, "n c y x"]:
    """Frames in bytes, or floats in [0, 1], to float deviations; channels last in memory.

    In place and by rows of pixels: out of place, or with a factor per channel innermost, it takes
    a CPU many times as long.
    """
    n, c, y, x = frames.shape
    factor, offset = (1 / std).repeat(x), (mean / std).repeat(x)
    rows = frames.permute(0, 2, 3, 1).reshape(n * y, x * c)
    if frames.is_floating_point():
        rows = rows.to(factor.dtype) * factor
    else:
        rows = rows.to(factor.dtype).mul_(factor / 255)
    return rows.sub_(offset).view(n, y, x, c).permute(0, 3, 1, 2)


def _build(name: str, options: Options, size: int, pretrained: bool) -> nn.Module:
    return build_network(
        name,
        size=size,
        pretrained=pretrained,
        resizable=False,
        options=options,
        setting="--encoder",
    )


def _width(network: nn.Module, embed: Embed, name: str, size: int, channels: int = 3) -> int:
    with refused(f"--encoder {name} cannot read frames of {size} px", "; try another --frame-size"):
        return output_of(network, embed, channels, size)[1]


def _known(kwargs: Options, sizes: dict[str, int]) -> Options:
    names = {*sizes, "img_size", "num_classes", "in_chans"}
    return {name: value for name, value in kwargs.items() if name in names}
