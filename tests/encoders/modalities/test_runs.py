"""Runs on what are no images: from the command line to the report, and gone on with bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

from isojepa import cli, load_encoder
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.errors import UserError

QUICK = {
    "batch_size": 16, "steps": 8, "save_every": 4, "log_every": 2, "projector_hidden": 32,
    "projection_dim": 8, "slices": 16, "device": "cpu", "tensorboard": False,
}  # fmt: skip


def series(folder: Path) -> Path:
    """60 series of two channels in two classes, of differing lengths, with gaps."""
    rng, lines = np.random.default_rng(0), ["id,time,x,y,label"]
    for i in range(60):
        t = np.arange(rng.integers(20, 40))
        wave = np.sin(2 * np.pi * t / (5 if i % 2 else 9) + rng.uniform(0, 6))
        for step, value in zip(t, wave + rng.normal(0, 0.1, len(t))):
            gap = "" if rng.random() < 0.05 else f"{value:.4f}"
            lines.append(f"s{i},{step},{gap},{rng.normal():.4f},{'fast' if i % 2 else 'slow'}")
    (folder / "data.csv").write_text("\n".join(lines))
    return folder / "data.csv"


def table(folder: Path) -> Path:
    """60 rows in two classes."""
    rng, lines = np.random.default_rng(0), ["a,b,c,kind,label"]
    for i in range(60):
        a, b, c = rng.normal(i % 2, 1, 3)
        lines.append(f"{a},{'' if i % 9 == 4 else b},{c},{'pq'[i % 3 > 0]},{'xy'[i % 2]}")
    (folder / "data.csv").write_text("\n".join(lines))
    return folder / "data.csv"


SOURCES = {"series": series, "tables": table}


@pytest.fixture(scope="module", params=SOURCES)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def data(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SOURCES[kind](tmp_path_factory.mktemp(kind))


def test_a_run_that_is_gone_on_with_equals_one_that_was_not_stopped(
    data: Path, tmp_path: Path
) -> None:
    config = PretrainConfig(data=data, out=tmp_path / "whole", **QUICK)
    pretrain.train_encoder(config)
    stopped = replace(config, out=tmp_path / "stopped")
    pretrain.train_encoder(stopped)
    for name in ("step-8", "step-00000008"):
        for path in (tmp_path / "stopped" / "checkpoints").glob(f"*{name}*"):
            for file in sorted(path.rglob("*"), reverse=True):
                file.unlink() if file.is_file() else file.rmdir()
            path.rmdir()
    (tmp_path / "stopped" / "encoder" / "model.safetensors").unlink()
    pretrain.train_encoder(replace(stopped, resume=True))
    whole, again = (
        load_file(tmp_path / x / "encoder" / "model.safetensors") for x in ("whole", "stopped")
    )
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


def test_train_score_embed_and_report_by_command(
    data: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, quick = tmp_path / "run", {k: v for k, v in QUICK.items() if k != "tensorboard"}
    flags = [x for k, v in quick.items() for x in (f"--{k.replace('_', '-')}", str(v))]
    words = ["pretrain", "--data", str(data), "--out", str(run), "--no-tensorboard", *flags]
    assert cli.main(words) == 0
    said = capsys.readouterr().err
    assert f"60 {'series' if kind == 'series' else 'rows'} in 2 classes" in " ".join(said.split())
    scores = json.loads((run / "scores.json").read_text())
    assert list(scores) == ["encoder", "untrained", "pca", "raw"]
    assert all(0 <= row["linear"] <= 1 for row in scores.values())
    page = (run / "report.html").read_text()
    assert "Raw values" in page
    assert "pixels" not in page.split("</style>")[-1].split("<script")[0]
    record = json.loads((run / "config.json").read_text())
    assert record["config"]["modality"] == kind
    assert (
        cli.main(["embed", str(run), "--data", str(data), "--out", str(tmp_path / "e.parquet")])
        == 0
    )
    made = pq.read_table(tmp_path / "e.parquet")
    encoder = load_encoder(run)
    assert made.num_rows == 60
    assert len(made["embedding"][0]) == encoder.embedding_dim
    assert set(made["split"].to_pylist()) == {"train", "held out"}
    assert cli.main(["evaluate", str(run)]) == 0
    assert json.loads((run / "scores.json").read_text()) == scores
    capsys.readouterr()
    assert cli.main(["export", str(run)]) == 2
    assert "onnx, torch-export, safetensors" in " ".join(capsys.readouterr().err.split())


def test_wrong_words_are_refused_in_one_line(data: Path, kind: str, tmp_path: Path) -> None:
    config = PretrainConfig(data=data, out=tmp_path / "run", **QUICK)
    for wrong, words in (
        ({"model": "resnet18"}, f"--model resnet18: for {kind} there are"),
        ({"recipe": "glyph"}, f"--recipe glyph: for {kind} there are"),
        ({"pretrained": True}, "--pretrained"),
    ):
        with pytest.raises(UserError, match=words):
            pretrain.train_encoder(replace(config, overwrite=True, **wrong))


def test_a_module_of_ones_own_is_trained(data: Path, kind: str, tmp_path: Path) -> None:
    backbone = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.LazyLinear(12))
    length = {"length": 16} if kind == "series" else {}
    config = PretrainConfig(data=data, out=tmp_path / "run", **QUICK, **length)
    pretrain.train_encoder(config, backbone)
    with pytest.raises(UserError, match="pass it as backbone"):
        load_encoder(tmp_path / "run")
    assert load_encoder(tmp_path / "run", backbone).embedding_dim == 12
