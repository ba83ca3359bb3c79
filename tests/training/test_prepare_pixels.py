"""What the images settle in training is kept for what comes after."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.evaluation.evaluate import read_for
from isojepa.training.config import PretrainConfig
from isojepa.training.prepare import announce, build_encoder, describe_data, prepare
from isojepa.training.settings import as_json


def deep_folder(folder: Path, peak: int, n: int = 12) -> None:
    folder.mkdir(exist_ok=True)
    for i in range(n):
        pixels = np.random.default_rng(i).integers(0, peak + 1, (16, 16)).astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")


def test_the_depth_of_pixels_is_settled_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deep_folder(tmp_path / "data", 1023)
    config = PretrainConfig(data=tmp_path / "data", out=tmp_path / "run", steps=2, batch_size=4)
    first = prepare(config, None, gpu=False)
    encoder = build_encoder(first, torch.arange(12), None)
    stored = {"config": as_json(config, first.plan), "data": describe_data(first.images)}
    assert first.images.bits == encoder.spec.bits == stored["data"]["bits"] == 10

    deep_folder(tmp_path / "data", 4095)  # the same names, other pixels
    resumed = prepare(config, stored, gpu=False)
    assert resumed.images.bits == 10
    assert read_for(encoder, tmp_path / "data", None).bits == 10
    with caplog.at_level("WARNING", "isojepa"):
        announce(resumed)
    assert "values beyond 1023, the white that was settled in training" in caplog.text
    del stored["data"]["bits"]  # a run of an older version: 16 bits whatever the pixels
    assert prepare(config, stored, gpu=False).images.bits == 16
