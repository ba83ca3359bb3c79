"""Encoders of series and of rows as graphs: read back, they say what the encoder says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa.encoders.export.arrays import ARRAY_FILES, ArraysToEmbeddings, example, write_arrays
from isojepa.encoders.export.export import ExportConfig, export
from isojepa.encoders.modalities.modality import Network
from isojepa.encoders.modalities.registry import modality
from isojepa.encoders.modalities.series import network as series
from isojepa.encoders.modalities.stored import export_encoder
from isojepa.encoders.modalities.tables import network as tables
from isojepa.encoders.modalities.tables.rows import Column
from isojepa.errors import UserError

WORDS, NUMBER = Column("word", ("a", "b", "c")), Column("number", None)
SPECS = {
    "series": series.SeriesSpec(
        model="conv_nano", length=24, channels=["x", "y"], mean=[1.0, -2.0], std=[2.0, 0.5],
        missing=True,
    ),
    "patches": series.SeriesSpec(
        model="patch_small", length=24, channels=["x"], mean=[0.0], std=[1.0], missing=False
    ),
    "rows": tables.TableSpec(model="mlp_small", table=[NUMBER, WORDS], mean=[3.0], std=[2.0]),
    "numbers": tables.TableSpec(model="mlp_small", table=[NUMBER], mean=[3.0], std=[2.0]),
    "words": tables.TableSpec(model="mlp_small", table=[WORDS], mean=[], std=[]),
}  # fmt: skip


def made(name: str) -> Network:
    torch.manual_seed(0)
    spec = SPECS[name]
    return modality(spec.modality).network.network(spec, None, pretrained=False).eval()


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("kind", ARRAY_FILES)
def test_what_is_written_agrees_and_takes_any_number(kind: str, name: str, tmp_path: Path) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxscript")
    encoder = made(name)
    assert write_arrays(kind, encoder, tmp_path) < 1e-4
    assert (tmp_path / ARRAY_FILES[kind]).is_file()
    words = (tmp_path / "README.md").read_text()
    assert all(f"| {field} |" in words for field in example(encoder, 1, 9, seed=0))


def test_samples_alone_and_together_are_the_same() -> None:
    encoder = made("series")
    graph, samples = (
        ArraysToEmbeddings(encoder, ("values", "lengths")),
        example(encoder, 5, 30, seed=2),
    )
    with torch.no_grad():
        whole = graph(*samples.values()).numpy()
        single = graph(*(x[3:4] for x in samples.values())).numpy()
    np.testing.assert_allclose(single, whole[3:4], rtol=1e-4, atol=1e-5)


def test_the_command_writes_replaces_and_refuses(tmp_path: Path) -> None:
    export_encoder(tmp_path / "encoder", made("rows"))
    config = {"run": tmp_path / "encoder", "out": tmp_path / "out"}
    assert (export(ExportConfig(**config, format="torch-export")) / "encoder.pt2").is_file()
    with pytest.raises(UserError, match="--overwrite"):
        export(ExportConfig(**config, format="safetensors"))
    export(ExportConfig(**config, format="safetensors", overwrite=True))
    assert (tmp_path / "out" / "model.safetensors").is_file()
    with pytest.raises(UserError, match="--format timm: for images; of rows: onnx"):
        export(ExportConfig(run=tmp_path / "encoder", out=tmp_path / "timm"))
    assert not (tmp_path / "timm").exists()
