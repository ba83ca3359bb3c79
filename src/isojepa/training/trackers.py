"""Where metrics also go: TensorBoard, and Weights & Biases when asked for."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from isojepa.errors import UserError


@runtime_checkable
class Tracker(Protocol):
    """Takes the lines of metrics.jsonl as they are made."""

    def __call__(self, line: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self, folder: str, purge_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder, purge_step=purge_step + 1)

    def __call__(self, line: dict[str, Any]) -> None:
        for name, value in line.items():
            if name != "step":
                self._writer.add_scalar(name, value, line["step"])

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A run of the given project, under the run folder's name."""

    def __init__(self, project: str, out: Path, config: dict[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError("--wandb: run `pip install isojepa[wandb]` first") from error
        self._run = wandb.init(project=project, name=out.name, config=config, dir=out)

    def __call__(self, line: dict[str, Any]) -> None:
        self._run.log(line, step=line["step"])

    def close(self) -> None:
        self._run.finish()


def open_trackers(out: Path, config: dict[str, Any], *, purge_step: int) -> list[Tracker]:
    """The trackers that a run's settled configuration asks for.

    Args:
        out: the run's folder.
        config: its settings `tensorboard` and `wandb` count; all are shown beside the curves.
        purge_step: update from which on an earlier attempt's curves are dropped.
    """
    trackers: list[Tracker] = []
    if config["tensorboard"]:
        trackers.append(TensorBoard(str(out / "tensorboard"), purge_step))
    if config["wandb"]:
        trackers.append(WeightsAndBiases(config["wandb"], out, config))
    return trackers
