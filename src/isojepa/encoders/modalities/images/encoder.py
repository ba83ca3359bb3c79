"""Encoder: a timm backbone, or anyone's module, with the preprocessing it was trained for."""

import logging
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from isojepa.backbones.class_tokens import has_plain_blocks, last_class_tokens
from isojepa.backbones.micro import MICRO_NAMES, SMALL_IMAGE, keep_resolution
from isojepa.backbones.networks import architecture_of, build_network, output_of, refused
from isojepa.boundaries import reason
from isojepa.encoders.modalities.images.normalised import centre_view
from isojepa.encoders.modalities.modality import Network
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_square
from isojepa.pixels.items import Array
from isojepa.pixels.rasters import Ranges
from isojepa.pixels.square import to_square

log = logging.getLogger(__name__)
Stem = Literal["auto", "own", "small"]


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """All that is needed to rebuild an encoder, its weights apart."""

    model: str
    """A timm model name, or "custom" for a module passed from Python."""
    image_size: int
    """Side of the images it reads, in pixels."""
    channels: int
    """1 (grey), 3 (RGB), or as many as its images have."""
    mean: list[float]
    """Per channel, of pixels in [0, 1]; likewise `std`."""
    std: list[float]
    side: int
    """Side of the squares to which whole images are resized before the view is cut, in pixels."""
    bits: int | None = 16
    """Integer pixels of more than 8 bits are scaled such that 2^bits - 1 is white; None where none
    were seen in training: the range of the images at hand is taken."""
    ranges: Ranges | None = None
    """Where images are numbers in units of their own: of each channel, what becomes 0 and 255."""
    pages: Literal["first", "each"] = "first"
    """Which pages of a TIFF file are images."""
    options: dict[str, object] = field(default_factory=dict)
    """Further arguments of the timm network's constructor, from a hub's page or a folder."""
    stem: Stem = "auto"
    """small: a ResNet's first layer is a 3 x 3 convolution of stride 1 without pooling. auto: small
    for ResNets of timm up to 64 px that start without published weights, else the network's own."""
    embedding: Literal["auto", "class_tokens", "pooled"] = "auto"
    """class_tokens: of the last two blocks, concatenated; pooled: what the network itself gives.
    auto: the former where timm's network hands out its class tokens. Settled when it is built."""
    whitened: bool = False
    """Whether embeddings are centred and made more alike in width in every direction, by a linear
    map fitted to the training images."""


