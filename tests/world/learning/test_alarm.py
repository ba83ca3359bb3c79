"""World models that are made to fail are named, healthy ones raise nothing, and lambda is found."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from isojepa.embeddings.alarm import STATES
from isojepa.embeddings.monitor import Collapsed, read_alarms
from isojepa.errors import UserError
from isojepa.objective.automatic import START
from isojepa.pages.world.page import write_world_page
from isojepa.runs.metrics import read_metrics
from isojepa.world.learning import train
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.model.world_model import WorldModel


@pytest.fixture
def config(config: WorldTrainConfig) -> WorldTrainConfig:
    """Ten looks, one an update."""
    return replace(config, steps=10, log_every=1, save_every=None, evaluate_every=10)


@torch.no_grad()
def on_a_point(world: WorldModel) -> None:
    for parameter in world.projector.parameters():
        parameter.zero_().requires_grad_(False)


@torch.no_grad()
def on_a_line(world: WorldModel) -> None:
    last = world.projector[-1]
    last.weight.copy_(last.weight[:1].expand_as(last.weight).clone()).requires_grad_(False)


@torch.no_grad()
def wide(world: WorldModel) -> None:
    """From the first update on as far apart as SIGReg wants embeddings."""
    for x in world.projector[-1].parameters():
        x.mul_(2.5)


@pytest.mark.parametrize(
    ("settings", "spoil", "expected"),
    [
        ({}, on_a_point, "complete collapse"),
        ({"lr": 1e-9}, on_a_line, "dimensional collapse"),
        ({"lambd": 1e5}, wide, "lambda far too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_fails_is_named(
    config: WorldTrainConfig,
    settings: dict,
    spoil: Callable[[WorldModel], None] | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    build = train.build_world

    def spoilt(begun: train.OpenTraining) -> WorldModel:
        world = build(begun)
        if spoil is not None:
            spoil(world)
        return world

    monkeypatch.setattr(train, "build_world", spoilt)
    config = replace(config, **settings)
    train.train_world_model(config)
    assert [alarm.state for alarm in read_alarms(config.out)][:1] == [expected]
    assert read_metrics(config.out)[-1]["alarm"] == STATES.index(expected)
    assert f"Alarm during training: {expected}" in write_world_page(config.out).read_text()


def test_it_stops_if_asked(config: WorldTrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    build = train.build_world

    def spoilt(begun: train.OpenTraining) -> WorldModel:
        world = build(begun)
        on_a_point(world)
        return world

    monkeypatch.setattr(train, "build_world", spoilt)
    with pytest.raises(Collapsed, match=r"update \d: complete collapse: .*Training stopped"):
        train.train_world_model(replace(config, on_collapse="stop"))


def test_healthy_runs_raise_nothing(config: WorldTrainConfig) -> None:
    config = replace(config, steps=30, log_every=3)
    train.train_world_model(config)
    assert not read_alarms(config.out)
    lambdas = [line["lambd"] for line in read_metrics(config.out)]
    assert lambdas == [pytest.approx(0.09)] * len(lambdas)


def test_lambda_is_found(config: WorldTrainConfig) -> None:
    config = replace(config, lambd="auto", log_every=3)
    train.train_world_model(config)
    lambdas = [line["lambd"] for line in read_metrics(config.out)]
    assert lambdas[0] == pytest.approx(START)
    assert 1e-3 <= lambdas[-1] <= 0.5
    assert lambdas[-1] != lambdas[0]
    assert json.loads((config.out / "config.json").read_text())["config"]["lambd"] == "auto"


def test_lambda_is_found_for_sigreg_alone(config: WorldTrainConfig) -> None:
    for wrong in ({"regulariser": "vicreg"}, {"scale": "decoupled"}, {"frozen": "pooled"}):
        with pytest.raises(UserError, match="--lambd auto"):
            replace(config, lambd="auto", **wrong)
    with pytest.raises(UserError, match="--batch-size of at least 8"):
        train.train_world_model(replace(config, lambd="auto", batch_size=4))
