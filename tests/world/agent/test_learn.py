"""The whole: act, store, learn; stopped and gone on with; warm starts, data first, mistakes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.training.interrupted import Interrupted
from isojepa.world.agent.agent import load_agent
from isojepa.world.agent.config import LearnConfig, parse_options
from isojepa.world.agent.learn import train_agent
from isojepa.world.agent.replay import Replay
from isojepa.world.model.world_model import load_world_model

ENDINGS = ("isojepa/CartPole-v1", "isojepa/TwoRoom-v0")


def tiny(out: Path, env: str = ENDINGS[0], **changes: object) -> LearnConfig:
    """A run of some 15 updates; CartPole is seen at 32 px."""
    settings: dict[str, object] = {
        "env": env, "out": out, "env_steps": 120, "random_steps": 60, "frame_size": 32,
        "embedding_dim": 8, "batch_size": 4, "rollout": 3, "members": 2, "slices": 8, "plan": 2,
        "test_episodes": 2, "evaluate_every": 60, "save_every": 5, "log_every": 5,
        "tensorboard": False, "capacity": 1000, "device": "cpu",
    }  # fmt: skip
    return LearnConfig(**{**settings, **changes})  # type: ignore[arg-type]


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    return load_agent(out).state_dict()


def metrics_of(out: Path) -> list[dict[str, object]]:
    timed = {"windows_per_second"}
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in timed} for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    train_agent(tiny(out))
    return out


def test_a_run_leaves_an_agent_a_world_model_curves_and_a_film(finished: Path) -> None:
    agent = load_agent(finished)
    assert agent.spec.discrete
    assert load_world_model(finished).frame_size == 32
    learnt = json.loads((finished / "learnt.json").read_text())
    assert learnt["env_steps"] >= 116
    assert len(learnt["returns"]) == 2
    assert (finished / "agent.gif").read_bytes()[:3] == b"GIF"
    names = set().union(*metrics_of(finished))
    wanted = {"train_return", "test_return", "prediction", "sigreg", "reward", "value", "policy"}
    assert wanted | {"effective_rank", "gaussianity_p", "dormant", "continuation"} <= names


@pytest.mark.parametrize("env", ENDINGS)
def test_a_run_that_was_stopped_equals_one_that_was_not(
    env: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in mid-episode, after acting beyond the checkpoint that it goes on from."""
    changes = {"frame_skip": 2, "env_steps": 160, "stack": 2} if "TwoRoom" in env else {}
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train_agent(tiny(whole, env, **changes))
    from isojepa.world.agent import learn

    made = learn.agent_compute

    def stopping(begun, model):  # type: ignore[no-untyped-def]
        compute = made(begun, model)

        def count(batch, step):  # type: ignore[no-untyped-def]
            if step == 8:  # checkpoints are made after updates 5 and 10
                raise KeyboardInterrupt
            return compute(batch, step)

        return count

    with monkeypatch.context() as patch:
        patch.setattr(learn, "agent_compute", stopping)
        with pytest.raises(KeyboardInterrupt):
            train_agent(tiny(parts, env, **changes))
    train_agent(tiny(parts, env, **changes, resume=True))
    one, two = weights_of(whole), weights_of(parts)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert metrics_of(whole)[-1] == metrics_of(parts)[-1]
    assert (whole / "replay" / "rows.bin").read_bytes() == (
        parts / "replay" / "rows.bin"
    ).read_bytes()
    assert (whole / "learnt.json").read_bytes() == (parts / "learnt.json").read_bytes()


def test_a_time_limit_saves_and_stops(tmp_path: Path) -> None:
    config = tiny(tmp_path / "run", max_minutes=1e-6)
    with pytest.raises(Interrupted, match="go on with the same command and --resume"):
        train_agent(config)
    train_agent(replace(config, resume=True, max_minutes=60.0))
    assert (tmp_path / "run" / "learnt.json").is_file()