class Encoder(Network):
    """Images in, one embedding per image out.

    The embedding of a vision transformer with a class token is that token after the last two
    blocks, concatenated (2 x width); of any other network its pooled features.

    Args:
        spec: what to build and how images are prepared for it.
        backbone: a module (n, c, h, w) -> (n, d) to use in place of the timm model.
        pretrained: start from timm's published weights, downloaded by timm.

    Raises:
        UserError: for a name that timm does not know, or a backbone of another output shape.
    """

    def __init__(
        self, spec: EncoderSpec, backbone: nn.Module | None = None, *, pretrained: bool = False
    ) -> None:
        super().__init__()
        if backbone is None:
            spec, backbone = _timm_backbone(spec, pretrained)
        self.backbone = backbone
        if spec.embedding == "auto":
            two = _gives_class_tokens(backbone, spec)
            spec = replace(spec, embedding="class_tokens" if two else "pooled")
        self.spec = spec
        size = f"{spec.channels} x {spec.image_size} x {spec.image_size}"
        with refused(
            f"--model {spec.model} cannot read {size} images", "; try another --image-size"
        ):
            self.embedding_dim = d = self._width_at(spec.image_size)
        self.whitening: nn.Module = nn.Linear(d, d) if spec.whitened else nn.Identity()

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Embed normalised images, as `preprocess` makes them."""
        return self.whitening(self._embed(images))

    def _embed(self, images: Tensor) -> Tensor:
        if self.spec.embedding == "pooled":
            return self.backbone(images)
        return class_tokens(self.backbone, images)

    def patch_tokens(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p e"]:
        """Embeddings of the patches after the last block of a transformer, row by row.

        Raises:
            UserError: if the network is not a transformer.
        """
        tokens = getattr(self.backbone, "num_prefix_tokens", None)
        if tokens is None:
            raise UserError(f"{self.spec.model} has no patch tokens: it is not a transformer")
        return self.backbone.forward_features(images)[:, tokens:]  # type: ignore[operator]

    def preprocess(self, image: Image.Image | np.ndarray) -> Float[Tensor, "c h w"]:
        """Turn a Pillow image of any size and mode, or an array (h, w) or (h, w, c), into the input
        of `forward`, on the CPU.

        Raises:
            UserError: for pixels of another kind or number of channels than in training.
        """
        spec = self.spec
        if isinstance(image, np.ndarray):
            item = Array("the image", image)
            square = read_square(item, spec.side, spec.channels, spec.bits, spec.ranges)
        elif spec.ranges is not None or spec.channels not in (1, 3):
            raise UserError("this encoder reads numbers, not pictures: give an array (h, w, c)")
        else:
            square = to_square(image, spec.side, spec.channels, spec.bits)
        pixels = torch.from_numpy(square.pixels).unsqueeze(0)
        return self.prepare(pixels, torch.tensor([square.aspect]))[0]

    def prepare(self, squares: Tensor, aspects: Tensor) -> Float[Tensor, "n c h w"]:
        """The evaluation view of squares that `read_images` made, on their device."""
        spec = self.spec
        return centre_view(squares, aspects, spec.image_size, spec.mean, spec.std)

    def accepts(self, size: int) -> bool:
        """Whether the network also reads images of this side, as local views need."""
        return self.refusal(size) is None

    def refusal(self, size: int) -> str | None:
        """Why the network cannot read images of this side; None if it can."""
        try:
            with refused("shown such an image"):
                width = self._width_at(size)
        except UserError as error:
            return reason(error.__cause__ or error)
        if width != self.embedding_dim:
            return f"its embedding would have {width} numbers, not {self.embedding_dim}"
        return None

    def _width_at(self, size: int) -> int:
        shape = output_of(self, self._embed, self.spec.channels, size)
        if len(shape) != 2:
            raise UserError(f"the backbone must return (n, d) embeddings, not {tuple(shape)}")
        return shape[1]


def class_tokens(backbone: nn.Module, images: Tensor) -> Float[Tensor, "n d"]:
    """The class tokens after the last two blocks of one of timm's transformers, concatenated."""
    if has_plain_blocks(backbone):
        return last_class_tokens(backbone, images)
    layers = backbone.forward_intermediates(  # type: ignore[operator]
        images,
        indices=2,
        return_prefix_tokens=True,
        norm=True,
        output_fmt="NLC",
        intermediates_only=True,
    )
    return torch.cat([prefix[:, 0] for _, prefix in layers], -1)


def _gives_class_tokens(backbone: nn.Module, spec: EncoderSpec) -> bool:
    """Whether `class_tokens` works: asked of the network, since families of timm differ."""
    if getattr(backbone, "cls_token", None) is None:
        return False
    if not getattr(backbone, "num_prefix_tokens", 0):
        return False
    try:
        with refused("class tokens"):
            embed = partial(class_tokens, backbone)
            return len(output_of(backbone, embed, spec.channels, spec.image_size)) == 2
    except UserError:
        return False


def _timm_backbone(spec: EncoderSpec, pretrained: bool) -> tuple[EncoderSpec, nn.Module]:
    """The network, and the specification with its stem settled and no place outside named."""
    name, options = architecture_of(spec.model)
    options |= spec.options
    backbone = build_network(
        spec.model if pretrained else name,
        size=spec.image_size,
        channels=spec.channels,
        pretrained=pretrained,
        options=options,
    )
    small = spec.image_size <= SMALL_IMAGE and name not in MICRO_NAMES and not pretrained
    wanted = spec.stem == "small" or (spec.stem == "auto" and small)
    swapped = wanted and keep_resolution(backbone)
    stem: Stem = "small" if swapped else "own"
    return replace(spec, model=name, options=options, stem=stem), backbone
