"""Training on a tiny data set: what is written, resumed, refused, and that it learns."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.runs.metrics import read_metrics
from isojepa.training.interrupted import Interrupted
from isojepa.training.optimise import Update
from isojepa.training.recorder import Recorder
from isojepa.world.episodes.trajectories import open_trajectories
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import train_world_model
from isojepa.world.learning.trained import open_trained
from isojepa.world.learning.windows import check_fits
from isojepa.world.model.world_model import load_world_model
from tests.world.episode_files import write_dots


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_world_model(run).state_dict()


def test_a_run_is_a_folder(config: WorldTrainConfig) -> None:
    out = train_world_model(replace(config, tensorboard=True))
    assert len(list((out / "tensorboard").iterdir())) == 1
    described = json.loads((out / "config.json").read_text())
    assert described["config"]["encoder"] == "conv_micro"
    assert described["data"]["episodes"] == 6
    lines = read_metrics(out)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    for name in ("prediction", "sigreg", "held_out_rollout_5", "effective_rank", "straightness"):
        assert name in lines[-1]
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000006",
    ]
    model = load_world_model(out)
    assert model.action_dim == 4
    assert model.scale.std.shape == (2,)
    with pytest.raises(UserError, match="--resume"):
        train_world_model(config)


@pytest.mark.parametrize("rollout_steps", [1, 2])
def test_a_resumed_run_equals_an_uninterrupted_one(
    config: WorldTrainConfig, monkeypatch: pytest.MonkeyPatch, rollout_steps: int
) -> None:
    config = replace(config, rollout_steps=rollout_steps)
    whole = train_world_model(replace(config, out=config.out.with_name("whole")))
    remember = Recorder.remember

    def stop(self: Recorder, update: Update) -> None:
        if update.step == 5:
            raise KeyboardInterrupt
        remember(self, update)

    monkeypatch.setattr(Recorder, "remember", stop)
    with pytest.raises(KeyboardInterrupt):
        train_world_model(config)
    monkeypatch.undo()
    train_world_model(replace(config, resume=True))
    expected = weights(whole)
    for name, x in weights(config.out).items():
        assert torch.equal(x, expected[name]), name
    lines, reference = read_metrics(config.out), read_metrics(whole)
    assert [x["loss"] for x in lines] == [x["loss"] for x in reference]
    assert [x["held_out_prediction"] for x in lines] == [
        x["held_out_prediction"] for x in reference
    ]


def test_a_signal_saves_first(config: WorldTrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import signal

    remember = Recorder.remember

    def interrupt(self: Recorder, update: Update) -> None:
        if update.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        remember(self, update)

    monkeypatch.setattr(Recorder, "remember", interrupt)
    with pytest.raises(Interrupted, match="update 2"):
        train_world_model(config)
    assert (config.out / "checkpoints" / "step-00000002").is_dir()


def test_resuming_with_other_settings_or_data(config: WorldTrainConfig, tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    train_world_model(replace(config, steps=3))
    with pytest.raises(UserError, match="--embedding-dim is 16 but the run has 8"):
        train_world_model(replace(config, steps=3, embedding_dim=16, resume=True))
    other = write_dots(tmp_path / "other.h5", episodes=5).path
    with pytest.raises(UserError, match="1 of its 6 episodes are missing"):
        train_world_model(replace(config, steps=3, data=other, resume=True))


def test_a_run_keeps_to_its_camera(config: WorldTrainConfig, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    both = tmp_path / "both.h5"
    frames = np.concatenate(write_dots(both, episodes=6).frames)
    with h5py.File(both, "r+") as file:
        file["pixels.wrist"] = 255 - frames
    out = train_world_model(replace(config, data=both, camera="wrist", steps=1))
    _, _, _, trajectories, split = open_trained(out)
    assert split.own
    small = open_trajectories(both, frame_size=32, cache=config.cache, camera="wrist")
    rows = np.arange(5)
    assert (trajectories.rows(rows) == small.rows(rows)).all()
    assert (trajectories.rows(rows) == 255 - frames[rows]).all()
    with pytest.raises(UserError, match="--camera is pixels but the run has wrist"):
        train_world_model(replace(config, data=both, camera="pixels", steps=1, resume=True))


def test_a_data_set_of_another_shape(config: WorldTrainConfig) -> None:
    train_world_model(replace(config, steps=1))
    model = load_world_model(config.out)
    trajectories = open_trajectories(config.data, frame_size=16, cache=config.cache)
    with pytest.raises(UserError, match="16 px, but the model reads 32"):
        check_fits(model, trajectories)
    model.action_dim = 6
    with pytest.raises(UserError, match="2 dimensions, but the model was trained with 3"):
        check_fits(model, trajectories)


def test_training_begins_with_another_runs_weights(
    config: WorldTrainConfig, tmp_path: Path
) -> None:
    import h5py

    first = train_world_model(config)
    with pytest.raises(UserError, match="leave out --preset"):
        replace(config, start_from=first)
    onward = replace(
        config, out=tmp_path / "on", start_from=first, seed=1, steps=1, lr=1e-12, preset=None,
        frame_size=None, embedding_dim=None, frame_skip=5,
    )  # fmt: skip
    before, after = weights(first), weights(train_world_model(onward))
    assert before.keys() == after.keys()
    trained = [name for name in before if "running" not in name and "num_batches" not in name]
    assert trained
    for name in trained:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    assert load_world_model(tmp_path / "on").spec == load_world_model(first).spec
    other = tmp_path / "other.h5"
    with h5py.File(config.data) as source, h5py.File(other, "w") as file:
        for name in source:
            file[name] = source[name][:, :1] if name == "action" else source[name][:]
    for changes, words in (
        ({"embedding_dim": 9}, "--embedding-dim 9: .*run has 8; leave it out"),
        ({"data": other}, "its actions have 2 dimensions, those of .*other.h5 1"),
        ({"start_from": tmp_path / "none"}, "no trained world model here"),
    ):
        with pytest.raises(UserError, match=words):
            train_world_model(replace(onward, out=tmp_path / "refused", overwrite=True, **changes))


def test_a_loss_that_diverges(config: WorldTrainConfig) -> None:
    with pytest.raises(UserError, match="learning rate, 1e\\+18 at that update"):
        train_world_model(replace(config, lr=1e18, steps=20))


def test_episodes_shorter_than_a_window(config: WorldTrainConfig) -> None:
    with pytest.raises(UserError, match="no episode is that long"):
        train_world_model(replace(config, frame_skip=20))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "lewm-macro"}, "lewm-micro"),
        ({"lr": 0.0}, "--lr"),
        ({"history": 0}, "--history must be at least 1"),
        ({"resume": True, "overwrite": True}, "not both"),
        ({"regulariser": "none", "lambd": 0.1}, "no weight"),
        ({"directions": "exact", "scale": "decoupled"}, "cannot be exact"),
    ],
)
def test_settings_out_of_range(config: WorldTrainConfig, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(config, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"regulariser": "vicreg"},
        {"regulariser": "visreg"},
        {"regulariser": "ksd"},
        {"regulariser": "decoupled"},
        {"regulariser": "none"},
        {"directions": "exact"},
        {"scale": "decoupled"},
        {"encoder": "resnet_nano", "frozen": "grid"},
        {"history": 1, "rollout_steps": 3},
    ],
)
def test_variants_train(config: WorldTrainConfig, settings: dict) -> None:
    lines = read_metrics(train_world_model(replace(config, steps=2, **settings)))
    assert lines[-1]["loss"] > 0
