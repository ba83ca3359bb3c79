"""A small folder of pictures in two classes, and a quick configuration."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isojepa.encoders.config import PretrainConfig


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 grey pictures of stripes, horizontal and vertical, as JPEGs in two class folders."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(48):
        phase, period = rng.uniform(0, 6), rng.uniform(3, 6)
        wave = 127 + 100 * np.sin(np.arange(20) * 2 * np.pi / period + phase)
        pixels = np.tile(wave, (20, 1)) + rng.normal(0, 5, (20, 20))
        name, pixels = ("across", pixels.T) if i % 2 else ("upright", pixels)
        (root / name).mkdir(exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{i}.jpg")
    return root


@pytest.fixture
def quick(pictures: Path, tmp_path: Path) -> PretrainConfig:
    """Eight updates of a nano network."""
    return PretrainConfig(
        data=pictures,
        out=tmp_path / "run",
        model="resnet_nano",
        image_size=16,
        batch_size=16,
        steps=8,
        save_every=4,
        log_every=2,
        projector_hidden=32,
        projection_dim=8,
        slices=16,
        device="cpu",
        tensorboard=False,
    )
