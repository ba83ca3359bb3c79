"""RUN/config.json: what a run was told, on what it was trained, and by which command."""

from dataclasses import dataclass, field
from pathlib import Path

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.folder import Provenance
from isojepa.runs.typed import Inline, Sparse, read_result

CONFIG = "config.json"
DIVERGED = "diverged.json"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run says of itself; `write_result` writes it."""

    config: Json
    """The settled configuration, by the names of its fields."""
    data: Json = field(default_factory=dict)
    """What was trained on: a dataclass of each kind of run."""
    made: Inline[Provenance] = field(default_factory=Provenance)
    seconds: Sparse[float | None] = None
    """Of training, once it has ended."""
    wandb: Sparse[str | None] = None
    """Identity of the Weights & Biases run; likewise `mlflow`."""
    mlflow: Sparse[str | None] = None
    stopped: Sparse[str | None] = None
    """Why it ended before anything was saved."""
    policy: Sparse[Json | None] = None
    """Sizes of a cloned policy."""


def read_run(run: Path) -> RunRecord:
    """The contents of RUN/config.json.

    Raises:
        UserError: if there is none or it is damaged.
    """
    if not (run / CONFIG).is_file():
        raise UserError(f"{shown(run)}: not a run folder ({CONFIG} is missing)")
    return read_result(RunRecord, run / CONFIG)


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """RUN/diverged.json: where a run stopped that could not go on."""

    step: int
    """Of the first loss or weight that is not finite, counted from 1."""
    what: str
    lr: float
    grad_norms: tuple[float, ...]
    """Of the updates before it since the last line of metrics."""


def read_divergence(run: Path) -> Divergence | None:
    """Where a run diverged; None if it did not.

    Raises:
        UserError: if the file is damaged.
    """
    return read_result(Divergence, run / DIVERGED) if (run / DIVERGED).is_file() else None
