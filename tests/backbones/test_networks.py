"""timm's names, options and weights: found, or refused in one line before any data are read."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import register_model
from torch import nn

from isojepa.backbones import hub
from isojepa.backbones.networks import build_network, check_network
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec
from isojepa.encoders.modalities.stored import export_encoder, load_encoder
from isojepa.errors import UserError
from isojepa.world.model.encoders import FrameEncoder


def spec(model: str, size: int = 32) -> EncoderSpec:
    return EncoderSpec(
        model=model, image_size=size, channels=3, mean=[0.5] * 3, std=[0.5] * 3, side=size
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing answers, and nothing was fetched before."""
    from huggingface_hub import constants

    monkeypatch.setattr(hub, "_answers", lambda _: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("resnet_micro", "no weights of it are published"),
        ("efficientnetv2_m", "no weights of it are published"),
        ("resnet18.nope", "no weights of resnet18 have the tag nope; it has a1_in1k"),
        ("resnet18", "does not answer.*local-dir:FOLDER"),
        ("hf-hub:no/such", "does not answer"),
        ("local-dir:/no/such", "config.json is missing"),
        ("resnt18", "did you mean resnet18"),
        ("hf-hub:", "no model of that name"),
    ],
)
@pytest.mark.usefixtures("no_network")
def test_weights_that_cannot_be_had_are_refused_before_the_data_are_looked_at(
    model: str, words: str, tmp_path: Path
) -> None:
    config = PretrainConfig(
        data=tmp_path / "there is none", out=tmp_path / "run", model=model, pretrained=True
    )
    with pytest.raises(UserError, match=words) as refused:
        pretrain.train_encoder(config)
    assert "\n" not in str(refused.value)
    assert not config.out.exists()


@pytest.mark.parametrize("model", ["conv_micro", "lewm_vit", "efficientnetv2_m", "resnet18"])
@pytest.mark.usefixtures("no_network")
def test_frame_encoders_likewise(model: str) -> None:
    with pytest.raises(UserError, match=f"--encoder {model}"):
        FrameEncoder(model, {}, 28, pretrained=True)


def test_cached_weights_do_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(hub, "_answers", lambda _: False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with hub.quick_to_fail():
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A network of two blocks with random weights, in a folder as timm and the hub keep it."""
    options = {"depth": 2, "img_size": 64}
    network = timm.create_model("test_vit", num_classes=7, **options)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    about = {"input_size": [3, 64, 64], "num_classes": 7, "classifier": "head"}
    about |= {"first_conv": "patch_embed.proj"}
    config = {"architecture": "test_vit", "model_args": options, "pretrained_cfg": about}
    (tmp_path / "config.json").write_text(json.dumps({**config, "num_classes": 7}))
    return tmp_path, network


def test_weights_from_a_folder_and_an_export_that_no_longer_needs_it(
    saved: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    folder, network = saved
    name = f"local-dir:{folder}"
    check_network(name, pretrained=True)
    encoder = Encoder(spec(name, 64), pretrained=True).eval()
    assert len(encoder.backbone.blocks) == 2
    x = torch.randn(2, 3, 64, 64)
    expected = network.eval().forward_features(x)[:, 0]
    torch.testing.assert_close(encoder(x)[:, 64:], expected)
    export_encoder(tmp_path / "encoder", encoder)
    (folder / "config.json").rename(folder / "gone.json")
    assert torch.equal(load_encoder(tmp_path / "encoder")(x), encoder(x))


def test_a_pretrained_resnet_keeps_its_stem_when_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(timm.create_model("resnet10t").state_dict(), folder / "model.safetensors")
    about = {"input_size": [3, 64, 64], "num_classes": 1000, "classifier": "fc"}
    config = {"architecture": "resnet10t", "pretrained_cfg": {**about, "first_conv": "conv1.0"}}
    (folder / "config.json").write_text(json.dumps(config))
    encoder = Encoder(spec(f"local-dir:{folder}"), pretrained=True).eval()
    export_encoder(tmp_path / "encoder", encoder)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(load_encoder(tmp_path / "encoder")(x), encoder(x))


@register_model
def broken_network(pretrained: bool = False, **settings: object) -> nn.Module:  # noqa: ARG001
    """One whose constructor has a defect of its own."""
    raise TypeError("unsupported operand type(s) for +: 'int' and 'str'")


@pytest.mark.parametrize("error", ["unsupported operand"])
def test_a_type_error_of_another_cause_is_told(error: str) -> None:
    with pytest.raises(UserError, match=f"broken_network cannot be built .*{error}"):
        build_network("broken_network", size=32)
