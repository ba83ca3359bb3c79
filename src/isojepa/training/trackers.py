"""Where metrics also go: TensorBoard, and Weights & Biases when asked for."""

from typing import Any, Protocol, runtime_checkable

from isojepa.errors import UserError
from isojepa.training.config import Plan, PretrainConfig, as_json


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
    """A run of the given project, resumed under the same id as the run folder."""

    def __init__(self, project: str, config: PretrainConfig, plan: Plan) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError("--wandb: run `pip install isojepa[wandb]` first") from error
        self._run = wandb.init(
            project=project, name=config.out.name, config=as_json(config, plan), dir=config.out
        )

    def __call__(self, line: dict[str, Any]) -> None:
        self._run.log(line, step=line["step"])

    def close(self) -> None:
        self._run.finish()


def open_trackers(config: PretrainConfig, plan: Plan, *, purge_step: int) -> list[Tracker]:
    """The trackers that the configuration asks for."""
    trackers: list[Tracker] = []
    if config.tensorboard:
        trackers.append(TensorBoard(str(config.out / "tensorboard"), purge_step))
    if config.wandb:
        trackers.append(WeightsAndBiases(config.wandb, config, plan))
    return trackers
