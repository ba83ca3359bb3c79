"""Class tokens without the rest of the last block, against timm's own forward passes."""

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isojepa.backbones import class_tokens
from isojepa.backbones.class_tokens import (
    PlainAttention,
    attend,
    attend_from_first,
    has_plain_blocks,
    last_class_tokens,
)
from isojepa.world.model.encoders import FrameEncoder


def of_timm(vit: nn.Module, images: Tensor) -> Tensor:
    layers = vit.forward_intermediates(  # type: ignore[operator]
        images, indices=2, return_prefix_tokens=True, norm=True, intermediates_only=True
    )
    return torch.cat([prefix[:, 0] for _, prefix in layers], -1)


@pytest.mark.parametrize("at_a_time", [1, 2, 5])
@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("vit_tiny_patch16_224", {"dynamic_img_size": True}, 32),  # positions resampled
        ("vit_tiny_patch16_224", {"img_size": 32}, 32),
        ("deit3_small_patch16_224", {"img_size": 32}, 32),  # layer scales
        ("vit_small_patch14_reg4_dinov2", {"img_size": 28}, 28),  # registers
    ],
)
def test_the_last_two_class_tokens_equal_those_of_timm(
    name: str, options: dict, side: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    vit = timm.create_model(name, num_classes=0, depth=3, **options)
    for p in vit.parameters():  # at the start class tokens and biases are too alike to compare
        nn.init.normal_(p, std=0.1)
    assert has_plain_blocks(vit)
    tokens = vit.num_prefix_tokens + 4
    monkeypatch.setattr(class_tokens, "IN_CACHE", at_a_time * tokens * vit.embed_dim)
    images = torch.randn(5, 3, side, side)
    expected, found = of_timm(vit, images), last_class_tokens(vit, images)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    upstream = torch.randn_like(expected)
    exact, ours = (
        torch.autograd.grad(x, list(vit.parameters()), upstream) for x in (expected, found)
    )
    for a, b in zip(ours, exact):
        assert (a - b).norm() < 1e-4 * b.norm() + 1e-4


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "resnet18", "swin_tiny_patch4_window7_224"]
)
def test_only_what_is_computed_alike_is_taken(name: str) -> None:
    network = timm.create_model(name, num_classes=0, drop_path_rate=0.1)
    assert not has_plain_blocks(network)


def test_gradients_of_attention_by_products() -> None:
    qkv = torch.randn(3, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(PlainAttention.apply(qkv), F.scaled_dot_product_attention(*qkv))
    assert torch.autograd.gradcheck(PlainAttention.apply, qkv)


@pytest.mark.parametrize("of", [attend, attend_from_first])
def test_attention_in_bfloat16_agrees_with_float32(of: Callable[..., Tensor]) -> None:
    attention = FrameEncoder("lewm_vit", {"depth": 1, "patch_size": 8}, 32).backbone.blocks[0].attn
    nn.init.normal_(attention.qkv.weight, std=0.12)  # so that the weights are far from equal
    x = torch.randn(3, 17, 192, requires_grad=True)
    expected = attention(x) if of is attend else attention(x)[:, 0]
    with torch.autocast("cpu", torch.bfloat16):
        mixed = of(attention, x)
    assert mixed.dtype == torch.bfloat16
    upstream = torch.randn_like(expected)
    (exact,) = torch.autograd.grad(expected, x, upstream)
    (rounded,) = torch.autograd.grad(mixed, x, upstream.bfloat16())
    for a, b in ((mixed, expected), (rounded, exact)):
        assert (a - b).norm() < 0.03 * b.norm()
