"""Series' networks: a 1-D convolutional and a patch-transformer encoder, or anyone's module."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.modality import (
    UNSAID,
    Choices,
    Columns,
    Network,
    Networks,
    Statistics,
)
from isojepa.encoders.modalities.named import build_named, check_named, width_of
from isojepa.encoders.modalities.series.resampling import whole
from isojepa.encoders.modalities.series.samples import SeriesSet

PATCH = 8  # time steps; views are multiples of it
DEFAULT = "conv_small"


@dataclass(frozen=True, kw_only=True)
class SeriesChoices(Choices):
    """The settings that series decide."""

    length: int


@dataclass(frozen=True, kw_only=True)
class SeriesSpec:
    """All that is needed to rebuild an encoder of series, its weights apart."""

    modality: str = "series"
    model: str
    length: int
    """Time steps of the view that a series is embedded by."""
    channels: list[str]
    mean: list[float]
    """Per channel; likewise `std`."""
    std: list[float]
    missing: bool
    """Whether values were missing in training: a channel of the known shares goes with each."""
    columns: Columns = UNSAID
    """Those of a table that were named."""

    @property
    def inputs(self) -> int:
        """Channels that the network reads."""
        return len(self.channels) * (2 if self.missing else 1)


class SeriesNetworks(Networks):
    """Networks over time."""

    Spec = SeriesSpec

    def check(self, config: PretrainConfig, *, pretrained: bool) -> None:
        """Raises UserError for a model that there is not."""
        check_named(config, MODELS, "series", pretrained=pretrained)

    def spec(
        self,
        config: PretrainConfig,
        choices: SeriesChoices,
        data: SeriesSet,
        statistics: Statistics,
    ) -> SeriesSpec:
        """What to build for these series."""
        return SeriesSpec(
            model=choices.model,
            length=choices.length,
            channels=list(data.channels),
            mean=statistics.mean,
            std=statistics.std,
            missing=data.missing,
            columns=Columns(config.id_column, config.time_column, config.label_column),
        )

    def network(
        self, spec: SeriesSpec, backbone: nn.Module | None = None, *, pretrained: bool = False
    ) -> "SeriesEncoder":
        """The encoder with initial weights from torch's generator."""
        del pretrained
        return SeriesEncoder(spec, backbone)

    def in_words(self, spec: SeriesSpec) -> str:
        """Such as "conv_small at 128 time steps, 3 channels"."""
        several = "s" if len(spec.channels) != 1 else ""
        return f"{spec.model} at {spec.length} time steps, {len(spec.channels)} channel{several}"


class SeriesEncoder(Network):
    """Series in, one embedding per series out.

    Args:
        spec: what to build and how series are prepared for it.
        backbone: a module (n, c, t) -> (n, d) to use in place of a named one.
    """

    def __init__(self, spec: SeriesSpec, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.spec = spec
        if backbone is None:
            backbone = build_named(spec.model, MODELS, "series", spec.inputs)
        self.backbone = backbone
        self.embedding_dim = width_of(backbone, spec.inputs, spec.length)

    def forward(self, x: Float[Tensor, "n c t"]) -> Float[Tensor, "n d"]:
        """Embed normalised series, as `prepare` makes them."""
        return self.backbone(x)

    def prepare(self, values: Tensor, lengths: Tensor) -> Float[Tensor, "n c t"]:
        """Whole series, with NaN where nothing is known, as the network reads them."""
        spec = self.spec
        mean, std = torch.tensor(spec.mean), torch.tensor(spec.std)
        x, known = whole(values, lengths, spec.length, mean, std)
        return torch.cat([x, known.to(x.dtype)], 1) if spec.missing else x


class ConvEncoder(nn.Module):
    """A residual network of 1-D convolutions; its mean and largest features over time."""

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(inputs, widths[0], 7, padding=3), _norm(widths[0]))
        self.blocks = nn.Sequential(
            *(
                ConvBlock(a, b, 2 if i else 1)
                for i, (a, b) in enumerate(zip(widths[:1] + widths, widths))
            )
        )

    def forward(self, x: Float[Tensor, "n c t"]) -> Float[Tensor, "n d"]:
        x = self.blocks(self.stem(x))
        return torch.cat([x.mean(-1), x.amax(-1)], -1)


class ConvBlock(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.GELU(),
            nn.Conv1d(inputs, outputs, 5, stride, 2, bias=False),
            _norm(outputs),
            nn.GELU(),
            nn.Conv1d(outputs, outputs, 5, 1, 2, bias=False),
            _norm(outputs),
        )
        self.around = nn.Conv1d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.around(x) + self.inner(x)


def _norm(width: int) -> nn.Module:
    return nn.BatchNorm1d(width)


class PatchEncoder(nn.Module):
    """A transformer over patches of eight time steps; the mean of its tokens."""

    def __init__(self, inputs: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.cut = nn.Conv1d(inputs, width, PATCH, PATCH)
        layer: Any = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), False)

    def forward(self, x: Float[Tensor, "n c t"]) -> Float[Tensor, "n d"]:
        tokens = self.cut(x).mT
        return self.layers(tokens + positions(tokens)).mean(1)


def positions(tokens: Float[Tensor, "n p e"]) -> Float[Tensor, "p e"]:
    """Sines and cosines of each token's place (Vaswani et al. 2017, section 3.5)."""
    p, e = tokens.shape[1:]
    rate = torch.exp(torch.arange(0, e, 2, device=tokens.device) * (-math.log(10_000) / e))
    angle = torch.arange(p, device=tokens.device)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1).to(tokens.dtype)


MODELS: dict[str, Any] = {
    "conv_nano": lambda inputs: ConvEncoder(inputs, (16, 32, 64)),
    "conv_small": lambda inputs: ConvEncoder(inputs, (32, 64, 128)),
    "conv_base": lambda inputs: ConvEncoder(inputs, (64, 128, 256, 256)),
    "patch_small": lambda inputs: PatchEncoder(inputs, 128, 4, 4),
}


NETWORKS = SeriesNetworks()
