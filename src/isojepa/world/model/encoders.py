"""Frame encoders: the published vision transformer, a small strided network, or any of timm's."""

import math
from functools import partial
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from timm.layers import PatchEmbed
from timm.models import register_model
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from isojepa.backbones.networks import build_network, output_of, refused
from isojepa.errors import UserError

Features = Literal["pooled", "grid"]
GRID = 4  # rows and columns to which frozen feature maps are averaged
IN_CACHE = 1 << 20  # numbers in the tokens that a CPU takes through a transformer at a time


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
        self, name: str, options: dict[str, Any], frame_size: int, *, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.backbone = _build(name, options, frame_size, pretrained)
        self.features = _width(self, name, frame_size)

    def forward(self, frames: Float[Tensor, "n c y x"]) -> Float[Tensor, "n e"]:
        if _plain_transformer(self.backbone):
            return class_token(self.backbone, frames)  # type: ignore[arg-type]
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
        options: dict[str, Any],
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
        full = _width(self._map, name, frame_size)
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


def standardise(
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


def class_token(vit: VisionTransformer, frames: Float[Tensor, "n c y x"]) -> Float[Tensor, "n e"]:
    """The class token after the last block, without computing that block's other tokens.

    Equal to `vit(frames)`, at about 8 % less work for 12 blocks. On a CPU a few frames at a time,
    so that what one layer hands the next is still in its caches.
    """
    parts = 1
    if frames.device.type == "cpu":
        tokens, width = vit.pos_embed.shape[1:]  # type: ignore[union-attr]
        parts = math.ceil(len(frames) * tokens * width / IN_CACHE)
    return torch.cat([_class_token(vit, part) for part in frames.chunk(max(1, parts))])


def _class_token(vit: VisionTransformer, frames: Tensor) -> Tensor:
    patches = embed_patches(cast("PatchEmbed", vit.patch_embed), frames)
    x = vit.norm_pre(vit.patch_drop(vit._pos_embed(patches)))
    *blocks, last = cast("list[Block]", list(vit.blocks))
    for block in blocks:
        x = x + attend(block.attn, block.norm1(x))
        x = x + block.mlp(block.norm2(x))
    token = x[:, 0] + attend_from_first(last.attn, last.norm1(x))
    token = token + last.mlp(last.norm2(token))
    return vit.norm(token)


def embed_patches(embed: PatchEmbed, frames: Float[Tensor, "n c y x"]) -> Float[Tensor, "n t e"]:
    """timm's patch embedding as one matrix product.

    On CPUs 1.3 to 1.5 times as fast as the convolution in bfloat16, 0.9 in float32 (torch 2.15).
    """
    (rows, columns), (height, width) = cast("Any", embed.grid_size), embed.patch_size
    pixels = frames.permute(0, 2, 3, 1)[:, : rows * height, : columns * width]
    pixels = pixels.unflatten(2, (columns, width)).unflatten(1, (rows, height)).transpose(2, 3)
    weight = embed.proj.weight.permute(0, 2, 3, 1).flatten(1)
    return F.linear(pixels.flatten(3).flatten(1, 2), weight, embed.proj.bias)


def attend(attention: Any, x: Float[Tensor, "n t e"]) -> Float[Tensor, "n t e"]:
    """timm's self-attention.

    In bfloat16 on CPUs torch's fused attention takes two to five times as long as plain products,
    most of it backwards (torch 2.15).
    """
    qkv = attention.qkv(x).unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    if qkv.device.type == "cpu" and qkv.dtype == torch.bfloat16:
        heads = cast("Tensor", PlainAttention.apply(qkv.flatten(1, 2))).unflatten(0, (len(x), -1))
    else:
        heads = F.scaled_dot_product_attention(*qkv)
    return attention.proj(heads.transpose(1, 2).flatten(2))


class PlainAttention(torch.autograd.Function):
    """Scaled dot-product attention by batched products, whose gradients share one tensor."""

    @staticmethod
    def forward(ctx: Any, qkv: Float[Tensor, "3 n t e"]) -> Float[Tensor, "n t e"]:
        qkv = qkv.contiguous()
        q, k, v = qkv
        weights = _scaled_product(q, k.transpose(1, 2), q.shape[-1] ** -0.5).softmax(-1)
        ctx.save_for_backward(qkv, weights)
        return weights @ v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "n t e"]) -> Float[Tensor, "3 n t e"]:
        qkv, weights = ctx.saved_tensors
        q, k, v = qkv
        grad, grads = grad.contiguous(), torch.empty_like(qkv)
        of_weights = grad @ v.transpose(1, 2)
        of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
        scale = q.shape[-1] ** -0.5
        _scaled_product(of_scores, k, scale, out=grads[0])
        _scaled_product(of_scores.transpose(1, 2), q, scale, out=grads[1])
        torch.bmm(weights.transpose(1, 2), grad, out=grads[2])
        return grads


