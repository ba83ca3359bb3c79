"""Every format by a fresh process, from JPEGs; what a format cannot express; the hub; the card."""

import json
import re
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from PIL import Image

from isojepa import cli
from isojepa.backbones import hub
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.export import export
from isojepa.encoders.export.export import ExportConfig
from isojepa.encoders.export.formats import FOREIGN
from isojepa.encoders.export.pictures import jpegs
from isojepa.encoders.export.round_trip import LIMIT, difference, embed_here
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec
from isojepa.encoders.modalities.stored import export_encoder, load_encoder
from isojepa.encoders.pretrain import train_encoder as pretrain
from isojepa.errors import UserError

FORMATS = ("timm", "safetensors", "onnx", "torch-export")


def made(folder: Path, model: str, size: int, channels: int = 3) -> Path:
    """The folder of an untrained encoder."""
    torch.manual_seed(0)
    grey = [0.4, 0.5, 0.6][:channels]
    spec = EncoderSpec(
        model=model, image_size=size, channels=channels, mean=grey, std=grey, side=size + 8
    )
    export_encoder(folder, Encoder(spec))
    return folder


def agreement(folder: Path) -> float:
    words = re.search(r"largest difference from the trained encoder was (\S+)", card(folder))
    assert words
    return float(words[1])


def card(folder: Path) -> str:
    return " ".join((folder / "README.md").read_text().split())


def test_onnx_of_a_run(quick: PretrainConfig, capsys: pytest.CaptureFixture[str]) -> None:
    run = pretrain(quick)
    assert cli.main(["export", str(run), "--format", "onnx", "--license", "mit"]) == 0
    assert "onnxruntime" in capsys.readouterr().err
    folder = run / "export-onnx"
    assert agreement(folder) <= LIMIT
    words = (folder / "README.md").read_text()
    assert "license: mit" in words
    assert "across, upright" in words
    assert re.search(r"\| projections \| 48 \|", words)
    assert "`lambd` | 0.05" in words
    assert cli.main(["export", str(run), "--format", "onnx"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_the_onnx_graph_takes_pixels_of_any_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = made(tmp_path / "encoder", "resnet_nano", 16, 1)
    out = export.export(ExportConfig(run=folder, format="onnx", out=tmp_path / "out"))
    session = onnxruntime.InferenceSession(out / "encoder.onnx")
    encoder = load_encoder(folder)
    for n, height, width in [(1, 24, 24), (3, 9, 40), (2, 300, 31)]:
        shape = (n, height, width, 1)
        pixels = np.random.default_rng(n).integers(0, 256, shape, np.uint8)
        (got,) = session.run(None, {"pixels": pixels})
        images = [encoder.preprocess(Image.fromarray(x[..., 0])) for x in pixels]
        with torch.no_grad():
            assert difference(got, encoder(torch.stack(images)).numpy()) < LIMIT


def test_timm_and_transformers_load_the_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    encoder = load_encoder(made(tmp_path / "encoder", "test_vit", 32))
    out = export.export(ExportConfig(run=tmp_path / "encoder", out=tmp_path / "out"))
    assert agreement(out) <= LIMIT
    network = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    settings = timm.data.resolve_model_data_config(network)
    assert list(settings["input_size"]) == [3, 32, 32]
    assert list(settings["mean"]) == [0.4, 0.5, 0.6]
    assert (settings["crop_pct"], settings["crop_mode"]) == (1.0, "center")
    images = torch.randn(2, 3, 32, 32)
    wrapped = transformers.TimmWrapperModel.from_pretrained(out).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(out)
    picture = Image.new("RGB", (50, 40), "red")
    assert processor(picture, return_tensors="pt")["pixel_values"].shape == (1, 3, 32, 32)
    with torch.no_grad():
        last = encoder(images)[:, encoder.embedding_dim // 2 :]
        torch.testing.assert_close(network(images), last)
        torch.testing.assert_close(wrapped(images).pooler_output, last)
    assert "No setting of timm's gives that" in card(out)


@pytest.mark.parametrize(("model", "word"), [("resnet_nano", "isojepa's"), ("resnet18", "stem")])
def test_what_timm_cannot_build_is_refused_by_name(tmp_path: Path, model: str, word: str) -> None:
    folder = made(tmp_path / "encoder", model, 16)
    with pytest.raises(UserError, match=f"{model}.*{word}.*torch-export"):
        export.export(ExportConfig(run=folder))
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_difference_is_refused_and_nothing_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = made(tmp_path / "encoder", "resnet_nano", 16)
    right = jpegs(None, 3)

    def shifted(*_: object) -> np.ndarray:
        return embed_here(load_encoder(folder), right) * 1.001

    monkeypatch.setattr("isojepa.encoders.export.round_trip.embed_afresh", shifted)
    out = tmp_path / "out"
    assert cli.main(["export", str(folder), "--format", "safetensors", "--out", str(out)]) == 2
    assert "differs by" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["encoder"]


def test_the_fresh_process_has_nothing_it_should_not_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path / "encoder", "resnet_nano", 16)
    monkeypatch.setitem(FOREIGN, "safetensors", ("timm",))
    with pytest.raises(UserError, match=r"does not run with timm alone.*timm"):
        export.export(ExportConfig(run=folder, format="safetensors"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    folder = made(tmp_path / "encoder", "resnet_nano", 16)
    with pytest.raises(UserError, match="something else"):
        export.export(ExportConfig(run=folder, out=folder, overwrite=True))


def test_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []

    class Hub:
        def __init__(self, **_: object) -> None:
            pass

        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> None:
            calls.append((name, private, exist_ok))

        def upload_folder(self, *, folder_path: Path, repo_id: str, **_: object) -> str:
            calls.append((repo_id, sorted(p.name for p in folder_path.iterdir())))
            return "https://hub/ada/nano"

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(hub, "_answers", lambda _: True)
    folder = made(tmp_path / "encoder", "resnet_nano", 16)
    out, kind = tmp_path / "out", "safetensors"
    export.export(ExportConfig(run=folder, format=kind, out=out, push="ada/nano"))
    assert calls[0] == ("ada/nano", True, True)
    assert {"README.md", "model.safetensors", "embed.py"} <= set(calls[1][1])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("401")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    monkeypatch.setattr(export, "round_trip", lambda *_: 0.0)
    with pytest.raises(UserError, match=r"--push ada/nano: the hub cannot be had.*hf auth login"):
        export.export(
            ExportConfig(run=folder, format=kind, out=out, push="ada/nano", overwrite=True)
        )
    assert (out / "embed.py").is_file()


@pytest.mark.parametrize("said", [{"push": "nano"}, {"push": "a/b/c"}, {"public": True}])
def test_names_of_repositories(said: dict[str, object]) -> None:
    with pytest.raises(UserError, match="--push"):
        ExportConfig(run=Path("x"), **said)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("model", "size"),
    [("vit_tiny_patch16_224", 96), ("resnet18", 96), ("convnext_atto", 96), ("resnet18", 32)],
)
def test_every_family_in_every_format(tmp_path: Path, model: str, size: int, kind: str) -> None:
    folder = made(tmp_path / "encoder", model, size)
    config = ExportConfig(run=folder, format=kind, out=tmp_path / "out")  # type: ignore[arg-type]
    if (kind, size) == ("timm", 32):
        with pytest.raises(UserError, match="stem"):
            export.export(config)
        return
    out = export.export(config)
    assert agreement(out) <= LIMIT
    assert json.loads((out / "config.json").read_text())