def test_a_run_killed_before_its_first_checkpoint_begins_anew(
    finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "checkpoints")
    train_agent(tiny(out, resume=True))
    one, two = weights_of(finished), weights_of(out)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_more_steps_go_on_with_a_finished_run(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    train_agent(tiny(out, resume=True, env_steps=140))
    assert json.loads((out / "learnt.json").read_text())["env_steps"] >= 136


@pytest.mark.parametrize("teacher", ["value", "planner"])
def test_numbers_for_actions_learn_too(teacher: str, tmp_path: Path) -> None:
    out = train_agent(
        tiny(
            tmp_path / "run", ENDINGS[1], teacher=teacher, frame_skip=4, env_steps=160,
            option=("distractors=2",), detach=(), norm="batch",
        )
    )  # fmt: skip
    assert not load_agent(out).spec.discrete
    learnt = json.loads((out / "learnt.json").read_text())
    assert learnt["success"] in (0.0, 0.5, 1.0)


def test_it_starts_from_a_world_model_that_then_sees_stacks(finished: Path, tmp_path: Path) -> None:
    from isojepa.world.agent.learn import open_learning

    single = train_agent(tiny(tmp_path / "single", stack=1))
    begun = open_learning(tiny(tmp_path / "next", start_from=single, stack=2))
    frames = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8)
    older = torch.randint(0, 256, (2, 1, 3, 32, 32), dtype=torch.uint8)
    before = load_agent(single).eval().encode(frames)
    after = begun.agent.eval().encode(torch.cat([older, frames], 2))
    assert torch.allclose(before, after, atol=1e-5)
    with pytest.raises(UserError, match="its blocks of actions have 2 numbers"):
        open_learning(tiny(tmp_path / "other", start_from=single, frame_skip=3, env=ENDINGS[1],
                   option=("discrete=True",)))  # fmt: skip
    with pytest.raises(UserError, match="--embedding-dim 16: --start-from"):
        open_learning(tiny(tmp_path / "third", start_from=finished, embedding_dim=16))


@pytest.mark.parametrize("rewards", [True, False])
def test_recorded_episodes_are_learnt_from_first(rewards: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lengths = np.array([21, 14])
    with h5py.File(tmp_path / "data.h5", "w") as file:
        n = int(lengths.sum())
        file["pixels"] = random.integers(0, 256, (n, 32, 32, 3)).astype(np.uint8)
        file["action"] = random.uniform(-1, 1, (n, 2)).astype(np.float32)
        file["ep_len"], file["ep_offset"] = lengths, np.array([0, 21])
        if rewards:
            file["reward"] = np.arange(n, dtype=np.float32)
    out = train_agent(
        tiny(
            tmp_path / "run", ENDINGS[1], data=tmp_path / "data.h5", offline_updates=6,
            frame_skip=4, random_steps=0, env_steps=40,
        )
    )  # fmt: skip
    replay = Replay(out / "replay", frame_size=32, a=2, capacity=1000)
    clips = replay.clips(np.array([0]), rows=11)
    assert clips.first[0].nonzero()[0].tolist() == [0, 6]
    if rewards:
        assert clips.rewards[0, 1:3].tolist() == [0 + 1 + 2 + 3, 4 + 5 + 6 + 7]
    else:
        assert np.isnan(clips.rewards[0, 1:6]).all()
    lines = metrics_of(out)
    assert lines[0]["env_steps"] == 0
    assert lines[-1]["env_steps"] >= 36


@pytest.mark.parametrize(("changes", "words"), [
    ({"env": "isojepa/Cartpole-v1"}, "did you mean isojepa/CartPole-v1"),
    ({"option": ("distractors",)}, "expected NAME=VALUE"),
    ({"option": ("wings=2",)}, "unexpected keyword argument 'wings'"),
    ({"env_steps": 50}, "nothing is learnt within --random-steps 60"),
    ({"random_steps": 3}, "too few for windows"),
    ({"detach": ("rewards",)}, "expected some of reward, value, policy"),
    ({"teacher": "planner", "plan": 0}, "needs plans"),
    ({"lambd": -1.0}, "--lambd must not be negative"),
    ({"discount": 1.0}, "must lie in"),
    ({"devices": 2}, "in one process"),
    ({"start_from": Path("nowhere")}, "no trained world model here"),
])  # fmt: skip
def test_mistakes_get_one_clear_line(
    changes: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words) as caught:
        train_agent(tiny(tmp_path / "run", **changes))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_options_are_pythons_literals_or_text() -> None:
    given = ("a=3", "b=other", "c=(1, 2)", "d=True")
    assert parse_options(given) == {"a": 3, "b": "other", "c": (1, 2), "d": True}
