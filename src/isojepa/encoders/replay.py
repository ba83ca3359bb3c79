"""An update of an encoder's training made again: `isojepa replay`."""

import numpy as np
import torch

from isojepa.caches.folder import caching
from isojepa.encoders.compute import build_weight
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.prepare import build_encoder, prepare
from isojepa.encoders.pretrain import build_jepa, encoder_compute, encoder_updates
from isojepa.training.batches import batch_places
from isojepa.training.optimise import adamw
from isojepa.training.replay import ReplayConfig, ReplayResult, asked_step, opened, replayed

__all__ = ["ReplayConfig", "replay_update"]


def replay_update(config: ReplayConfig) -> ReplayResult:
    """Make the update again, print what was found, and write RUN/replay.json.

    Raises:
        UserError: if the run, its data or its checkpoints cannot be read.
    """
    settings, stored, fabric = opened(config, PretrainConfig)
    with caching(settings.cache, off=settings.no_cache):
        prepared = prepare(settings, stored, gpu=fabric.device.type == "cuda")
    settings, plan, data, *_ = prepared
    step = asked_step(config, plan.steps)
    train_on = torch.from_numpy(np.flatnonzero(~data.held_out))
    encoder = build_encoder(prepared, train_on, None)
    jepa = build_jepa(prepared, encoder, fabric)
    optimiser = adamw(
        jepa, lr=plan.choices.lr, weight_decay=settings.weight_decay, precision=settings.precision
    )
    model, optimiser = fabric.setup(jepa, optimiser)
    weight = build_weight(settings, plan, fabric.device)
    compute = encoder_compute(prepared, encoder, model, fabric, weight)
    places = batch_places(len(train_on), batch_size=plan.batch_size, seed=settings.seed)(step - 1)
    return replayed(
        config.run,
        step,
        jepa,
        {"optimiser": optimiser, "lambda": weight},
        lambda start: encoder_updates(prepared, train_on, fabric, model, optimiser, compute, start),
        tuple(data.listing.names[i] for i in train_on[places].tolist()),
    )
