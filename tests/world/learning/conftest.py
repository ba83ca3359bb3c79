"""A tiny data set, and a run on it of six updates."""

from pathlib import Path

import pytest

from isojepa.world.learning.config import WorldTrainConfig
from tests.world.episode_files import write_dots


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dots(tmp_path_factory.mktemp("data") / "dots.h5", episodes=6).path


@pytest.fixture
def config(data: Path, tmp_path: Path) -> WorldTrainConfig:
    return WorldTrainConfig(
        data=data, out=tmp_path / "run", cache=tmp_path / "cache", preset="lewm-micro",
        frame_size=32, embedding_dim=8, frame_skip=2, slices=32, batch_size=16, steps=6,
        log_every=2, save_every=3, device="cpu", tensorboard=False,
    )  # fmt: skip
