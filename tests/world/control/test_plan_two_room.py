"""`isojepa world plan` on the platform's TwoRoom, with a model that knows positions exactly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.errors import UserError
from isojepa.runs.typed import read_result
from tests.world.latent_models import Positions

pytest.importorskip("stable_worldmodel")
from isojepa.world.collection.collect import CollectConfig, collect
from isojepa.world.control import evaluation
from isojepa.world.control.config import PlanConfig, open_control
from isojepa.world.control.control import pairs_asked, plan
from isojepa.world.control.evaluation import success_of
from isojepa.world.control.goal_image import GoalImageResult, read_goal
from isojepa.world.control.goal_seeker import GoalSeeker
from isojepa.world.control.results import ControlResult
from isojepa.world.control.suite import plan_goals
from isojepa.world.environments.worlds import make_environments, reset
from isojepa.world.episodes.trajectories import open_trajectories
from isojepa.world.learning import trained

SKIP, SIDE = 5, 64


def knower() -> Positions:
    """An embedding is the red dot's position in pixels of 224; walls are not known."""
    model = Positions(
        SIDE, frame_skip=SKIP, move=5.0, std=0.7, pixel=224 / SIDE, corner=1.25,
        shown=lambda x: (x[:, :, 0] - x[:, :, 1]).clamp(min=0),
    )  # fmt: skip
    model.history = 1
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rooms") / "rooms.h5"
    collect(CollectConfig(env="swm/TwoRoom-v1", out=path, episodes=12, workers=1, steps=60))
    return path


@pytest.fixture
def config(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanConfig:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data.parent / "cache"))
    monkeypatch.setattr(trained, "load_world_model", lambda _: knower())
    made = {"config": {"data": str(data), "held_out": 0.5, "seed": 0}}
    (tmp_path / "config.json").write_text(json.dumps(made))
    return PlanConfig(run=tmp_path, pairs=12, horizon=3, candidates=60, films=2)


def test_a_goal_from_a_file(
    config: PlanConfig, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = open_trajectories(data, frame_size=SIDE).frames(0, 5, 6)[0]
    Image.fromarray(seen).resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST).save(
        tmp_path / "goal.png"
    )
    asked = replace(config, goal=tmp_path / "goal.png", films=1, budget=60)
    result = plan_goals(asked)
    assert isinstance(result, GoalImageResult)
    assert read_result(GoalImageResult, config.run / "goal.json") == result
    assert (config.run / "goal.gif").stat().st_size > 1000
    (one,) = result.episodes
    assert one.nearest <= one.end
    assert one.nearest < one.start  # the model knows positions: it goes there
    assert one.learnt_steps is None
    assert result.strangeness <= 2
    assert "unlike the data" not in caplog.text
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    plan_goals(replace(asked, goal=tmp_path / "noise.png", films=0, budget=15))
    assert "noise.png: unlike the data" in caplog.text


