"""Pre-training: unlabelled data in, a run folder with a trained encoder out."""

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from isojepa.caches.behind import (
    Unsettled,
    filling_behind,
    fills_held,
    seconds_left,
    wait_for_fills,
)
from isojepa.caches.folder import caching
from isojepa.embeddings.alarm import Course
from isojepa.embeddings.label_free import effective_rank
from isojepa.embeddings.monitor import Monitor
from isojepa.encoders import budget
from isojepa.encoders.compute import (
    PretrainTerms,
    batch_vitals,
    build_regulariser,
    build_weight,
    lejepa,
)
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation.whitening import whitened
from isojepa.encoders.images_record import describe_images
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.modalities.batches import training_batches
from isojepa.encoders.modalities.modality import Batch, Dataset, Network, Words
from isojepa.encoders.modalities.stored import export_encoder
from isojepa.encoders.plan import PretrainPlan, with_steps
from isojepa.encoders.prepare import Prepared, announce_encoder, build_encoder, kind_of, prepare
from isojepa.encoders.probes import online_probe, probe_accuracies
from isojepa.encoders.recovery import act
from isojepa.encoders.sample import write_sample
from isojepa.files import Json
from isojepa.objective.automatic import AutomaticWeight
from isojepa.objective.lejepa import LeJEPALoss
from isojepa.objective.regularisers import SHORT, WEIGHTS, floor_of
from isojepa.runs.record import RunRecord
from isojepa.runs.resume import like, resumed
from isojepa.runs.settings import as_json
from isojepa.runs.tables import write_skipped
from isojepa.runs.typed import to_json
from isojepa.training.launch import open_run, require_shares, start_fabric
from isojepa.training.memory import kept_memory
from isojepa.training.optimise import Update, adamw, optimise
from isojepa.training.ranks import largest, on_first, together
from isojepa.training.recorder import Recorder, due
from isojepa.training.trackers import Trackers
from isojepa.training.watched import watched

log = logging.getLogger(__name__)


def train_encoder(config: PretrainConfig, backbone: nn.Module | None = None) -> Path:
    """Train an encoder and write the run folder; returns its path.

    Args:
        config: what to do; fields left at None are derived from the data.
        backbone: a module (n, c, h, w) -> (n, d) to train in place of a timm model.

    Raises:
        UserError: for anything the user can put right; what was saved stays.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    config, stored = resumed(config if config.resume else like(config, config.like))
    with caching(config.cache, off=config.no_cache):
        return _run(config, stored, backbone)


def _run(config: PretrainConfig, stored: RunRecord | None, backbone: nn.Module | None) -> Path:
    if backbone is None:
        networks = kind_of(config, stored).network
        networks.check(config, pretrained=config.pretrained and stored is None)
    fabric = start_fabric(config.device, config.devices, config.precision)
    behind = fabric.world_size == 1 and backbone is None  # which, once trained, cannot begin again
    while True:
        module = copy.deepcopy(backbone) if config.on_collapse == "recover" else backbone
        try:
            with filling_behind(allowed=behind):
                place = read_and_train(config, stored, fabric, module)
        except Unsettled as found:
            log.warning("%s: the run begins again, once all images are decoded", found)
            behind, config = False, config if stored else replace(config, overwrite=True)
            continue
        if place is not None:
            return place
        config, stored = resumed(replace(config, resume=True, overwrite=False))  # it was taken back


def read_and_train(
    config: PretrainConfig, stored: RunRecord | None, fabric: Fabric, backbone: nn.Module | None
) -> Path | None:
    """Read the data and train; returns the run's folder, or None to be gone on with again."""
    started = time.monotonic()
    trackers = Trackers([]) if config.preview is not None else open_run(fabric, config, stored)
    on_gpu = fabric.device.type == "cuda"
    prepared = together(lambda: prepare(config, stored, gpu=on_gpu, backbone=backbone))
    config, plan, data, kind = prepared
    together(lambda: require_shares(fabric, plan.batch_size))
    train_on = torch.from_numpy(np.flatnonzero(~data.held_out))
    encoder = together(lambda: build_encoder(prepared, train_on, backbone))
    picture = config.preview or config.out / "views.png"
    if stored is None:
        recipe = kind.views.recipe(config, plan.choices)
        seen = partial(kind.views.write_preview, picture, data, train_on, recipe, seed=config.seed)
        on_first(seen)
    prepared = within_budget(prepared, encoder, train_on, fabric, started)
    announce_encoder(prepared, encoder)
    if config.preview is not None:
        log.info("views written to %s; nothing was trained", picture)
        return picture
    done = train(prepared, encoder, train_on, fabric, trackers, stored)
    return config.out if done else None


