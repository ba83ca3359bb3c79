"""What was held out stays so: after more episodes, from a moved or reordered file, resumed."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.world.analysis.study import SplitSizes, open_study
from isojepa.world.comparison.checks import check_same_episodes
from isojepa.world.episodes.clips import split_episodes
from isojepa.world.episodes.trajectories import open_trajectories
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.split import RECORD, Recorded, divide, find, fingerprints, write_split
from isojepa.world.learning.train import train_world_model
from isojepa.world.learning.trained import open_trained
from isojepa.world.model.world_model import load_world_model
from tests.world.episode_files import write_dots

h5py = pytest.importorskip("h5py")


def settings(data: Path, out: Path, **changes: Any) -> WorldTrainConfig:
    return WorldTrainConfig(
        data=data, out=out, preset="lewm-micro", frame_size=16, embedding_dim=8, frame_skip=1,
        slices=8, batch_size=8, steps=2, held_out=0.4, seed=3, device="cpu", tensorboard=False,
        **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on ten episodes; its data set lies beside it."""
    folder = tmp_path_factory.mktemp("split")
    write_dots(folder / "dots.h5", episodes=10, steps=12, size=16)
    return train_world_model(settings(folder / "dots.h5", folder / "run"))


def rewritten(data: Path, to: Path, order: list[int], more: int = 0) -> Path:
    """The episodes of a data set in another order, some left out or doubled, and others after."""
    fresh = write_dots(to.with_name("fresh.h5"), episodes=max(1, more), steps=12, size=16, seed=9)
    with h5py.File(data) as a, h5py.File(fresh.path) as b, h5py.File(to, "w") as out:
        parts = [(a, e) for e in order] + [(b, e) for e in range(more)]
        lengths = [int(file["ep_len"][e]) for file, e in parts]
        for name in ("pixels", "action", "proprio", "state"):
            rows = [
                file[name][(s := int(file["ep_offset"][e])) : s + int(file["ep_len"][e])]
                for file, e in parts
            ]
            out[name] = np.concatenate(rows)
        out["ep_len"] = np.array(lengths)
        out["ep_offset"] = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return to


def contents(path: Path, episodes: np.ndarray) -> list[bytes]:
    data = open_trajectories(path, frame_size=16)
    return [data.frames(int(e), 0, int(data.lengths[e])).tobytes() for e in episodes]


def held_out_of(run: Path) -> list[bytes]:
    """What training held out, by content, told by the split's own function."""
    _, held = split_episodes(10, held_out=0.4, seed=3)
    return contents(run.parent / "dots.h5", held)


@pytest.mark.parametrize(
    ("order", "more"),
    [
        (list(range(10)), 0),
        (list(range(10)), 5),
        (list(range(10))[::-1], 0),
        ([3, 1, 4, 0, 5, 9, 2, 6, 8, 7], 4),
        ([0, 0, 1, 1, *range(2, 10)], 1),
    ],
    ids=["copied", "more", "reversed", "shuffled and more", "doubled and more"],
)
def test_what_was_held_out_is_found_by_content(
    trained: Path, tmp_path: Path, order: list[int], more: int
) -> None:
    moved = rewritten(trained.parent / "dots.h5", tmp_path / "moved.h5", order, more)
    expected = held_out_of(trained)
    split = open_trained(trained, moved, device="cpu").split
    assert contents(moved, split.held_out) == expected
    assert len(split.train) == 6
    assert split.new.tolist() == list(range(len(order), len(order) + more))
    study = open_study(trained, moved, device="cpu")
    assert study.unseen
    assert sorted(contents(moved, study.held_out)) == sorted(expected)
    asked = open_study(trained, moved, device="cpu", new=True)
    assert len(asked.held_out) == 4 + more
    assert not set(contents(moved, asked.held_out)) & set(contents(moved, split.train))


