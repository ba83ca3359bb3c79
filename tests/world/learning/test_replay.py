"""An update of a world model made again gives the same numbers, and names what is not finite."""

import math
from dataclasses import replace
from typing import Any

import pytest

from isojepa.errors import UserError
from isojepa.objective.lewm import LeWMLoss
from isojepa.runs.metrics import read_metrics
from isojepa.training.recorder import Diverged
from isojepa.world.learning import train
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.replay import WorldReplayConfig, replay_world_update


@pytest.fixture
def config(config: WorldTrainConfig) -> WorldTrainConfig:
    return replace(config, log_every=1)


def test_an_update_is_made_again_to_the_same_numbers(config: WorldTrainConfig) -> None:
    out = train.train_world_model(config)
    for step, since in ((6, 3), (2, 0)):
        found = replay_world_update(WorldReplayConfig(run=out, step=step, device="cpu"))
        line = next(line for line in read_metrics(out) if line["step"] == step)
        assert (found.step, found.since) == (step, since)
        assert found.terms == {name: line[name] for name in found.terms}
        assert {"loss", "prediction", "sigreg"} <= found.terms.keys()
        assert found.module is None
        assert found.backward is None
        assert len(set(found.samples)) == 16
        assert found.samples[0].startswith("episode ")
    with pytest.raises(UserError, match="no update diverged"):
        replay_world_update(WorldReplayConfig(run=out))
    with pytest.raises(UserError, match="the run has 6 updates"):
        replay_world_update(WorldReplayConfig(run=out, step=7))


def test_what_is_not_finite_is_found(
    config: WorldTrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = LeWMLoss.forward

    def poisoned(self: LeWMLoss, *tensors: Any, step: int) -> Any:
        terms = original(self, *tensors, step=step)
        return terms._replace(loss=terms.loss * math.nan) if step == 4 else terms

    monkeypatch.setattr(LeWMLoss, "forward", poisoned)
    with pytest.raises(Diverged, match="`isojepa world replay`"):
        train.train_world_model(config)
    found = replay_world_update(WorldReplayConfig(run=config.out, device="cpu"))
    assert (found.step, found.since) == (5, 3)
    assert found.terms.get("loss") is None
    assert found.backward is not None
    assert "nan" in found.backward
    assert min(found.weight_norms.values()) >= 0