def within_budget(
    prepared: Prepared, encoder: Network, train_on: Tensor, fabric: Fabric, started: float
) -> Prepared:
    """As many updates as fit into the minutes, of smaller batches where those would be few."""
    config, plan, _, kind = prepared
    minutes = budget.minutes_of(config)
    if minutes is None or config.preview is not None:
        return prepared

    def fitted(plan: PretrainPlan) -> budget.Budget:
        to_come = seconds_left()
        own = prepared._replace(plan=plan)
        seconds = trial_seconds(own, encoder, train_on, fabric, decoded=not to_come)
        times = (seconds, time.monotonic() - started + to_come)
        seconds, spent = (largest(round(1e6 * t)) / 1e6 for t in times)  # of the slowest process
        return budget.fitted(minutes, seconds, spent)

    found = fitted(plan)
    smaller = budget.batch_for(found.steps, plan.batch_size)
    if config.batch_size is None and smaller < plan.batch_size:
        plan = plan._replace(batch_size=smaller)
        found = fitted(plan)
    log.info(found.in_words(plan, len(train_on), kind.read.WORDS.many))
    return prepared._replace(
        config=replace(config, minutes=minutes), plan=with_steps(plan, config, found.steps)
    )


def trial_seconds(
    prepared: Prepared, encoder: Network, train_on: Tensor, fabric: Fabric, *, decoded: bool
) -> float:
    """Timed on a copy of the network, thrown away.

    Args:
        decoded: whether all samples are; if not, those that are needed are fetched first.
    """
    config, plan, *_ = prepared
    jepa = build_jepa(prepared, copy.deepcopy(encoder), fabric)
    optimiser = adamw(
        jepa, lr=plan.choices.lr, weight_decay=config.weight_decay, precision=config.precision
    )
    model, optimiser = fabric.setup(jepa, optimiser)
    weight = build_weight(config, plan, fabric.device)
    compute = encoder_compute(prepared, encoder, model, fabric, weight)
    memory = kept_memory() if fabric.device.type == "cpu" else nullcontext()
    with memory, fills_held():
        if not decoded:  # what is timed are updates, not the decoding of their images
            for _ in islice(batches(prepared, train_on, fabric, 0), budget.MEASURED + 1):
                pass
        updates = encoder_updates(prepared, train_on, fabric, model, optimiser, compute, 0)
        return budget.seconds_per_update(updates, fabric.device)


def train(
    prepared: Prepared,
    encoder: Network,
    train_on: Tensor,
    fabric: Fabric,
    trackers: Trackers,
    stored: RunRecord | None,
) -> bool:
    """Make the updates that are missing, and what happens between them; False if it collapsed and
    was taken back."""
    config, plan, data, kind = prepared
    jepa = build_jepa(prepared, encoder, fabric)
    optimiser = adamw(
        jepa, lr=plan.choices.lr, weight_decay=config.weight_decay, precision=config.precision
    )
    model, optimiser = fabric.setup(jepa, optimiser)
    probe = online_probe(data, encoder.embedding_dim, fabric.device)
    course = Course(plan.steps, plan.warmup, WEIGHTS[config.regulariser])
    monitor = Monitor(config.out, course)
    weight = build_weight(config, plan, fabric.device)
    states = {"optimiser": optimiser, "probe": probe, "monitor": monitor, "lambda": weight}
    recorder = Recorder(config, jepa, states, fabric, trackers, plan.learning_rate)
    described = to_json(describe_images(data, kind))
    record = RunRecord(config=as_json(config, plan.settled()), data=described)
    start = recorder.begin(record, stored)
    monitor.begin(start)
    on_first(lambda: write_skipped(config.out, data.skipped))
    compute = encoder_compute(prepared, encoder, model, fabric, weight)
    updates = encoder_updates(prepared, train_on, fabric, model, optimiser, compute, start)
    per_epoch, words = len(train_on) // plan.batch_size, kind.read.WORDS
    views, n_global = None, plan.choices.global_views
    with watched(updates, recorder, steps=plan.steps) as each:
        for update in each:
            step, terms = update.step, update.terms
            views = terms.embeddings[:n_global]
            if probe is not None and update.batch.labels is not None:
                probe.update(views, update.batch.labels)
            if step == 1 or due(step, config.log_every, plan.steps):
                line = recorder.line(update, words.many, plan.batch_size, per_epoch)
                projections = terms.projections[0].float().cpu().numpy()
                line["effective_rank"] = effective_rank(projections, centred=False)
                line |= monitor.look(
                    batch_vitals(update, n_global, samples=monitor.looks_at_samples)
                )
                scores = {}
                if probe and due(step, plan.probe_every, plan.steps, since=config.log_every):
                    scores = probe_accuracies(probe, encoder, data, seed=config.seed)
                said = encoder_progress(line | scores, config, words) + monitor.in_words()
                recorder.log(line | scores, said)
                if monitor.must_act(config.on_collapse):
                    act(config, monitor, step)
                    return False
                recorder.keep_best(step, scores, partial(export_white, encoder, data, train_on))
            if due(step, plan.save_every, plan.steps):
                recorder.save(step)
    wait_for_fills()
    on_first(lambda: finish(prepared, jepa, train_on, recorder, views))
    recorder.finish()
    return True


