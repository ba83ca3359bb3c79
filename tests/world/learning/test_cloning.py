"""Baselines under the same loop: collapse without a regulariser, and a policy that clones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.runs.metrics import read_metrics
from isojepa.world.episodes.clips import clip_index
from isojepa.world.episodes.trajectories import open_trajectories
from isojepa.world.learning.cloning import GoalPolicy, load_cloned_policy, train_policy
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import train_world_model
from isojepa.world.model.world_model import load_world_model
from tests.world.episode_files import write_dots

MODELS = {
    "no-regulariser": {"regulariser": "none"},
    "vicreg": {"regulariser": "vicreg"},
    "frozen": {"encoder": "resnet_nano", "frozen": "grid"},
}


@pytest.fixture
def config(tmp_path: Path) -> WorldTrainConfig:
    data = write_dots(tmp_path / "dots.h5", episodes=8).path
    return WorldTrainConfig(
        data=data, out=tmp_path / "run", cache=tmp_path / "cache", preset="lewm-micro",
        frame_size=32, embedding_dim=8, frame_skip=2, slices=32, batch_size=16, steps=2,
        device="cpu",
    )  # fmt: skip


def cloned(config: WorldTrainConfig) -> GoalPolicy:
    return train_policy(replace(config, out=config.out / "cloning"))


def test_each_baseline_trains(config: WorldTrainConfig) -> None:
    frames = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8)
    for name, changed in MODELS.items():
        run = train_world_model(replace(config, out=config.out / name, **changed))
        assert load_world_model(run).encode(frames).shape == (2, 1, 8)
    block = cloned(config)(frames[:, 0], frames[:, 0])
    assert block.shape == (2, 4)
    again = load_cloned_policy(config.out / "cloning")
    torch.testing.assert_close(again(frames[:, 0], frames[:, 0]), block)
    with pytest.raises(UserError, match="no policy"):
        load_cloned_policy(config.out)


@pytest.mark.slow
def test_without_a_regulariser_it_collapses_and_cloning_learns(config: WorldTrainConfig) -> None:
    config = replace(config, steps=150, lr=3e-3)
    collapsed, kept = (
        read_metrics(train_world_model(replace(config, out=config.out / name, **MODELS[name])))[-1][
            "deviation"
        ]
        for name in ("no-regulariser", "vicreg")
    )
    policy = cloned(config)
    assert collapsed < 0.3 * kept
    trajectories = open_trajectories(config.data, frame_size=32, cache=config.cache)
    index = clip_index(trajectories, np.arange(8), frames=3, frame_skip=2)
    clips = trajectories.clips(index, frames=3, frame_skip=2, scale=policy.spec.scale)
    with torch.no_grad():
        guess = policy(clips.frames[:, 0], clips.frames[:, 1])
    assert (guess - clips.actions[:, 0]).square().mean() < 0.7 * clips.actions[:, 0].var()


def test_nothing_to_clone(config: WorldTrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from isojepa.world.learning import train

    prepare = train.prepare_training

    def without_actions(*args: object, **kwargs: object) -> tuple:
        spec, *rest = prepare(*args, **kwargs)
        return (replace(spec, action_dim=0), *rest)

    monkeypatch.setattr(train, "prepare_training", without_actions)
    with pytest.raises(UserError, match="no actions"):
        train_policy(config)