def test_pictures_that_are_no_goals_are_named(config: PlanConfig, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "oblong.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    for name, words in (
        ("oblong.png", "1.5 times as wide as high.*crop it to 20 x 20"),
        ("broken.png", "--goal .*broken.png: "),
        ("missing.png", "--goal .*missing.png: no such file"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            read_goal(tmp_path / name)
        assert "\n" not in str(caught.value)
    Image.new("L", (20, 20)).save(tmp_path / "grey.png")
    assert read_goal(tmp_path / "grey.png").shape == (20, 20, 3)
    with pytest.raises(UserError, match="--goal takes the place of pairs"):
        replace(config, goal=tmp_path / "grey.png", suite=True)


def test_the_whole_evaluation(config: PlanConfig) -> None:
    result = plan(config)
    assert read_result(ControlResult, config.run / "control.json") == result
    assert (config.run / "control.gif").stat().st_size > 1000
    baselines = {name: rate.success for name, rate in result.baselines.items()}
    assert set(baselines) == {"random", "straight line", "oracle"}
    assert baselines["random"] <= result.rate.success
    assert result.rate.success >= 0.5  # walls apart
    assert baselines["oracle"] >= 0.9
    low, high = result.rate.interval
    assert 0 <= low <= result.rate.success <= high <= 1
    assert result.rate.pairs == 12
    assert result.protocol == "strict"
    assert result.plan_seconds
    assert [part.rate.pairs for part in result.by_distance] == [3, 3, 3, 3]
    assert all(part.least >= 16 for part in result.by_distance)
    assert result.published == {}  # success is counted otherwise there
    assert result.strict is not None
    assert result.strict.success <= result.rate.success
    assert result.strict_rule == "within 8 px, the wall crossed through the door"
    # Every pair is there, and says the same as the shares
    assert len(result.played) == len(result.outcomes["plan"]) == 12
    for name, outcomes in result.outcomes.items():
        own, strict = result.rates_of(name)
        assert own is not None
        assert strict is not None
        assert own.success == np.mean([one.success for one in outcomes])
        assert strict.success == np.mean([one.strict for one in outcomes])
    held_out = set(open_control(config).episodes.tolist())
    assert {pair.episode for pair in result.played} <= held_out
    assert not (config.run / "control.json.part").exists()


def test_the_suite_tells_near_far_and_walled_goals_apart(config: PlanConfig) -> None:
    asked = replace(config, suite=True, pairs=3, films=0, candidates=20, iterations=2)
    results = plan_goals(asked)
    assert list(results) == ["25", "50", "walled"]  # no episode has 101 frames here
    for name, result in results.items():
        assert read_result(ControlResult, config.run / f"control-{name}.json") == result
    assert results["50"].config.budget == 100
    walled = results["walled"]
    assert walled.goals == "goals with a wall between"
    assert {pair.goal_episode for pair in walled.played} != {pair.episode for pair in walled.played}
    # The same pairs again, for a line; and what they refuse
    again = plan_goals(replace(asked, baselines=False, candidates=10, seed=0))
    assert [r.played for r in again.values()] == [r.played for r in results.values()]
    with pytest.raises(UserError, match="pairs of the seeds 0, none of 4"):
        plan_goals(replace(asked, seed=4))
    with pytest.raises(UserError, match="give --pairs 3"):
        plan_goals(replace(asked, pairs=2))
    frozen = config.run / "suite-pairs.json"
    with pytest.raises(UserError, match="no goals 7 ahead, only 25 ahead, 50 ahead, 100 ahead"):
        plan(replace(config, offset=7, manifest=frozen))
    with pytest.raises(UserError, match="not among those held out"):
        _check_held_out(replace(config, goals="walled", pairs=3, manifest=frozen))


def _check_held_out(config: PlanConfig) -> None:
    control = open_control(config)
    others = np.setdiff1d(np.arange(12), control.episodes)
    pairs_asked(control._replace(episodes=others), [config], config.manifest)


def test_an_interrupted_evaluation_goes_on(
    config: PlanConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "AT_ONCE", 4)
    config = replace(config, films=0, candidates=20, iterations=2)
    whole = plan(config)
    played: list[int] = []
    usual = evaluation.run_episodes

    def interrupted(*args: Any, **options: Any) -> Any:
        played.append(options["b"])
        if len(played) == 3:
            raise KeyboardInterrupt
        return usual(*args, **options)

    monkeypatch.setattr(evaluation, "run_episodes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plan(config)
    assert (config.run / "control.json.part").is_file()
    again = plan(config)
    assert len(played) == 3 + 1 + 9  # what was left, and the baselines
    assert again.outcomes == whole.outcomes
    # Other settings begin anew
    played[:] = [0]
    with pytest.raises(KeyboardInterrupt):
        plan(config)
    played[:] = [0] * 10
    plan(replace(config, candidates=10))
    assert len(played) == 10 + 12


def test_protocols_draw_from_their_episodes(config: PlanConfig) -> None:
    strict = open_control(config)
    published = open_control(
        replace(config, protocol="published", recipe="published", horizon=None)
    )
    assert len(strict.episodes) == 6
    assert len(published.episodes) == 12
    assert (published.recipe.cost, published.recipe.execute) == ("last", 5)


def test_a_data_set_never_seen_is_held_out_as_a_whole(config: PlanConfig, data: Path) -> None:
    other = data.with_name("other.h5")
    if not other.exists():
        other.write_bytes(data.read_bytes())
    assert len(open_control(replace(config, data=other)).episodes) == 12


def test_geodesic_distance_is_built_from_training_episodes(config: PlanConfig) -> None:
    control = open_control(replace(config, distance="geodesic", cost="path"))
    assert control.graph is not None
    scored = success_of(control._replace(config=replace(config, pairs=4)), seed=1)
    assert scored.success.shape == (4,)
    assert scored.evaluations > 60


def test_bad_input_is_named(
    config: PlanConfig, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(UserError, match=match):
            open_control(replace(config, **changes))

    refused("--horizon 11: 11 blocks of 5 steps are 55, beyond the budget of 50", horizon=11)
    refused("did you mean swm/TwoRoom-v1", env="swm/TwoRoms-v1")
    refused("--execute 4", execute=4)
    refused("--history 2: the model sees at most 1", history=2)
    refused("not a run folder", run=config.run / "nowhere")
    with pytest.raises(UserError, match="--pairs must be at least 1"):
        replace(config, pairs=0)
    with pytest.raises(UserError, match="--action-penalty must not be negative"):
        replace(config, action_penalty=-1.0)
    odd = knower()
    odd.action_dim = 15
    monkeypatch.setattr(trained, "load_world_model", lambda _: odd)
    refused("its actions have 2 dimensions, but the model was trained with 3")
    made = {"config": {"data": str(data), "held_out": 0.0, "seed": 0}}
    (config.run / "config.json").write_text(json.dumps(made))
    monkeypatch.setattr(trained, "load_world_model", lambda _: knower())
    refused("trained on all episodes")


def test_a_run_is_a_policy_for_collecting(config: PlanConfig) -> None:
    policy = GoalSeeker.of_run(config.run, "swm/TwoRoom-v1", 3)
    world = make_environments("swm/TwoRoom-v1", 2, frame_size=SIDE, seed=0)
    policy.set_env(world.envs)

    def acts() -> np.ndarray:
        reset(world, [0, 1])
        policy.set_seed(5)
        taken = []
        for _ in range(7):
            taken.append(policy.get_action(world.infos))
            _, _, _, _, world.infos = world.envs.step(taken[-1])
        return np.stack(taken)

    first = acts()
    assert first.shape == (7, 2, 2)
    assert np.abs(first).max() <= 1
    np.testing.assert_array_equal(first, acts())


@pytest.mark.parametrize("changes", [{}, {"recipe": "published", "precision": "bfloat16"}])
@pytest.mark.parametrize("planner", ["icem", "gradient"])
def test_an_untrained_world_model_plans(
    config: PlanConfig, monkeypatch: pytest.MonkeyPatch, changes: Any, planner: Any
) -> None:
    from isojepa.world.model import presets
    from isojepa.world.model import world_model as model

    spec = replace(
        presets.preset("lewm-micro").spec,
        history=3,
        action_dim=2 * SKIP,
        action_mean=(0.0, 0.1),
        action_std=(0.7, 0.7),
    )
    torch.manual_seed(0)
    model.export_world_model(config.run / "world_model", model.WorldModel(spec))
    monkeypatch.setattr(trained, "load_world_model", model.load_world_model)
    asked = {"pairs": 2, "budget": 25, "candidates": 20, "iterations": 2, "baselines": False}
    if planner == "gradient":
        del asked["candidates"]
    changed = replace(
        config, planner=planner, films=0, history=2, **{"candidates": None, **asked, **changes}
    )
    result = plan(changed)
    assert result.rate.pairs == 2
    assert result.plan_seconds is not None