def encoder_updates(
    prepared: Prepared,
    train_on: Tensor,
    fabric: Fabric,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    compute: Callable[[Batch, int], PretrainTerms],
    start: int,
) -> Iterator[Update[Batch, PretrainTerms]]:
    """The updates of a run from `start` on, each made when it is asked for."""
    return optimise(
        fabric,
        model,
        compute,
        optimiser,
        batches(prepared, train_on, fabric, start),
        schedule=prepared.plan.learning_rate,
        seed=prepared.config.seed,
        start=start,
        clip=prepared.config.clip,
    )


def build_jepa(prepared: Prepared, encoder: Network, fabric: Fabric) -> JEPA:
    """Encoder and projector, in the layout that convolutions like."""
    jepa = JEPA(encoder, prepared.plan.choices.projector_hidden, prepared.config.projection_dim)
    jepa = jepa.to(memory_format=torch.channels_last)  # up to twice as fast for convolutions
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        jepa = nn.SyncBatchNorm.convert_sync_batchnorm(jepa)
    return jepa


def encoder_compute(
    prepared: Prepared,
    encoder: Network,
    model: nn.Module,
    fabric: Fabric,
    weight: AutomaticWeight | None,
) -> Callable[[Batch, int], PretrainTerms]:
    """What an update computes: the views that the recipe asks for, and LeJEPA's loss of them."""
    config, plan, _, kind = prepared
    recipe, spec = kind.views.recipe(config, plan.choices), encoder.spec
    views, regulariser = plan.choices.global_views, build_regulariser(config)
    lambd = WEIGHTS[config.regulariser] if plan.lambd == "auto" else plan.lambd
    objective = LeJEPALoss(views, weight or lambd, regulariser=regulariser)

    make_views = partial(
        kind.views.views, recipe=recipe, spec=spec, seed=config.seed, device=fabric.device
    )
    parts = math.ceil(plan.batch_size / (fabric.world_size * (config.micro_batch or 2**62)))
    return lejepa(fabric, model, objective, make_views, parts=parts)


def batches(prepared: Prepared, train_on: Tensor, fabric: Fabric, start: int) -> Iterator[Batch]:
    """This rank's share of the batches from update `start` on."""
    config, plan, data, _ = prepared
    return training_batches(
        data,
        train_on,
        batch_size=plan.batch_size,
        seed=config.seed,
        start=start,
        stop=plan.steps,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )


def encoder_progress(line: Json, config: PretrainConfig, words: Words) -> str:
    """A metrics line for the progress bar."""
    exact = config.directions == "exact" and config.regulariser == "sigreg"
    floor = floor_of("exact" if exact else config.regulariser, config.knots, config.t_max)
    said = (
        "{speed:.0f} {unit}/s  loss {loss:.3f}  inv {invariance:.3f}  {regulariser} {sigreg:.2f}"
        "{floor}  rank {effective_rank:.1f}/{dim}"
    )
    if config.lambd == "auto":
        said += "  lambda {lambd:.3g}"
    if "probe_accuracy" in line:
        said += "  probe {probe_accuracy:.1%}"
    speed, dim = line[f"{words.many}_per_second"], config.projection_dim
    return said.format(
        **line,
        regulariser=SHORT[config.regulariser],
        floor=f" (floor {floor:.2f})" if math.isfinite(floor) else "",
        dim=dim,
        speed=speed,
        unit=words.short,
    )


def export_white(encoder: Network, data: Dataset, train_on: Tensor, folder: Path) -> None:
    """Write folder/encoder: the encoder, its embeddings made white on what it was trained on."""
    export_encoder(folder / "encoder", whitened(encoder, data, train_on))


def finish(
    prepared: Prepared,
    jepa: JEPA,
    train_on: Tensor,
    recorder: Recorder,
    views: Float[Tensor, "v n d"] | None,
) -> None:
    """Export the encoder, and a sample of what it does for the report."""
    config, plan, data, kind = prepared
    export_white(jepa.encoder, data, train_on, config.out)
    write_sample(config.out / "sample.npz", jepa, data, kind, seed=config.seed, views=views)
    log.info(
        "encoder saved in %s after %.0f s of training", config.out / "encoder", recorder.seconds
    )
    best = recorder.best
    if best is not None and best.step < plan.steps:
        log.info(
            "the online probe was best at update %d (%.1f %%): that encoder is kept in %s",
            best.step,
            100 * best.scores["probe_accuracy"],
            config.out / "checkpoints" / "best",
        )
