"""Images' networks: any of timm's, or anyone's module, as an encoder."""

from torch import nn

from isojepa.backbones.networks import check_network
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.choices import ImageChoices
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec, Stem
from isojepa.encoders.modalities.images.images import ImageSet
from isojepa.encoders.modalities.modality import Networks, Statistics


class ImageNetworks(Networks):
    """Networks over pixels."""

    Spec = EncoderSpec

    def check(self, config: PretrainConfig, *, pretrained: bool) -> None:
        """Raises UserError for a model that timm does not know, or whose weights cannot be had."""
        if config.model is not None:
            check_network(config.model, pretrained=pretrained)

    def spec(
        self, config: PretrainConfig, choices: ImageChoices, data: ImageSet, statistics: Statistics
    ) -> EncoderSpec:
        """What to build for these images."""
        # A run that is gone on with has its weights, but keeps the stem that it began with
        stem: Stem = "own" if config.pretrained else "auto"
        return EncoderSpec(
            model=choices.model,
            image_size=choices.image_size,
            channels=choices.channels,
            mean=statistics.mean,
            std=statistics.std,
            side=data.side,
            bits=data.bits,
            ranges=data.ranges,
            pages=config.pages,
            stem=stem,
        )

    def network(
        self, spec: EncoderSpec, backbone: nn.Module | None = None, *, pretrained: bool = False
    ) -> Encoder:
        """The encoder, with initial weights from torch's generator or timm's published ones."""
        return Encoder(spec, backbone, pretrained=pretrained)

    def in_words(self, spec: EncoderSpec) -> str:
        """Such as "resnet18, its stem of stride 1, at 32 px, 3 channels"."""
        stem = ", with a stem of stride 1 for small images," if spec.stem == "small" else ""
        several = "s" if spec.channels != 1 else ""
        return f"{spec.model}{stem} at {spec.image_size} px, {spec.channels} channel{several}"


NETWORKS = ImageNetworks()