def test_parts_of_the_data_and_other_data(
    trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = trained.parent / "dots.h5"
    _, held = split_episodes(10, held_out=0.4, seed=3)
    train = np.setdiff1d(np.arange(10), held)
    caplog.set_level("INFO", "isojepa")
    seen = rewritten(own, tmp_path / "seen.h5", train.tolist())
    assert not open_study(trained, seen, device="cpu").unseen
    assert "4 of 4 episodes held out are missing" in caplog.text
    grown = rewritten(own, tmp_path / "grown.h5", train.tolist(), more=2)
    study = open_study(trained, grown, device="cpu")
    assert study.unseen
    assert study.held_out.tolist() == [6, 7]
    assert "2 episodes are new: unseen in training, tested on too" in caplog.text
    unseen = rewritten(own, tmp_path / "unseen.h5", held.tolist())
    study = open_study(trained, unseen, device="cpu")
    assert study.unseen
    assert len(study.train) + len(study.held_out) == 4
    other = write_dots(tmp_path / "other.h5", episodes=5, steps=12, size=16, seed=8).path
    assert open_study(trained, other, device="cpu").unseen
    assert "none of its 5 episodes is of those" in caplog.text


def test_copies_of_training_episodes_are_not_tested_on(caplog: pytest.LogCaptureFixture) -> None:
    recorded, split = divide(("a", "b", "a", "a", "b", "c"), held_out=0.5, seed=1)
    assert len(recorded.held_out) == 3
    assert not {("a", "b", "a", "a", "b", "c")[e] for e in split.held_out} & set(recorded.train)
    assert "copies of training episodes" in caplog.text
    again = find(Recorded(("x", "y"), ("z", "x")), ("y", "z", "x", "x", "w"))
    assert (again.train.tolist(), again.held_out.tolist()) == ([2, 0], [1])
    assert again.new.tolist() == [4]


def test_resuming_keeps_to_the_episodes_it_began_with(trained: Path, tmp_path: Path) -> None:
    """From a grown, reordered file the rest of the run is the same, bit for bit."""
    own = trained.parent / "dots.h5"
    whole = train_world_model(settings(own, tmp_path / "whole", save_every=1))
    part = tmp_path / "part"
    shutil.copytree(whole, part)
    shutil.rmtree(part / "checkpoints" / "step-00000002")
    grown = rewritten(own, tmp_path / "grown.h5", [7, 3, 1, 4, 0, 5, 9, 2, 6, 8], more=3)
    train_world_model(replace(settings(grown, part, save_every=1), resume=True))
    one, other = (load_world_model(x).state_dict() for x in (whole, part))
    assert all(torch.equal(x, other[name]) for name, x in one.items())
    assert json.loads((part / "config.json").read_text())["data"]["episodes"] == 10
    fewer = rewritten(own, tmp_path / "fewer.h5", list(range(1, 10)))
    with pytest.raises(UserError, match=r"1 of its 10 episodes are missing from .*fewer\.h5"):
        train_world_model(replace(settings(fewer, part), resume=True))


def test_runs_without_a_record(trained: Path, tmp_path: Path) -> None:
    """Made before there was one: recomputed if the data are those, or begin with those."""
    old = tmp_path / "old"
    shutil.copytree(trained, old)
    (old / RECORD).unlink()
    own = trained.parent / "dots.h5"
    grown = rewritten(own, tmp_path / "grown.h5", list(range(10)), more=3)
    for data in (own, grown):
        split = open_trained(old, data, device="cpu").split
        assert contents(data, split.held_out) == held_out_of(trained)
        assert len(split.new) == len(open_trajectories(data, frame_size=16)) - 10
    other = rewritten(own, tmp_path / "other.h5", list(range(9)))
    assert len(open_trained(old, other, device="cpu").split.new) == 9
    described = json.loads((old / "config.json").read_text())
    described["config"]["data"] = str(other)
    (old / "config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="does not record which ones"):
        open_trained(old, device="cpu")
    (old / RECORD).write_text('{"train": []}')
    with pytest.raises(UserError, match=r"episodes\.json: cannot be read"):
        open_trained(old, device="cpu")


def test_more_episodes_collected_then_every_verb(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("stable_worldmodel")
    from isojepa.world.analysis import decoder, probing, surprise
    from isojepa.world.collection.collect import CollectConfig, collect
    from isojepa.world.control.config import PlanConfig, open_control

    begun = CollectConfig(
        env="swm/TwoRoom-v1", out=tmp_path / "rooms.h5", episodes=10, policy="random", steps=14,
        frame_size=16, workers=1,
    )  # fmt: skip
    collect(begun)
    out = train_world_model(settings(begun.out, tmp_path / "run"))
    held = contents(begun.out, split_episodes(10, held_out=0.4, seed=3)[1])
    collect(replace(begun, episodes=16, resume=True))
    monkeypatch.setattr(logging.getLogger("isojepa"), "propagate", True)
    planned = open_control(PlanConfig(run=out, horizon=2, device="cpu"))
    assert contents(begun.out, planned.episodes) == held
    assert "6 episodes are new: unseen in training, left out; give --new-episodes" in caplog.text
    asked = open_control(PlanConfig(run=out, horizon=2, device="cpu", new_episodes=True))
    assert contents(begun.out, asked.episodes[:4]) == held
    assert asked.episodes[4:].tolist() == list(range(10, 16))
    probed = probing.probe(probing.ProbeConfig(run=out, frames=60, device="cpu"))
    assert probed.episodes == SplitSizes(train=6, held_out=4)
    with np.load(out / "probes.npz") as arrays:
        assert sorted(contents(begun.out, np.unique(arrays["episode"]))) == sorted(held)
    surprised = surprise.measure_surprise(surprise.SurpriseConfig(run=out, clips=16, device="cpu"))
    assert (surprised.episodes.usual, surprised.episodes.tested) == (2, 2)
    decoded = decoder.decode(decoder.DecodeConfig(run=out, frames=64, steps=1, device="cpu"))
    assert decoded.unseen
    assert decoded.frames.held_out == 4 * 15


def test_a_run_is_used_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_dots(Path("dots.h5"), episodes=10, steps=12, size=16)
    out = train_world_model(settings(Path("dots.h5"), Path("run"))).resolve()
    (tmp_path / "elsewhere").mkdir()
    write_dots(tmp_path / "elsewhere" / "dots.h5", episodes=10, steps=12, size=16, seed=1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    split = open_trained(out, device="cpu").split
    assert (len(split.train), len(split.held_out), len(split.new)) == (6, 4, 0)
    another = open_trained(out, Path("dots.h5"), device="cpu").split  # of the same name
    assert (len(another.train), len(another.new)) == (0, 10)
    (tmp_path / "dots.h5").unlink()
    with pytest.raises(UserError, match=r"no such data set, though .* was trained on it; give --d"):
        open_trained(out, device="cpu")


def test_a_comparison_keeps_to_its_episodes(tmp_path: Path) -> None:
    write_split(tmp_path, Recorded(("a", "b", "c"), ()))
    check_same_episodes(tmp_path, ("c", "a", "b"))
    with pytest.raises(UserError, match="1 of its 3 episodes are missing and 2 are new"):
        check_same_episodes(tmp_path, ("a", "b", "d", "e"))


def test_a_fingerprint_is_of_the_content(trained: Path, tmp_path: Path) -> None:
    own = trained.parent / "dots.h5"
    order = [4, 2, 0]
    some = fingerprints(open_trajectories(rewritten(own, tmp_path / "x.h5", order), frame_size=16))
    every = fingerprints(open_trajectories(own, frame_size=16))
    assert some == tuple(every[e] for e in order)
    assert len(set(every)) == 10
