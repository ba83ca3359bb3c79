"""Encoder: a timm backbone, or anyone's module, with the preprocessing it was trained for."""

import difflib
import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load
from torch import Tensor, nn

from isojepa.data.pixels import to_square
from isojepa.data.views import centre_view
from isojepa.errors import UserError
from isojepa.models.micro import MICRO_NAMES, SMALL_IMAGE, keep_resolution

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """All that is needed to rebuild an encoder, its weights apart."""

    model: str
    """A timm model name, or "custom" for a module passed from Python."""
    image_size: int
    """Side of the images it reads, in pixels."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    mean: list[float]
    """Per channel, of pixels in [0, 1]; likewise `std`."""
    std: list[float]
    side: int
    """Side of the squares to which whole images are resized before the view is cut, in pixels."""
    bits: int | None = 16
    """Integer pixels of more than 8 bits are scaled such that 2^bits - 1 is white; None where none
    were seen in training: the range of the images at hand is taken."""


class Encoder(nn.Module):
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
        self.spec = spec
        self.backbone = _timm_backbone(spec, pretrained) if backbone is None else backbone
        self._two_class_tokens = _has_class_token_and_blocks(self.backbone)
        try:
            self.embedding_dim = self._width_at(spec.image_size)
        except (RuntimeError, AssertionError, ValueError) as error:
            raise UserError(
                f"--model {spec.model} cannot read {spec.channels} x {spec.image_size} x "
                f"{spec.image_size} images ({error}); try another --image-size"
            ) from error

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """Embed normalised images, as `preprocess` makes them."""
        return self._embed(images)

    def _embed(self, images: Tensor) -> Tensor:
        if not self._two_class_tokens:
            return self.backbone(images)
        layers = self.backbone.forward_intermediates(  # type: ignore[operator]
            images,
            indices=2,
            return_prefix_tokens=True,
            norm=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return torch.cat([prefix[:, 0] for _, prefix in layers], -1)

    def patch_tokens(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n p e"]:
        """Embeddings of the patches after the last block of a transformer, row by row.

        Raises:
            UserError: if the network is not a transformer.
        """
        tokens = getattr(self.backbone, "num_prefix_tokens", None)
        if tokens is None:
            raise UserError(f"{self.spec.model} has no patch tokens: it is not a transformer")
        return self.backbone.forward_features(images)[:, tokens:]  # type: ignore[operator]

    def preprocess(self, image: Image.Image) -> Float[Tensor, "c h w"]:
        """Turn a Pillow image of any size and mode into the input of `forward`, on the CPU."""
        square = to_square(image, self.spec.side, self.spec.channels, self.spec.bits)
        pixels = torch.from_numpy(square.pixels).unsqueeze(0)
        return self.prepare(pixels, torch.tensor([square.aspect]))[0]

    def prepare(self, squares: Tensor, aspects: Tensor) -> Float[Tensor, "n c h w"]:
        """The evaluation view of squares from `isojepa.data.images`, on the squares' device."""
        spec = self.spec
        return centre_view(squares, aspects, spec.image_size, spec.mean, spec.std)

    def accepts(self, size: int) -> bool:
        """Whether the network also reads images of this side, as local views need."""
        try:
            return self._width_at(size) == self.embedding_dim
        except (RuntimeError, AssertionError, ValueError):
            return False

    @torch.no_grad()
    def _width_at(self, size: int) -> int:
        training = self.training
        self.eval()
        out = self._embed(torch.zeros(1, self.spec.channels, size, size))
        self.train(training)
        if out.ndim != 2:
            raise UserError(f"the backbone must return (n, d) embeddings, not {tuple(out.shape)}")
        return out.shape[1]


def load_encoder(path: str | Path, backbone: nn.Module | None = None) -> Encoder:
    """Load a trained encoder, in eval mode, on the CPU.

    Args:
        path: a run folder, its `encoder` folder, or a copy of the latter.
        backbone: the module that was trained, if it was passed from Python rather than named.

    Raises:
        UserError: if there is no encoder, or its files are damaged.
    """
    folder = Path(path)
    if (folder / "encoder" / "config.json").is_file():
        folder = folder / "encoder"
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise UserError(f"{path}: no trained encoder here (encoder/config.json is missing)")
    try:
        spec = EncoderSpec(**json.loads((folder / "config.json").read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'}: not an encoder's settings ({error})") from error
    if spec.model == "custom" and backbone is None:
        raise UserError(f"{path}: trained from a module of your own; pass it as backbone=...")
    encoder = Encoder(spec, backbone)
    try:
        encoder.load_state_dict(load((folder / "model.safetensors").read_bytes()))
    except Exception as error:  # safetensors raises its own, undocumented, exception type
        raise UserError(f"{folder / 'model.safetensors'}: damaged ({error})") from error
    return encoder.eval()


def encoder_config(encoder: Encoder) -> str:
    """The text of an exported encoder's config.json."""
    return json.dumps(asdict(encoder.spec), indent=2)


def check_model_name(name: str) -> None:
    """Raise `UserError`, with close names, if timm does not know the model."""
    if timm.is_model(name.split(".")[0]) or name.startswith("hf-hub:"):
        return
    close = difflib.get_close_matches(name, timm.list_models(), n=4, cutoff=0.5)
    hint = f"; did you mean {', '.join(close)}?" if close else "; timm.list_models() lists all"
    raise UserError(f"--model {name}: timm has no model of that name{hint}")


def _timm_backbone(spec: EncoderSpec, pretrained: bool) -> nn.Module:
    check_model_name(spec.model)
    common: dict[str, Any] = {"pretrained": pretrained, "num_classes": 0, "in_chans": spec.channels}
    # Vision transformers can resample their positions; others are tied to a size, or know none.
    sized: dict[str, Any] = {"img_size": spec.image_size}
    for extra in ({**sized, "dynamic_img_size": True}, sized, {}):
        try:
            backbone = timm.create_model(spec.model, **common, **extra)
        except TypeError:
            continue
        small = spec.image_size <= SMALL_IMAGE and spec.model not in MICRO_NAMES
        if small and not pretrained and keep_resolution(backbone):
            log.info("%s: stem of stride 1 for small images", spec.model)
        return backbone
    raise UserError(f"--model {spec.model}: timm cannot build it for {spec.channels} channels")


def _has_class_token_and_blocks(backbone: nn.Module) -> bool:
    return (
        getattr(backbone, "cls_token", None) is not None
        and hasattr(backbone, "forward_intermediates")
        and getattr(backbone, "num_prefix_tokens", 0) > 0
    )
