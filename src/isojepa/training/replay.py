"""An update of a run again, under a magnifying glass: where does a number stop being one?

Everything random is a function of seed and step, so the update at which a run diverged can be made
again from the last checkpoint before it, to the same numbers on the same kind of machine.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
import tyro
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from isojepa.boundaries import reading, shown
from isojepa.devices import Device
from isojepa.errors import UserError
from isojepa.progress import bar
from isojepa.runs.checkpoints import Checkpoint, list_checkpoints, load_checkpoint
from isojepa.runs.config import RunConfig
from isojepa.runs.record import DIVERGED, RunRecord, read_divergence
from isojepa.runs.resume import resumed
from isojepa.runs.typed import write_result
from isojepa.training.launch import start_fabric
from isojepa.training.optimise import Terms, Update
from isojepa.training.recorder import Stateful

log = logging.getLogger(__name__)
Config = TypeVar("Config", bound=RunConfig)
SHOWN = 5
REPLAY = "replay.json"


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Make one update of a run again and say what in it is not finite; writes RUN/replay.json."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    step: int | None = None
    """Update, counted from 1. Default: the one at which the run diverged."""
    device: Device = "auto"
    """Where to compute; the same kind as in training gives the same numbers."""

    def __post_init__(self) -> None:
        if self.step is not None and self.step < 1:
            raise UserError("--step must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """What one update did: RUN/replay.json."""

    step: int
    """Counted from 1."""
    since: int
    """Update of the checkpoint that it was made again from; 0 for the initial weights."""
    terms: dict[str, float | None]
    """The loss and its terms; None where not finite. Empty if the update did not get that far."""
    module: str | None
    """The first module whose output is not finite."""
    backward: str | None
    """What torch says of the first gradient that is not finite."""
    samples: tuple[str, ...]
    """The batch: names of files, or episodes and their first steps."""
    weight_norms: dict[str, float]
    """Of the parameters before the update, the largest first; of those that are not finite, -1."""


def opened(config: ReplayConfig, kind: type[Config]) -> tuple[Config, RunRecord | None, Fabric]:
    """The run's settings and record, and where to compute."""
    said = frozenset({"out", "resume", "device"})
    asked = kind(said=said, data=Path(), out=config.run, resume=True, device=config.device)
    settings, stored = resumed(asked)
    return settings, stored, start_fabric(settings.device, 1, settings.precision)


def asked_step(config: ReplayConfig, steps: int) -> int:
    """The update to make again, of a run of so many.

    Raises:
        UserError: if none was asked for and none diverged, or the run has no such update.
    """
    step = config.step
    if step is None:
        found = read_divergence(config.run)
        if found is None:
            raise UserError(
                f"{shown(config.run)}: no update diverged ({DIVERGED} is missing); give --step"
            )
        step = found.step
    if step > steps:
        raise UserError(f"--step {step}: the run has {steps} updates")
    return step


def checkpoint_before(run: Path, step: int) -> Checkpoint | None:
    """The newest intact checkpoint from which update `step` can be made; None for the beginning."""
    for path in reversed(list_checkpoints(run / "checkpoints")):
        if int(path.name.removeprefix("step-")) < step:
            try:
                return load_checkpoint(path)
            except UserError as error:
                log.warning("checkpoint left aside: %s", error)
    return None


def replayed(
    run: Path,
    step: int,
    model: nn.Module,
    others: Mapping[str, Stateful | None],
    updates: Callable[[int], Iterator[Update[object, Terms]]],
    samples: tuple[str, ...],
) -> ReplayResult:
    """Make the updates from the checkpoint before to `step`, and look into the last one.

    Args:
        model: with its initial weights.
        others: what was saved with it, by name.
        updates: number of updates already made -> those that follow.
        samples: what update `step` is made of.
    """
    checkpoint = checkpoint_before(run, step)
    since = 0 if checkpoint is None else checkpoint.step
    if checkpoint is not None:
        with reading(run, "a checkpoint of what config.json describes"):
            model.load_state_dict(checkpoint.weights)
            for name, other in others.items():
                if other is not None:
                    other.load_state_dict(checkpoint.state[name])
    coming = updates(since)
    with bar(step - since, f"updates from {since}") as advance:
        for _ in islice(coming, step - 1 - since):
            advance(1)
        norms = {name: float(p.detach().norm()) for name, p in model.named_parameters()}
        terms: dict[str, float | None] = {}
        backward = None
        with first_not_finite(model) as modules, torch.autograd.set_detect_anomaly(True):
            try:
                made = next(coming).terms
                terms = {k: _finite(x.item()) for k, x in made._asdict().items() if x.ndim == 0}
            except RuntimeError as error:
                if "nan values" not in str(error):
                    raise
                backward = str(error).splitlines()[0]
        advance(1)
    result = ReplayResult(
        step=step,
        since=since,
        terms=terms,
        module=modules[0] if modules else None,
        backward=backward,
        samples=samples,
        weight_norms=_largest_first(norms),
    )
    write_result(run / REPLAY, result)
    _say(result, run)
    return result


@contextmanager
def first_not_finite(model: nn.Module) -> Iterator[list[str]]:
    """The names of the modules whose outputs are not finite, in the order in which they occur."""
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            tensors = (x for x in tree_leaves(output) if isinstance(x, Tensor))
            if not all(bool(x.isfinite().all()) for x in tensors if x.is_floating_point()):
                found.append(f"{name} ({type(module).__name__})")

        return module.register_forward_hook(hook)

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if name:
                stack.callback(watch(name, module).remove)
        yield found


def _say(result: ReplayResult, run: Path) -> None:
    log.info(
        "update %d, made again from %s: %s",
        result.step,
        f"the checkpoint of update {result.since}" if result.since else "the initial weights",
        ", ".join(
            f"{name} {'not finite' if x is None else format(x, '.4g')}"
            for name, x in result.terms.items()
        )
        or "no loss",
    )
    log.info("first module whose output is not finite: %s", result.module or "none")
    log.info("first gradient that is not finite: %s", result.backward or "none")
    largest = list(result.weight_norms.items())[:SHOWN]
    log.info("largest weights: %s", ", ".join(f"{name} {norm:.3g}" for name, norm in largest))
    some = ", ".join(shown(name) for name in result.samples[:SHOWN])
    log.info("%d samples: %s, ...; all in %s", len(result.samples), some, shown(run / REPLAY))


def _largest_first(norms: Mapping[str, float]) -> dict[str, float]:
    known = {name: x if math.isfinite(x) else -1.0 for name, x in norms.items()}
    return dict(sorted(known.items(), key=lambda item: -item[1]))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
