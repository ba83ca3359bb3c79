"""A budget becomes updates before the first one, and a resumed run keeps them."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from isojepa.demos.images import write_digits
from isojepa.encoders import budget
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.choices import choose_sizes
from isojepa.encoders.modalities.images.images import Headers
from isojepa.encoders.plan import settle
from isojepa.encoders.pretrain import train_encoder
from isojepa.runs.record import read_run
from isojepa.training.interrupted import Interrupted


def config(home: Path, **said: Any) -> PretrainConfig:
    settings: dict[str, Any] = {
        "data": home / "digits", "out": home / "run", "device": "cpu", "batch_size": 16,
        "slices": 8, "projector_hidden": 16, "projection_dim": 8, "tensorboard": False,
        "evaluate": False, "log_every": 5,
    }  # fmt: skip
    return PretrainConfig(**(settings | said))


def write_some(folder: Path) -> None:
    """Four kinds of digits: some 570 images to train on, in batches of 128."""
    write_digits(folder)
    for name in "456789":
        shutil.rmtree(folder / name)


def test_what_is_left_of_the_minutes_is_filled() -> None:
    found = budget.fitted(10.0, 0.5, spent=20.0)
    assert found.steps == int((budget.TRAINING * 600 - 20) / 0.5)
    assert found.steps * 0.5 + 20 <= 600
    assert budget.fitted(0.1, 10.0, spent=0.0).steps == budget.FEWEST


def test_asked_updates_need_no_budget_and_nothing_said_has_twenty_minutes(tmp_path: Path) -> None:
    assert budget.minutes_of(config(tmp_path, steps=5)) is None
    assert budget.minutes_of(config(tmp_path)) == 20
    assert budget.minutes_of(config(tmp_path, minutes=3.5)) == 3.5


def test_the_median_of_the_later_updates_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 9, 10, 11, 12, 40, 41])
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    updates: Iterator[Any] = iter(range(100))
    assert budget.seconds_per_update(updates, torch.device("cpu")) == 1


def test_words_name_what_more_time_would_buy(tmp_path: Path) -> None:
    choices = choose_sizes(config(tmp_path), Headers(32, 3), gpu=False)
    plan = settle(
        config(tmp_path, batch_size=128), choices, modality="images", n_train=12_800, holdout=0.0
    )
    said = budget.Budget(20.0, 0.25, 4000).in_words(plan, 12_800, "images")
    assert "4,000 updates" in said
    assert "40.0 passes" in said
    assert "--minutes 60 would make 12,000" in said


def test_batches_are_halved_until_there_are_enough_updates() -> None:
    assert budget.batch_for(500, 256) == 256
    assert budget.batch_for(300, 256) == 128
    assert budget.batch_for(10, 256) == 64
    assert budget.batch_for(10, 100) == 100, "half of it is too small"


def test_a_slow_machine_gets_smaller_batches_unless_they_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_some(tmp_path / "digits")
    monkeypatch.setattr(budget, "fitted", lambda m, s, _spent: budget.Budget(m, s, 4))
    few = {"minutes": 1.0, "labels": None, "log_every": 4}
    train_encoder(config(tmp_path, **few, batch_size=None))
    train_encoder(config(tmp_path, **few, batch_size=128, out=tmp_path / "asked"))
    made = [read_run(tmp_path / n).config["batch_size"] for n in ("run", "asked")]
    assert made == [64, 128]


def test_a_run_by_minutes_ends_its_schedule_and_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_some(tmp_path / "digits")
    monkeypatch.setattr(budget, "fitted", lambda m, s, _spent: budget.Budget(m, s, 24))
    train_encoder(config(tmp_path, minutes=1.0))
    made = read_run(tmp_path / "run").config
    assert (made["steps"], made["minutes"]) == (24, 1.0)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["lr"] < 0.02 * made["lr"]
    with pytest.raises(Interrupted):
        train_encoder(config(tmp_path, minutes=1.0, out=tmp_path / "cut", max_minutes=1e-9))
    monkeypatch.setattr(budget, "fitted", lambda *_: pytest.fail("measured again"))
    train_encoder(config(tmp_path, out=tmp_path / "cut", resume=True, max_minutes=60.0))
    weights = [
        (tmp_path / n / "encoder" / "model.safetensors").read_bytes() for n in ("run", "cut")
    ]
    assert weights[0] == weights[1]
