"""`isojepa world plan` on the platform's TwoRoom, with a model that knows positions exactly."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isojepa.errors import UserError
from isojepa.runs.typed import read_result
from isojepa.world.episodes.action_scale import ActionScale

pytest.importorskip("stable_worldmodel")
from isojepa.world.collection import collect
from isojepa.world.control import control
from isojepa.world.control.control import PlanConfig, load_policy
from isojepa.world.control.results import ControlResult
from isojepa.world.learning import trained

SKIP, SIDE = 5, 64


class Knower(nn.Module):
    """An embedding is the red dot's position in pixels of 224; walls are not known."""

    frame_size, frame_skip, history, embedding_dim, action_dim = SIDE, SKIP, 1, 2, 2 * SKIP

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.scale = ActionScale(torch.zeros(2), torch.full((2,), 0.7))

    def encode(self, frames: Tensor) -> Tensor:
        x = frames.float()
        red = (x[:, :, 0] - x[:, :, 1]).clamp(min=0)
        at = torch.arange(SIDE) * (224 / SIDE) + 1.25
        total = red.sum((-2, -1)).clamp(min=1)
        across, down = (red.sum(-2) * at).sum(-1), (red.sum(-1) * at).sum(-1)
        return torch.stack([across / total, down / total], -1)

    def rollout(self, z: Tensor, past_actions: Tensor, candidates: Tensor) -> Tensor:
        del past_actions
        steps = (0.7 * candidates).unflatten(-1, (SKIP, 2)).sum(-2)
        return z[:, -1][:, None, None] + 5 * steps.cumsum(2)

    def for_planning(self, dtype: torch.dtype) -> "Knower":
        assert dtype == torch.float32
        return self


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rooms") / "rooms.h5"
    collect.run(
        collect.CollectConfig(env="swm/TwoRoom-v1", out=path, episodes=12, workers=1, steps=60)
    )
    return path


@pytest.fixture
def config(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanConfig:
    monkeypatch.setenv("XDG_CACHE_HOME", str(data.parent / "cache"))
    monkeypatch.setattr(trained, "load_world_model", lambda _: Knower())
    made = {"config": {"data": str(data), "held_out": 0.5, "seed": 0}}
    (tmp_path / "config.json").write_text(json.dumps(made))
    return PlanConfig(run=tmp_path, pairs=12, horizon=3, candidates=60, films=2)


def test_the_whole_evaluation(config: PlanConfig) -> None:
    result = control.run(config)
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


def test_protocols_draw_from_their_episodes(config: PlanConfig) -> None:
    strict = control.prepare(config)
    published = control.prepare(
        replace(config, protocol="published", recipe="published", horizon=None)
    )
    assert len(strict.episodes) == 6
    assert len(published.episodes) == 12
    assert (published.recipe.cost, published.recipe.execute) == ("last", 5)


def test_a_data_set_never_seen_is_held_out_as_a_whole(config: PlanConfig, data: Path) -> None:
    other = data.with_name("other.h5")
    if not other.exists():
        other.write_bytes(data.read_bytes())
    assert len(control.prepare(replace(config, data=other)).episodes) == 12


def test_geodesic_distance_is_built_from_training_episodes(config: PlanConfig) -> None:
    prepared = control.prepare(replace(config, distance="geodesic", cost="path"))
    assert prepared.graph is not None
    scored = control.success_of(prepared._replace(config=replace(config, pairs=4)), seed=1)
    assert scored.success.shape == (4,)
    assert scored.evaluations > 60


def test_bad_input_is_named(
    config: PlanConfig, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(match: str, **changes: Any) -> None:
        with pytest.raises(UserError, match=match):
            control.prepare(replace(config, **changes))

    refused("--horizon 11: 11 blocks of 5 steps are 55, beyond the budget of 50", horizon=11)
    refused("did you mean swm/TwoRoom-v1", env="swm/TwoRoms-v1")
    refused("--execute 4", execute=4)
    refused("--history 2: the model sees at most 1", history=2)
    refused("not a run folder", run=config.run / "nowhere")
    with pytest.raises(UserError, match="--pairs must be at least 1"):
        replace(config, pairs=0)
    with pytest.raises(UserError, match="--action-penalty must not be negative"):
        replace(config, action_penalty=-1.0)
    odd = Knower()
    odd.action_dim = 15  # type: ignore[misc]
    monkeypatch.setattr(trained, "load_world_model", lambda _: odd)
    refused("its actions have 2 dimensions, but the model was trained with 3")
    made = {"config": {"data": str(data), "held_out": 0.0, "seed": 0}}
    (config.run / "config.json").write_text(json.dumps(made))
    monkeypatch.setattr(trained, "load_world_model", lambda _: Knower())
    refused("trained on all episodes")


def test_a_run_is_a_policy_for_collecting(config: PlanConfig) -> None:
    policy = load_policy(config.run, "swm/TwoRoom-v1", 3)
    world = collect.make_environments("swm/TwoRoom-v1", 2, frame_size=SIDE, seed=0)
    policy.set_env(world.envs)

    def acts() -> np.ndarray:
        collect.reset(world, [0, 1])
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
    result = control.run(changed)
    assert result.rate.pairs == 2
    assert result.plan_seconds is not None