def _scaled_product(a: Tensor, b: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """`a b` by `scale`, in one operation."""
    return torch.baddbmm(a.new_zeros(1, 1, 1), a, b, beta=0, alpha=scale, out=out)


def attend_from_first(attention: Any, x: Float[Tensor, "n t e"]) -> Float[Tensor, "n e"]:
    """What `attend` gives the first token, with a vector per head for the keys and for the values.

    The first token's scores q (K x + k) are (q K) x and a number that the softmax drops, and the
    values that it mixes, V x + v, are V (mixed x) + v; so no token needs a key or a value.
    """
    heads = (attention.num_heads, -1)
    query, key, value = (w.unflatten(0, heads) for w in attention.qkv.weight.chunk(3))
    bias_q, _, bias_v = (b.unflatten(0, heads) for b in attention.qkv.bias.chunk(3))
    q = torch.einsum("ne,hde->nhd", x[:, 0], query) + bias_q
    asked = torch.einsum("nhd,hde->nhe", q * q.shape[-1] ** -0.5, key)
    weights = (asked @ x.transpose(1, 2)).softmax(-1)
    mixed = torch.einsum("nhe,hde->nhd", weights @ x, value) + bias_v
    return attention.proj(mixed.flatten(1))


def _plain_transformer(backbone: nn.Module) -> bool:
    """Whether `class_token` knows every part of it."""
    if not isinstance(backbone, VisionTransformer) or backbone.global_pool != "token":
        return False
    embed = backbone.patch_embed
    if type(embed) is not PatchEmbed or embed.dynamic_img_pad or not embed.flatten:
        return False
    unused = [backbone.fc_norm, backbone.head, embed.norm]
    for block in backbone.blocks:
        if type(block) is not Block or type(block.attn) is not Attention:
            return False
        attention = block.attn
        d = attention.qkv.in_features
        if tuple(attention.qkv.weight.shape) != (3 * d, d) or attention.qkv.bias is None:
            return False
        if attention.attn_drop.p or attention.proj_drop.p or getattr(attention, "gate", None):
            return False
        unused += [attention.q_norm, attention.k_norm, attention.norm, block.ls1, block.ls2]
        unused += [block.drop_path1, block.drop_path2]
    return backbone.num_prefix_tokens == 1 and all(isinstance(x, nn.Identity) for x in unused)


def _build(name: str, options: dict[str, Any], size: int, pretrained: bool) -> nn.Module:
    return build_network(
        name,
        size=size,
        pretrained=pretrained,
        resizable=False,
        options=options,
        setting="--encoder",
    )


def _width(encoder: Any, name: str, size: int) -> int:
    module = encoder if isinstance(encoder, nn.Module) else encoder.__self__
    with refused(f"--encoder {name} cannot read frames of {size} px", "; try another --frame-size"):
        return output_of(module, encoder, 3, size)[1]


def _known(kwargs: dict[str, Any], sizes: dict[str, int]) -> dict[str, Any]:
    names = {*sizes, "img_size", "num_classes", "in_chans"}
    return {name: value for name, value in kwargs.items() if name in names}
