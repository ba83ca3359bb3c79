"""An update made again gives the same numbers, and names what is not finite."""

import math
from dataclasses import replace
from typing import Any

import pytest

from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images import views as image_views
from isojepa.encoders.modalities.modality import Batch, Views
from isojepa.encoders.replay import replay_update
from isojepa.errors import UserError
from isojepa.runs.metrics import read_metrics
from isojepa.runs.typed import read_result
from isojepa.training.recorder import Diverged
from isojepa.training.replay import ReplayConfig, ReplayResult


def test_a_step_is_made_again_to_the_same_numbers(quick: PretrainConfig) -> None:
    out = pretrain.train_encoder(replace(quick, steps=6, save_every=3))
    found = replay_update(ReplayConfig(run=out, step=6, device="cpu"))
    line = read_metrics(out)[-1]
    assert (found.step, found.since, line["step"]) == (6, 3, 6)
    assert found.terms == {name: line[name] for name in found.terms}
    assert {"loss", "invariance", "sigreg"} <= found.terms.keys()
    assert found.module is None
    assert found.backward is None
    assert len(set(found.samples)) == 16
    assert read_result(ReplayResult, out / "replay.json") == found
    with pytest.raises(UserError, match="no update diverged"):
        replay_update(ReplayConfig(run=out))
    with pytest.raises(UserError, match="the run has 6 updates"):
        replay_update(ReplayConfig(run=out, step=7))


def test_what_is_not_finite_is_found(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = image_views.VIEWING.views

    def poisoned(batch: Batch, step: int, **settings: Any) -> Views:
        views = original(batch, step, **settings)
        return views._replace(large=views.large * math.nan) if step == 5 else views

    monkeypatch.setattr(image_views.VIEWING, "views", poisoned)
    with pytest.raises(Diverged, match="isojepa replay"):
        pretrain.train_encoder(quick)
    found = replay_update(ReplayConfig(run=quick.out, device="cpu"))
    assert (found.step, found.since) == (6, 4)
    assert found.terms.get("loss") is None
    assert found.module is not None
    assert found.module.startswith("encoder.")
    assert "Conv2d" in found.module
    assert min(found.weight_norms.values()) >= 0
