"""A small data set on disk, and a place for what is decoded of it."""

from pathlib import Path

import pytest

from tests.world.episode_files import Dots, write_dots


@pytest.fixture
def made(tmp_path: Path) -> Dots:
    return write_dots(tmp_path / "dots.h5", episodes=5, steps=12, size=16)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
