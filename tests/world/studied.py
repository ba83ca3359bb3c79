"""A small world model, trained once per test run on dots, for the tests that look into it."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import torch

from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import train_world_model
from tests.world.episode_files import write_dots


@functools.cache
def studied_run() -> Path:
    """The run folder; its data set lies beside it. Tests write elsewhere, or to a copy."""
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="isojepa-studied-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    data = write_dots(folder / "dots.h5", episodes=40).path
    config = WorldTrainConfig(
        data=data, out=folder / "run", cache=folder / "cache", preset="lewm-micro", frame_size=32,
        embedding_dim=16, frame_skip=2, slices=32, batch_size=32, steps=120, evaluate_every=40,
        held_out=0.5, device="cpu",
    )  # fmt: skip
    return train_world_model(config)
