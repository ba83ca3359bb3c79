"""What the images settle in training is kept for what comes after."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation.evaluate import read_for
from isojepa.encoders.images_record import describe_images
from isojepa.encoders.prepare import build_encoder, prepare
from isojepa.runs.record import RunRecord
from isojepa.runs.settings import as_json
from isojepa.runs.typed import to_json


def deep_folder(folder: Path, peak: int, n: int = 12) -> Path:
    folder.mkdir()
    for i in range(n):
        pixels = np.random.default_rng(i).integers(0, peak + 1, (16, 16)).astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return folder


def test_the_depth_of_pixels_is_settled_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    data = deep_folder(tmp_path / "data", 1023)
    config = PretrainConfig(data=data, out=out, steps=2, batch_size=4)
    first = prepare(config, None, gpu=False)
    encoder = build_encoder(first, torch.arange(12), None)
    data = to_json(describe_images(first.data, first.modality))
    stored = RunRecord(config=as_json(config, first.plan.settled()), data=data)
    assert first.data.bits == encoder.spec.bits == stored.data["bits"] == 10

    with caplog.at_level("WARNING", "isojepa"):
        deeper = read_for(encoder, deep_folder(tmp_path / "deeper", 4095), None, out / "x")
    assert deeper.bits == 10
    assert "values beyond 1023, the white that was settled in training" in caplog.text

    stored.data["bits"] = 12  # whatever the run says, not the folder, is gone on with
    assert prepare(config, stored, gpu=False).data.bits == 12
    del stored.data["bits"]  # a run of an older version scaled 16 bits whatever the pixels
    assert prepare(config, stored, gpu=False).data.bits == 16
