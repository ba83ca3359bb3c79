"""A step of a run again, under a magnifying glass: where does a number stop being one?

Everything random is a function of seed and step, so the update at which a run diverged can be made
again from the last checkpoint before it, to the same numbers on the same kind of machine.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import tyro
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from isojepa.boundaries import reading, shown
from isojepa.caches.folder import caching
from isojepa.devices import Device
from isojepa.encoders.compute import build_weight
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.prepare import Prepared, build_encoder, prepare
from isojepa.encoders.pretrain import build_compute, build_jepa, updates_from
from isojepa.errors import UserError
from isojepa.progress import bar
from isojepa.runs.checkpoints import Checkpoint, list_checkpoints, load_checkpoint
from isojepa.runs.record import DIVERGED, read_divergence
from isojepa.runs.resume import resumed
from isojepa.runs.typed import write_result
from isojepa.training.batches import batch_places
from isojepa.training.launch import start_fabric
from isojepa.training.optimise import adamw

log = logging.getLogger(__name__)
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """Make one update of a run again and say what in it is not finite; writes RUN/replay.json."""

    run: tyro.conf.Positional[Path]
    """Folder of a run of `isojepa pretrain`."""
    step: int | None = None
    """Update, counted from 1. Default: the one at which the run diverged."""
    device: Device = "auto"
    """Where to compute; the same kind as in training gives the same numbers."""

    def __post_init__(self) -> None:
        if self.step is not None and self.step < 1:
            raise UserError("--step must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ReplayResult:
    """What one update did; None where it did not get that far, or is not finite."""

    step: int
    """Counted from 1."""
    since: int
    """Update of the checkpoint that it was made again from; 0 for the initial weights."""
    loss: float | None
    invariance: float | None
    sigreg: float | None
    module: str | None
    """The first module whose output is not finite."""
    backward: str | None
    """What torch says of the first gradient that is not finite."""
    images: tuple[str, ...]
    """The batch, by the names of its files."""
    weight_norms: dict[str, float]
    """Of the parameters before the update, the largest first; of those that are not finite, -1."""


def run(config: ReplayConfig) -> ReplayResult:
    """Make the update again, print what was found, and write RUN/replay.json.

    Raises:
        UserError: if the run, its images or its checkpoints cannot be read.
    """
    step = config.step or _diverged(config.run)
    said = frozenset({"out", "resume", "device"})
    asked = PretrainConfig(
        said=said, data=Path(), out=config.run, resume=True, device=config.device
    )
    settings, stored = resumed(asked)
    fabric = start_fabric(settings.device, 1, settings.precision)
    with caching(settings.cache, off=settings.no_cache):
        prepared = prepare(settings, stored, gpu=fabric.device.type == "cuda")
    if step > prepared.plan.steps:
        raise UserError(f"--step {step}: the run has {prepared.plan.steps} updates")
    result = replayed(prepared, fabric, step, checkpoint_before(config.run, step))
    write_result(config.run / "replay.json", result)
    say_what_was_found(result)
    log.info("%s", config.run / "replay.json")
    return result


def replayed(
    prepared: Prepared, fabric: Fabric, step: int, checkpoint: Checkpoint | None
) -> ReplayResult:
    """Make the updates from the checkpoint to `step`, and look into the last one."""
    config, plan, data, _ = prepared
    train_on = torch.from_numpy(np.flatnonzero(~data.held_out))
    encoder = build_encoder(prepared, train_on, None)
    jepa = build_jepa(prepared, encoder, fabric)
    optimiser = adamw(
        jepa, lr=plan.choices.lr, weight_decay=config.weight_decay, precision=config.precision
    )
    model, optimiser = fabric.setup(jepa, optimiser)
    since = 0 if checkpoint is None else checkpoint.step
    if checkpoint is not None:
        with reading(config.out, "a checkpoint of what config.json describes"):
            jepa.load_state_dict(checkpoint.weights)
            optimiser.load_state_dict(checkpoint.state["optimiser"])
    weight = build_weight(config, plan)
    if weight is not None:
        weight.to(fabric.device)
        if checkpoint is not None:
            weight.load_state_dict(checkpoint.state["lambda"])
    compute = build_compute(prepared, encoder, model, fabric, weight)
    updates = updates_from(prepared, train_on, fabric, model, optimiser, compute, since)
    with bar(step - since, f"updates from {since}") as advance:
        for _ in islice(updates, step - 1 - since):
            advance(1)
        norms = {name: float(p.detach().norm()) for name, p in jepa.named_parameters()}
        numbers: dict[str, float] = {}
        backward = None
        with first_not_finite(jepa) as module, torch.autograd.set_detect_anomaly(True):
            try:
                terms = next(updates).terms
                numbers = {k: x.item() for k, x in terms._asdict().items() if x.ndim == 0}
            except RuntimeError as error:
                if "nan values" not in str(error):
                    raise
                backward = str(error).splitlines()[0]
        advance(1)
    places = batch_places(len(train_on), batch_size=plan.batch_size, seed=config.seed)(step - 1)
    ordered = sorted(norms.items(), key=lambda item: -item[1] if math.isfinite(item[1]) else -1e300)
    return ReplayResult(
        step=step,
        since=since,
        loss=_finite(numbers.get("loss")),
        invariance=_finite(numbers.get("invariance")),
        sigreg=_finite(numbers.get("sigreg")),
        module=module[0] if module else None,
        backward=backward,
        images=tuple(data.listing.names[i] for i in train_on[places].tolist()),
        weight_norms={n: x if math.isfinite(x) else -1.0 for n, x in ordered},
    )


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


def checkpoint_before(run: Path, step: int) -> Checkpoint | None:
    """The newest intact checkpoint from which update `step` can be made; None for the beginning."""
    for path in reversed(list_checkpoints(run / "checkpoints")):
        if int(path.name.removeprefix("step-")) < step:
            try:
                return load_checkpoint(path)
            except UserError as error:
                log.warning("checkpoint left aside: %s", error)
    return None


def say_what_was_found(result: ReplayResult) -> None:
    """Print the update in a few lines."""
    log.info(
        "update %d, made again from %s: loss %s, invariance %s, SIGReg %s",
        result.step,
        f"the checkpoint of update {result.since}" if result.since else "the initial weights",
        *("not finite" if x is None else f"{x:.4g}" for x in (
            result.loss, result.invariance, result.sigreg,
        )),
    )  # fmt: skip
    log.info("first module whose output is not finite: %s", result.module or "none")
    log.info("first gradient that is not finite: %s", result.backward or "none")
    largest = list(result.weight_norms.items())[:SHOWN]
    log.info("largest weights: %s", ", ".join(f"{name} {norm:.3g}" for name, norm in largest))
    some = ", ".join(shown(name) for name in result.images[:SHOWN])
    log.info("%d images, all in replay.json: %s, ...", len(result.images), some)


def _diverged(run: Path) -> int:
    found = read_divergence(run)
    if found is None:
        raise UserError(f"{shown(run)}: no update diverged ({DIVERGED} is missing); give --step")
    return found.step


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
