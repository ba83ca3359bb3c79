"""`isojepa world compare` on the platform's TwoRoom: tiny models, few goals, real episodes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm

from isojepa import cli
from isojepa.errors import UserError
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import read_run
from tests.world.episode_files import write_dots

pytest.importorskip("stable_worldmodel")
from isojepa.world.collection.collect import CollectConfig, collect
from isojepa.world.comparison import compare
from isojepa.world.comparison.config import CompareConfig, plan_config
from isojepa.world.control.config import open_control
from isojepa.world.control.evaluation import success_of
from isojepa.world.learning import cloning

MEASURES = ("held_out_prediction", "held_out_rollout_1", "effective_rank", "deviation")
TRAINED = ("sigreg", "no-regulariser", "vicreg", "frozen", "cloning")
SCRIPTED = ("random", "straight line", "oracle")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds rooms.h5, and the cache of its frames."""
    path = tmp_path_factory.mktemp("rooms")
    config = CollectConfig(
        env="swm/TwoRoom-v1", out=path / "rooms.h5", episodes=20, workers=1, steps=40, seed=1
    )
    collect(config)
    return path


@pytest.fixture(autouse=True)
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))


@pytest.fixture(scope="module")
def finished(folder: Path) -> CompareConfig:
    """A comparison of all contenders over two seeds, from the command line."""
    line = (
        f"world compare --data {folder / 'rooms.h5'} --out {folder / 'out'} --steps 2 --seeds 2 "
        "--pairs 3 --offset 12 --budget 25 --frozen-encoder resnet_nano --no-frozen-pretrained "
        "--device cpu"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert cli.main(line.split()) == 0
    return cli.parse(line.split(), cli.verbs())


def result_of(config: CompareConfig) -> dict[str, Any]:
    return json.loads((config.out / "compare.json").read_text())


def test_every_contender_plays_the_same_goals(finished: CompareConfig) -> None:
    scored = compare.play_all(
        finished,
        {name: finished.out / name / "seed-1" for name in ("sigreg", "vicreg", "cloning")},
        1,
    )
    result = result_of(finished)["contenders"]
    ours = scored["sigreg"].distance
    for name, one in scored.items():
        np.testing.assert_array_equal(one.distance, ours)
        assert one.success.mean() == result[name]["by_seed"][1]
    other = open_control(plan_config(finished, finished.out / "sigreg" / "seed-0", 0))
    assert not np.array_equal(success_of(other, seed=0).distance, ours)


def test_what_is_written_adds_up(finished: CompareConfig) -> None:
    result = result_of(finished)
    assert list(result["contenders"]) == [*TRAINED, *SCRIPTED]
    ours = result["contenders"]["sigreg"]
    assert ours["difference"] is None
    for name, one in result["contenders"].items():
        low, high = one["interval"]
        assert 0 <= low <= one["success"] <= high <= 1
        assert one["pairs"] == 6
        assert np.isclose(np.mean(one["by_seed"]), one["success"])
        assert len(one["training_seconds"]) == (2 if name in TRAINED else 0)
        if name != "sigreg":
            difference = one["difference"]["difference"]
            assert np.isclose(difference, one["success"] - ours["success"])
            low, high = one["difference"]["interval"]
            assert -1 <= low <= difference <= high <= 1
    assert result["contenders"]["oracle"]["success"] == 1
    assert result["contenders"]["random"]["success"] < 1
    assert result["config"]["seeds"] == 2
    assert {"command", "versions", "hardware", "started"} <= result.keys()
    assert (finished.out / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_all_are_trained_alike_but_for_what_they_are(finished: CompareConfig) -> None:
    differs = {
        "no-regulariser": {"regulariser", "lambd"},
        "vicreg": {"regulariser", "lambd"},
        "frozen": {"encoder", "frozen", "lambd"},
        # its clips reach as far as its goals, so that few episodes hold fewer of them
        "cloning": {"history", "rollout_steps", "batch_size"},
    }
    for seed in (0, 1):
        runs = {name: read_run(finished.out / name / f"seed-{seed}") for name in TRAINED}
        ours = runs["sigreg"]
        assert (ours.config["regulariser"], ours.config["seed"]) == ("sigreg", seed)
        for name, fields in differs.items():
            other = runs[name].config
            changed = {k for k, v in ours.config.items() if other[k] != v} - {"out"}
            assert changed <= fields, name
            assert runs[name].data == ours.data


def test_embeddings_are_measured_where_there_are_any(finished: CompareConfig) -> None:
    for name, one in result_of(finished)["contenders"].items():
        embeds = name in TRAINED and name != "cloning"
        assert len(one["held_out"]) == (2 if embeds else 0)
        for seed, measured in enumerate(one["held_out"]):
            last = read_metrics(finished.out / name / f"seed-{seed}")[-1]
            assert measured == {key: last[key] for key in MEASURES}
            assert 1 <= measured["effective_rank"] <= 64


def test_resume_trains_only_what_is_missing(finished: CompareConfig) -> None:
    before = result_of(finished)["contenders"]
    policy = finished.out / "cloning" / "seed-1" / cloning.POLICY
    kept = finished.out / "cloning" / "seed-0" / cloning.POLICY
    weights = finished.out / "sigreg" / "seed-1" / "metrics.jsonl"
    weights_before, kept_at, content = (
        weights.read_bytes(),
        kept.stat().st_mtime_ns,
        policy.read_bytes(),
    )
    policy.unlink()
    left_out = ("no-regulariser", "vicreg", "frozen")
    compare.compare(replace(finished, resume=True, without=left_out))
    after = result_of(finished)["contenders"]
    assert list(after) == ["sigreg", "cloning", *SCRIPTED]
    assert weights.read_bytes() == weights_before
    assert kept.stat().st_mtime_ns == kept_at
    assert policy.read_bytes() == content
    for name, one in after.items():
        assert one["by_seed"] == before[name]["by_seed"], name


def test_an_existing_comparison_is_left_alone(finished: CompareConfig) -> None:
    for changes, words in (
        ({}, "--resume to go on with it, --overwrite to replace it"),
        ({"resume": True, "steps": 3}, "--steps is 3 but was 2"),
        ({"resume": True, "frozen_pretrained": True}, "--frozen-pretrained is True but was False"),
        ({"overwrite": True, "pairs": 10**6}, "lower --pairs"),
    ):
        with pytest.raises(UserError, match=words):
            compare.compare(replace(finished, **changes))
        assert (finished.out / "sigreg" / "seed-0" / "config.json").is_file()


def test_mistakes_are_found_before_anything_is_trained(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CompareConfig(
        data=folder / "rooms.h5", out=tmp_path / "out", device="cpu", pairs=3, offset=12
    )

    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(UserError, match=match):
            compare.compare(replace(config, **changes))
        assert not (config.out / "config.json").exists()

    refused("nothing", data=folder / "nothing.h5")
    refused("did you mean swm/TwoRoom-v1", env="swm/TwoRooms-v1")
    refused("does not say which environment", data=write_dots(tmp_path / "dots.h5").path)
    refused("lower --pairs", pairs=1000)
    refused("beyond the budget of 20", budget=20)
    refused("there is no run there", resume=True)
    refused("timm has no model of that name", frozen_encoder="resnet181", frozen_pretrained=False)
    refused("no feature map", frozen_encoder="conv_micro", frozen_pretrained=False)

    create_model = timm.create_model

    def offline(*names: Any, **kwargs: Any) -> Any:
        if not kwargs.get("pretrained"):
            return create_model(*names, **kwargs)
        raise RuntimeError("cannot be found on the Hub\nand so on")

    monkeypatch.setattr(timm, "create_model", offline)
    refused(r"on the Hub and so on\).*; or give --no-frozen-pretrained .* or --without frozen")
    for changes, words in (
        ({"steps": 0}, "--steps must be at least 1"),
        ({"seeds": 0}, "--seeds must be at least 1"),
        ({"seed": -1}, "--seed must not be negative"),
        ({"preset": "lewm-nano"}, "--preset lewm-nano"),
        ({"resume": True, "overwrite": True}, "not both"),
    ):
        with pytest.raises(UserError, match=words):
            replace(config, **changes)


def test_an_interrupted_comparison_says_how_to_go_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(config: Any) -> None:
        raise compare.Interrupted(2, 1, config.out)

    monkeypatch.setattr(compare.train, "train_world_model", stop)
    config = CompareConfig(
        data=folder / "rooms.h5", out=tmp_path / "out", device="cpu", pairs=3, offset=12,
        without=("frozen",),
    )  # fmt: skip
    with pytest.raises(
        compare.Interrupted, match="at update 1; go on with the same command and --resume"
    ):
        compare.compare(config)
    assert read_run(config.out).config["steps"] == 2000
