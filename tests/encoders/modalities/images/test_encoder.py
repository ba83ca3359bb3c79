"""Encoders of several families, their export and their errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from isojepa import load_encoder
from isojepa.encoders.evaluation.features import embed_samples
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec
from isojepa.encoders.modalities.images.images import read_images
from isojepa.encoders.modalities.modality import Views
from isojepa.encoders.modalities.stored import export_encoder
from isojepa.encoders.sources.folder import list_folder
from isojepa.errors import UserError


def spec(model: str, size: int = 32, channels: int = 3) -> EncoderSpec:
    return EncoderSpec(
        model=model,
        image_size=size,
        channels=channels,
        mean=[0.4] * channels,
        std=[0.2] * channels,
        side=size,
    )


@pytest.mark.parametrize(
    ("model", "size", "channels", "dim"),
    [
        ("resnet_nano", 16, 1, 128),
        ("resnet_micro", 40, 3, 256),
        ("resnet18", 32, 3, 512),
        ("vit_tiny_patch16_224", 48, 1, 2 * 192),
        ("convnext_atto", 64, 2, 320),
        ("test_efficientnet", 64, 3, None),
    ],
)
def test_any_timm_family(model: str, size: int, channels: int, dim: int | None) -> None:
    encoder = Encoder(spec(model, size, channels)).eval()
    out = encoder(torch.randn(2, channels, size, size))
    assert out.shape == (2, encoder.embedding_dim)
    assert dim is None or encoder.embedding_dim == dim


def test_patch_tokens_of_a_transformer_only() -> None:
    vit = Encoder(spec("vit_tiny_patch16_224", 48)).eval()
    assert vit.patch_tokens(torch.randn(2, 3, 48, 48)).shape == (2, 9, 192)
    assert vit.accepts(32)
    with pytest.raises(UserError, match="no patch tokens"):
        Encoder(spec("resnet_nano")).patch_tokens(torch.randn(1, 3, 32, 32))


def test_class_tokens_of_the_last_two_blocks() -> None:
    encoder = Encoder(spec("vit_tiny_patch16_224", 32)).eval()
    x = torch.randn(2, 3, 32, 32)
    last = encoder.backbone.forward_features(x)[:, 0]
    torch.testing.assert_close(encoder(x)[:, 192:], last)


def test_small_images_keep_their_resolution() -> None:
    small, large = (Encoder(spec("resnet18", size)).backbone for size in (32, 96))
    assert small.conv1.stride == (1, 1)
    assert large.conv1.stride == (2, 2)


@pytest.mark.parametrize(
    ("model", "words"), [("resnt18", "did you mean resnet18"), ("zzzz", r"timm.list_models\(\)")]
)
def test_unknown_name(model: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        Encoder(spec(model))


def test_size_that_the_model_cannot_read() -> None:
    with pytest.raises(UserError, match="image-size"):
        Encoder(spec("vit_tiny_patch16_224", 8))


@pytest.mark.parametrize("model", ["resnet_nano", "vit_tiny_patch16_224"])
def test_export_and_load_give_the_same_embeddings(tmp_path: Path, model: str) -> None:
    encoder = Encoder(spec(model, 16 if model == "resnet_nano" else 32)).eval()
    export_encoder(tmp_path / "run" / "encoder", encoder)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
    expected = encoder(encoder.preprocess(image)[None])
    for path in (tmp_path / "run", tmp_path / "run" / "encoder", str(tmp_path / "run")):
        loaded = load_encoder(path)
        assert not loaded.training
        assert torch.equal(loaded(loaded.preprocess(image)[None]), expected)


def test_preprocess_equals_the_path_of_evaluation(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
    image.save(tmp_path / "a.png")
    encoder = Encoder(spec("resnet_nano", 16)).eval()
    images = read_images(list_folder(tmp_path), side=16, channels=3)
    torch.testing.assert_close(
        embed_samples(encoder, images, [0]), encoder(encoder.preprocess(image)[None]).detach()
    )


def test_a_module_of_ones_own(tmp_path: Path) -> None:
    def network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(7))

    encoder = Encoder(spec("custom", 8), network())
    assert encoder.embedding_dim == 7
    export_encoder(tmp_path, encoder)
    with pytest.raises(UserError, match="backbone="):
        load_encoder(tmp_path)
    loaded = load_encoder(tmp_path, nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 7)))
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(loaded(x), encoder.eval()(x))
    with pytest.raises(UserError, match=r"\(n, d\)"):
        Encoder(spec("custom", 8), nn.Identity())


def test_damaged_exports(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trained encoder"):
        load_encoder(tmp_path)
    export_encoder(tmp_path, Encoder(spec("resnet_nano", 16)))
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[:1000])
    with pytest.raises(UserError, match="damaged"):
        load_encoder(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model": "resnet_nano"}))
    with pytest.raises(UserError, match="image_size is missing"):
        load_encoder(tmp_path)


def test_jepa_projects_views_of_two_sizes_in_order() -> None:
    jepa = JEPA(Encoder(spec("resnet_nano", 16)), hidden=32, out=5).eval()
    large, small = torch.randn(2, 3, 3, 16, 16), torch.randn(4, 3, 3, 8, 8)
    embeddings, projections = jepa(Views(large, small))
    assert embeddings.shape == (6, 3, 128)
    assert projections.shape == (6, 3, 5)
    torch.testing.assert_close(embeddings[1], jepa.encoder(large[1]))
    torch.testing.assert_close(embeddings[4], jepa.encoder(small[2]))


@pytest.mark.parametrize("model", ["test_vit", "resnet_nano"])
def test_encoder_and_preparation_can_be_exported(model: str) -> None:
    """With any number of images, and nothing decided by their values."""
    encoder = Encoder(spec(model, 32)).eval()
    squares = torch.randint(0, 256, (5, 3, 40, 40), dtype=torch.uint8)
    aspects = torch.tensor([0.7, 1.0, 1.6, 2.0, 0.4])

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, squares: torch.Tensor, aspects: torch.Tensor) -> torch.Tensor:
            return self.encoder(self.encoder.prepare(squares, aspects))

    n = torch.export.Dim("n", min=1, max=64)
    program = torch.export.export(
        Whole(), (squares, aspects), dynamic_shapes=({0: n}, {0: n})
    ).module()
    expected = encoder(encoder.prepare(squares, aspects))
    torch.testing.assert_close(program(squares, aspects), expected)
    torch.testing.assert_close(program(squares[:2], aspects[:2]), expected[:2])


def test_plain_timm_rebuilds_what_config_json_describes(tmp_path: Path) -> None:
    encoder = Encoder(spec("test_vit", 32)).eval()
    export_encoder(tmp_path, encoder)
    said = json.loads((tmp_path / "config.json").read_text())
    assert (said["embedding"], said["stem"]) == ("class_tokens", "own")
    weights = load_file(tmp_path / "model.safetensors")
    plain = timm.create_model(said["model"], num_classes=0, img_size=32).eval()
    plain.load_state_dict({k.removeprefix("backbone."): v for k, v in weights.items()})
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder(x)[:, 64:], plain.forward_features(x)[:, 0])


def test_settings_of_before_and_of_later_are_read(tmp_path: Path) -> None:
    """An export without today's settings, and one with tomorrow's."""
    encoder = Encoder(spec("resnet10t", 32)).eval()
    export_encoder(tmp_path, encoder)
    x = torch.randn(2, 3, 32, 32)
    said = json.loads((tmp_path / "config.json").read_text())
    before = {k: v for k, v in said.items() if k not in ("stem", "embedding", "options", "bits")}
    for settings in (before, {**said, "later": 1}):
        (tmp_path / "config.json").write_text(json.dumps(settings))
        assert torch.equal(load_encoder(tmp_path)(x), encoder(x))
