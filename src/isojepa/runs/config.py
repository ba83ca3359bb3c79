"""What every run can be told, whatever it trains."""

from abc import ABC
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import ClassVar, Literal

from isojepa.devices import Device
from isojepa.runs.settings import Said, as_paths, require, require_bounds

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class RunConfig(ABC):
    """The settings that all kinds of training share; `remembers` shows them after a kind's own."""

    said: InitVar[Said] = None
    data: Path | tuple[Path, ...]
    """What to train on."""
    out: Path
    """Folder to write the run to. An existing one is refused without --resume or --overwrite."""

    seed: int = 0
    """Of everything random: split, order, views, weights, directions, dropout."""
    device: Device = "auto"
    """Where to train; auto: a GPU if there is one."""
    devices: int = 1
    """Number of devices, each a process; --batch-size is shared among them. Under srun or torchrun,
    the number of processes that it starts on all nodes."""
    precision: Precision = "auto"
    """auto: bf16-mixed on GPUs that have it, else 32-true."""

    log_every: int = 10
    """Updates between two lines of metrics.jsonl."""
    save_every: int | None = None
    """Updates between two checkpoints. Default: a tenth of the steps, but 100 to 1,000."""
    save_minutes: float | None = None
    """Most minutes between two checkpoints, whatever --save-every says."""
    max_minutes: float | None = None
    """Save and stop after so many minutes, for queues that end jobs; go on with --resume."""
    keep: int = 2
    """Checkpoints kept, besides checkpoints/best where there is one."""
    tensorboard: bool = True
    """Write event files to OUT/tensorboard."""
    wandb: str | None = None
    """Weights & Biases project to log to (needs isojepa[wandb])."""
    mlflow: str | None = None
    """MLflow experiment to log to, on the server that MLFLOW_TRACKING_URI names (needs
    isojepa[mlflow])."""
    resume: bool = False
    """Go on from OUT's last checkpoint, to the same result as an uninterrupted run. Settings stay
    as the run has them; those given are compared with them."""
    overwrite: bool = False
    """Delete OUT first."""

    may_differ: ClassVar[frozenset[str]] = frozenset({
        "out", "data", "resume", "overwrite", "device", "tensorboard", "wandb", "mlflow", "keep",
        "log_every", "save_every", "save_minutes", "max_minutes",
    })  # fmt: skip
    """Settings that a run that is gone on with may be given anew."""
    replay: ClassVar[str] = ""
    """The command that makes an update again, where there is one."""

    def __post_init__(self, _said: Said) -> None:
        as_paths(self, "data", "out")
        at_least_one = ("devices", "log_every", "save_every", "keep")
        require_bounds(self, at_least_one, {"devices": 10**5, "seed": 2**63 - 1})
        for minutes in (self.save_minutes, self.max_minutes):
            positive = minutes is None or minutes > 0
            require(positive, "--save-minutes and --max-minutes must be positive")
        require(self.seed >= 0, "--seed must not be negative")
        require(not (self.resume and self.overwrite), "give --resume or --overwrite, not both")
