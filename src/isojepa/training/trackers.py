"""Where metrics also go: TensorBoard, and Weights & Biases or MLflow when asked for.

Curves are a convenience: what cannot be written or reached while training goes on is told once and
left out. A service that was asked for has to answer when the run begins, before the data are read.
"""

import os
import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

from isojepa.boundaries import reaching, trying
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.record import RunRecord

ANSWERS_WITHIN = "60"  # seconds; WANDB_INIT_TIMEOUT changes it


@runtime_checkable
class Tracker(Protocol):
    """Takes the lines of metrics.jsonl as they are made."""

    name: str

    def begin(self, config: Json, purge_step: int) -> None:
        """Show the settled configuration; drop an earlier attempt's curves from there on."""
        ...

    def __call__(self, line: Json) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """One event file in RUN/tensorboard, written as the lines come: no thread fails unseen."""

    name = "TensorBoard's curves"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, _config: Json, purge_step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((self._folder / name).open("wb"))
        self._write(file_version="brain.Event:2")
        start = SessionLog(status=SessionLog.START)
        self._write(step=purge_step + 1, session_log=start)

    def __call__(self, line: Json) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in line.items()
            if name != "step"
        ]
        self._write(step=line["step"], summary=Summary(value=values))

    def close(self) -> None:
        self._records.close()

    def _write(self, **event: object) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
        self._records.flush()


class WeightsAndBiases:
    """A run of the given project, under the run folder's name; the same one when resumed."""

    name = "Weights & Biases"

    def __init__(self, project: str, out: Path, identity: str | None) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError("--wandb: run `pip install isojepa[wandb]` first") from error
        self.identity = identity or secrets.token_hex(4)
        os.environ.setdefault("WANDB_INIT_TIMEOUT", ANSWERS_WITHIN)
        remedy = (
            "run `wandb login` first, set WANDB_MODE=offline to write the curves to the run's "
            "folder and send them later, or leave --wandb out"
        )
        with reaching(f"--wandb {project}: Weights & Biases", remedy):
            self._run = wandb.init(
                project=project, name=out.name, dir=str(out), id=self.identity, resume="allow"
            )

    def begin(self, config: Json, _purge_step: int) -> None:
        self._run.config.update(config, allow_val_change=True)

    def __call__(self, line: Json) -> None:
        self._run.log(line, step=line["step"])

    def close(self) -> None:
        self._run.finish()


class MLflow:
    """A run of the given experiment, under the run folder's name; the same one when resumed.

    The server is the one that MLFLOW_TRACKING_URI names; without it, files in the working folder.
    """

    name = "MLflow"

    def __init__(self, experiment: str, out: Path, identity: str | None) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise UserError("--mlflow: run `pip install isojepa[mlflow]` first") from error
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # 7 take minutes
        remedy = (
            "start the server that MLFLOW_TRACKING_URI names, unset it to write files here, or "
            "leave --mlflow out"
        )
        with reaching(f"--mlflow {experiment}: MLflow", remedy):
            self._client = MlflowClient()
            if identity is None:
                found = self._client.get_experiment_by_name(experiment)
                home = found.experiment_id if found else self._client.create_experiment(experiment)
                identity = self._client.create_run(home, run_name=out.name).info.run_id
            self._client.update_run(identity, status="RUNNING")
        self.identity: str = identity

    def begin(self, config: Json, _purge_step: int) -> None:
        known = self._client.get_run(self.identity).data.params  # which cannot be changed
        for name, value in config.items():
            if name not in known:
                self._client.log_param(self.identity, name, str(value)[:500])

    def __call__(self, line: Json) -> None:
        from mlflow.entities import Metric

        now, step = time.time_ns() // 10**6, line["step"]
        values = {k: v for k, v in line.items() if k != "step"}
        metrics = [Metric(k, float(v), now, step) for k, v in values.items()]
        self._client.log_batch(self.identity, metrics)

    def close(self) -> None:
        self._client.set_terminated(self.identity)


class Trackers:
    """All trackers of a run; one that fails is told of and left out from then on."""

    def __init__(
        self, trackers: list[Tracker], *, wandb: str | None = None, mlflow: str | None = None
    ) -> None:
        self._open = trackers
        self.wandb, self.mlflow = wandb, mlflow
        """Identities of the services' runs, for config.json."""

    def begin(self, config: Json, *, purge_step: int) -> None:
        """Show the settled configuration beside the curves.

        Args:
            purge_step: update from which on an earlier attempt's curves are dropped.
        """
        for tracker in tuple(self._open):
            self._do(tracker, lambda one: one.begin(config, purge_step))

    def __call__(self, line: Json) -> None:
        for tracker in tuple(self._open):
            self._do(tracker, lambda one: one(line))

    def close(self) -> None:
        for tracker in tuple(self._open):
            self._do(tracker, lambda one: one.close())
        self._open = []

    def _do(self, tracker: Tracker, action: Callable[[Tracker], object]) -> None:
        done = False
        with trying(tracker.name):
            action(tracker)
            done = True
        if not done:
            self._open.remove(tracker)


def open_trackers(
    out: Path,
    *,
    tensorboard: bool,
    wandb: str | None,
    mlflow: str | None = None,
    stored: RunRecord | None,
) -> Trackers:
    """The trackers that a run asks for.

    Args:
        out: the run's folder, which exists.
        wandb: a Weights & Biases project.
        mlflow: an MLflow experiment.
        stored: the record of a run to go on with, whose runs at the services are gone on with.

    Raises:
        UserError: if a service's client is not installed, it has no key or does not answer.
    """
    trackers: list[Tracker] = [TensorBoard(out / "tensorboard")] if tensorboard else []
    known = RunRecord(config={}) if stored is None else stored
    identities = {"wandb": known.wandb, "mlflow": known.mlflow}
    for name, kind, place in (("wandb", WeightsAndBiases, wandb), ("mlflow", MLflow, mlflow)):
        if place:
            service: WeightsAndBiases | MLflow = kind(place, out, identities[name])
            trackers.append(service)
            identities[name] = service.identity
    return Trackers(trackers, **identities)
