"""Curves elsewhere: read back, reached before the data, and never the end of a run."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.errors import UserError
from isojepa.runs.metrics import read_metrics
from isojepa.training.trackers import open_trackers


class FakeRun:
    """What wandb.init returns; may fail at a step."""

    def __init__(self, fails_at: int | None) -> None:
        self.lines: list[dict[str, Any]] = []
        self.fails_at, self.finished, self.asked = fails_at, False, 0
        self.config = SimpleNamespace(update=lambda *_, **__: None)

    def log(self, line: dict[str, Any], step: int) -> None:
        self.asked += 1
        if self.fails_at is not None and step >= self.fails_at:
            raise ConnectionError("the service has gone")
        self.lines.append(line)

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A stand-in for the client: `.runs` made, `.asked` of init, `.error` to raise."""
    fake = SimpleNamespace(runs=[], asked=[], error=None, fails_at=None)

    def init(**asked: Any) -> FakeRun:
        fake.asked.append(asked)
        if fake.error is not None:
            raise fake.error
        fake.runs.append(FakeRun(fake.fails_at))
        return fake.runs[-1]

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    trackers = open_trackers(tmp_path, tensorboard=True, wandb=None, stored=None)
    trackers.begin({}, purge_step=0)
    for step in (1, 2, 3):
        trackers({"step": step, "loss": 1.0 / step})
    trackers.close()
    again = open_trackers(tmp_path, tensorboard=True, wandb=None, stored=None)
    again.begin({}, purge_step=2)
    again({"step": 3, "loss": 7.0})
    again.close()
    read = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True)
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 7.0)]


def test_a_tracker_that_fails_is_told_once_and_left(
    quick: PretrainConfig, wandb: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    wandb.fails_at = 4
    quick.out.parent.mkdir(exist_ok=True)
    import logging

    logging.getLogger("isojepa").addHandler(caplog.handler)
    out = pretrain.train_encoder(replace(quick, wandb="ours"))
    assert [line["step"] for line in read_metrics(out)] == [1, 2, 4, 6, 8]
    assert [line["step"] for line in wandb.runs[0].lines] == [1, 2]
    assert wandb.runs[0].asked == 3  # at update 4 for the last time


def test_a_disk_that_is_full_costs_tensorboards_curves_only(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    out = pretrain.train_encoder(replace(quick, tensorboard=True))
    assert read_metrics(out)[-1]["step"] == 8


@pytest.mark.parametrize(
    "error", [RuntimeError("No API key configured"), TimeoutError("Timed out")], ids=str
)
def test_a_service_that_does_not_answer_is_told_before_the_data_are_read(
    quick: PretrainConfig, wandb: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    wandb.error = error
    with monkeypatch.context() as patch:
        patch.setattr(pretrain, "prepare", lambda *_a, **_k: pytest.fail("data were read first"))
        with pytest.raises(UserError, match=f"--wandb ours.*{error}.*WANDB_MODE=offline"):
            pretrain.train_encoder(replace(quick, wandb="ours"))
    pretrain.train_encoder(quick)  # the folder is no run yet, so it may be used


def test_wandb_that_is_not_installed_is_named_with_its_extra(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"pip install isojepa\[wandb\]"):
        pretrain.train_encoder(replace(quick, wandb="ours"))


def test_a_resumed_run_goes_on_in_the_same_wandb_run(
    quick: PretrainConfig, wandb: SimpleNamespace
) -> None:
    pretrain.train_encoder(replace(quick, wandb="ours"))
    assert wandb.runs[0].finished
    made = json.loads((quick.out / "config.json").read_text())
    pretrain.train_encoder(
        PretrainConfig(data=quick.data, out=quick.out, resume=True)
    )  # --wandb not said
    first, second = (asked["id"] for asked in wandb.asked)
    assert first == second == made["wandb"]


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """MLflow's own client, writing to a folder."""
    package = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    return package.MlflowClient((tmp_path / "mlruns").as_uri())


def test_mlflow_reads_what_was_written_and_a_resumed_run_goes_on(
    quick: PretrainConfig, mlflow: Any
) -> None:
    pretrain.train_encoder(replace(quick, mlflow="ours"))
    made = json.loads((quick.out / "config.json").read_text())
    run = mlflow.get_run(made["mlflow"])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == quick.out.name
    assert run.data.params["model"] == "resnet_nano"
    lines = read_metrics(quick.out)
    history = mlflow.get_metric_history(made["mlflow"], "loss")
    assert [(m.step, m.value) for m in history] == [(x["step"], x["loss"]) for x in lines]
    longer = PretrainConfig(data=quick.data, out=quick.out, resume=True, steps=10)
    pretrain.train_encoder(longer)  # --mlflow not said
    again = json.loads((quick.out / "config.json").read_text())
    assert again["mlflow"] == made["mlflow"]
    history = mlflow.get_metric_history(made["mlflow"], "loss")
    assert [m.step for m in history] == [1, 2, 4, 6, 8, 10]


def test_mlflow_that_does_not_answer_or_is_missing_is_named(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"--mlflow ours.*MLFLOW_TRACKING_URI"):
        pretrain.train_encoder(replace(quick, mlflow="ours"))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(UserError, match=r"pip install isojepa\[mlflow\]"):
        pretrain.train_encoder(replace(quick, mlflow="ours"))
