"""Pre-training: a folder of images in, a run folder with a trained encoder out."""

import logging
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from isojepa.data.batches import Batch, training_batches
from isojepa.data.preview import write_preview
from isojepa.data.views import Views, draw_parameters, make_views
from isojepa.errors import UserError
from isojepa.models.encoder import check_model_name
from isojepa.models.jepa import JEPA
from isojepa.objective.lejepa import LeJEPALoss
from isojepa.progress import bar, set_up_logging
from isojepa.run_folder import make_run_folder, provenance, read_run
from isojepa.training.config import PretrainConfig, view_recipe
from isojepa.training.loop import optimise, parameter_groups
from isojepa.training.prepare import announce, build_encoder, prepare
from isojepa.training.session import Session, online_probe, scheduled_rate

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The user, or the machine, asked the run to stop; it was saved first."""

    def __init__(self, number: int, step: int, run: Path) -> None:
        super().__init__(f"stopped at update {step}; go on with --resume --out {run}")
        self.number = number


def run(config: PretrainConfig, backbone: nn.Module | None = None) -> Path:
    """Train an encoder and write the run folder; returns its path.

    Args:
        config: what to do; fields left at None are derived from the data.
        backbone: a module (n, c, h, w) -> (n, d) to train in place of a timm model.

    Raises:
        UserError: for anything the user can put right; what was saved stays.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    if config.model is not None:
        check_model_name(config.model)
    fabric = start_fabric(config)
    leads = fabric.global_rank == 0
    if config.preview is None and leads:
        make_run_folder(config.out, resume=config.resume, overwrite=config.overwrite)
        set_up_logging(config.out / "log.txt")
    elif not leads:
        logging.getLogger("isojepa").setLevel(logging.WARNING)  # one voice is enough
    fabric.barrier()
    stored = read_run(config.out) if config.resume else None

    # Data, and everything derived from them
    prepared = prepare(config, stored, gpu=fabric.device.type == "cuda")
    config, plan, images = prepared
    train = torch.from_numpy(np.flatnonzero(~images.held_out))
    encoder = build_encoder(prepared, train, backbone)
    recipe = view_recipe(config, plan)
    if recipe.n_local and not encoder.accepts(recipe.local_size):
        log.info("%s reads one size only: local views are resized to it", plan.model)
        recipe = replace(recipe, local_size=recipe.global_size)
    picture = config.preview or config.out / "views.png"
    if leads and stored is None:
        write_preview(picture, images, train, recipe, seed=config.seed)
    announce(prepared)
    if config.preview is not None:
        log.info("views written to %s; nothing was trained", picture)
        return picture

    # Model, objective, optimiser
    jepa = JEPA(encoder, plan.projector_hidden, config.projection_dim)
    jepa = jepa.to(memory_format=torch.channels_last)  # up to twice as fast for convolutions
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        jepa = nn.SyncBatchNorm.convert_sync_batchnorm(jepa)
    objective = LeJEPALoss(
        plan.global_views,
        config.lambd,
        slices=config.slices,
        knots=config.knots,
        t_max=config.t_max,
        seed=config.seed,
        directions=config.directions,
    )
    optimiser = torch.optim.AdamW(parameter_groups(jepa, config.weight_decay), lr=plan.lr)
    model, optimiser = fabric.setup(jepa, optimiser)
    probe = online_probe(images, encoder.embedding_dim, fabric.device)
    session = Session(prepared, jepa, optimiser, probe, fabric)
    start = session.begin(provenance(fabric.device), stored)

    def views_of(batch: Batch, step: int) -> Views:
        parameters = draw_parameters(
            recipe, batch.aspects, seed=config.seed, step=step, first=batch.first, total=batch.total
        )
        squares = batch.images.to(fabric.device, non_blocking=True)
        return make_views(squares, parameters, recipe, encoder.spec.mean, encoder.spec.std)

    # Updates, and what happens between them
    batches = training_batches(
        images,
        train,
        batch_size=plan.batch_size,
        seed=config.seed,
        start=start,
        stop=plan.steps,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    updates = optimise(
        fabric,
        model,
        objective,
        optimiser,
        batches,
        views_of,
        schedule=partial(scheduled_rate, plan),
        seed=config.seed,
        start=start,
        clip=config.clip,
        parts=math.ceil(plan.batch_size / (fabric.world_size * (config.micro_batch or 2**62))),
    )
    with bar(plan.steps, "training", done=start) as advance, stop_signals() as stopped:
        for update in updates:
            advance(1, session.follow(update))
            if stopped:
                session.save(update.step)
                raise Interrupted(stopped[0], update.step, config.out)
    session.finish()
    return config.out


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that the loop can save first; twice interrupts."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        log.info("stopping after this update; once more to stop at once")

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: leave signals to the caller
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def start_fabric(config: PretrainConfig) -> Fabric:
    """Lightning Fabric on the device, and with the precision, asked for or found."""
    accelerator = {"auto": "auto", "gpu": "cuda"}.get(config.device, config.device)
    precision: Any = config.precision
    if precision == "auto":
        on_gpu = torch.cuda.is_available() and config.device in {"auto", "gpu"}
        precision = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
    try:
        fabric = Fabric(accelerator=accelerator, devices=config.devices, precision=precision)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        if type(error).__module__.startswith("lightning") or "accelerator" in str(error).lower():
            raise UserError(f"--device {config.device}: {error}") from error
        raise
    return fabric
