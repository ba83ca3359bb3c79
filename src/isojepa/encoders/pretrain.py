"""Pre-training: a folder of images in, a run folder with a trained encoder out."""

import logging
import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from isojepa.backbones.networks import check_network
from isojepa.encoders.config import MAY_DIFFER_ON_RESUME, PretrainConfig, view_recipe
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.loop import optimise
from isojepa.encoders.modalities.images.batches import Batch, training_batches
from isojepa.encoders.modalities.images.preview import write_preview
from isojepa.encoders.modalities.images.views import Views, draw_parameters, make_views
from isojepa.encoders.prepare import announce, build_encoder, prepare
from isojepa.encoders.session import Session, online_probe, scheduled_rate
from isojepa.objective.lejepa import LeJEPALoss
from isojepa.runs.settings import resumed
from isojepa.training.launch import start_fabric
from isojepa.training.optimise import parameter_groups
from isojepa.training.process import follow_updates, open_run, require_shares
from isojepa.training.ranks import on_first, together

log = logging.getLogger(__name__)


def run(config: PretrainConfig, backbone: nn.Module | None = None) -> Path:
    """Train an encoder and write the run folder; returns its path.

    Args:
        config: what to do; fields left at None are derived from the data.
        backbone: a module (n, c, h, w) -> (n, d) to train in place of a timm model.

    Raises:
        UserError: for anything the user can put right; what was saved stays.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    config, stored = resumed(config, MAY_DIFFER_ON_RESUME)
    if config.model is not None and backbone is None:
        check_network(config.model, pretrained=config.pretrained and stored is None)
    fabric = start_fabric(config.device, config.devices, config.precision)
    trackers = open_run(fabric, config, stored) if config.preview is None else None

    # Data, and everything derived from them
    on_gpu = fabric.device.type == "cuda"
    prepared = together(lambda: prepare(config, stored, gpu=on_gpu, backbone=backbone))
    config, plan, images = prepared
    together(lambda: require_shares(fabric, plan.batch_size))
    train = torch.from_numpy(np.flatnonzero(~images.held_out))
    encoder = together(lambda: build_encoder(prepared, train, backbone))
    recipe = view_recipe(config, plan)
    if encoder.spec.stem == "small":
        log.info("%s: stem of stride 1 for small images", plan.model)
    picture = config.preview or config.out / "views.png"
    if stored is None:
        on_first(lambda: write_preview(picture, images, train, recipe, seed=config.seed))
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
    session = Session(prepared, jepa, optimiser, probe, fabric, trackers)
    start = session.begin(stored)

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
    follow_updates(
        updates,
        session,
        device=fabric.device,
        start=start,
        steps=plan.steps,
        out=config.out,
    )
    session.finish()
    return config.out
