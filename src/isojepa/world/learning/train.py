"""Training a world model: episodes in, a run folder with a trained model out."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from isojepa.files import Json
from isojepa.objective.lewm import LeWMLoss, LeWMTerms
from isojepa.randomness import Stream, seed_from
from isojepa.runs.record import RunRecord
from isojepa.runs.resume import resumed
from isojepa.runs.settings import as_json
from isojepa.runs.typed import to_json
from isojepa.training.launch import open_run, require_shares, start_fabric
from isojepa.training.optimise import Update, adamw, optimise
from isojepa.training.ranks import on_first, together
from isojepa.training.recorder import Recorder, due
from isojepa.training.trackers import Trackers
from isojepa.training.watched import watched
from isojepa.world.episodes.trajectories import Clips
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.measures import measure_held_out
from isojepa.world.learning.plan import WorldPlan
from isojepa.world.learning.split import write_split
from isojepa.world.learning.windows import (
    Windows,
    describe_episodes,
    fit_frozen,
    prepare_training,
    sample_held_out,
    training_clips,
)
from isojepa.world.model.presets import WorldModelSpec
from isojepa.world.model.world_model import WorldModel, export_world_model, load_world_model

log = logging.getLogger(__name__)


def train_world_model(config: WorldTrainConfig) -> Path:
    """Train a world model and write the run folder; returns its path.

    Raises:
        UserError: for anything the user can put right; what was saved stays.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    begun = open_training(config)
    config, plan, windows, fabric = begun.config, begun.plan, begun.windows, begun.fabric
    world = together(lambda: build_world(begun))
    announce_world_model(config, plan, windows, world)
    optimiser = adamw(world, lr=plan.lr, weight_decay=plan.weight_decay, precision=config.precision)
    model, optimiser = fabric.setup(world, optimiser)
    recorder, start = record_training(begun, world, optimiser)
    held_out = sample_held_out(windows, world, seed=config.seed)
    updates = world_updates(begun, model, optimiser, world_compute(begun, model), start)
    per_epoch = len(windows.positions) // plan.batch_size
    measures: dict[str, float] = {}
    with watched(updates, recorder, steps=plan.steps) as each:
        for update in each:
            step = update.step
            measuring = due(step, plan.evaluate_every, plan.steps)
            if step == 1 or measuring or due(step, config.log_every, plan.steps):
                line = recorder.line(update, "clips", plan.batch_size, per_epoch)
                if measuring and held_out is not None:
                    measures = measure_held_out(world, held_out).as_metrics()
                    line |= measures
                recorder.log(line, world_progress(line | measures, plan))
            if due(step, plan.save_every, plan.steps):
                recorder.save(step)
    place = config.out / "world_model"
    on_first(lambda: export_world_model(place, world))
    log.info("world model in %s after %.0f s", place, recorder.seconds)
    recorder.finish()
    return config.out


class OpenTraining(NamedTuple):
    """A run whose folder is made, whose data are open and whose settings are settled."""

    config: WorldTrainConfig
    stored: RunRecord | None
    """Of the run that is gone on with."""
    fabric: Fabric
    trackers: Trackers
    spec: WorldModelSpec
    plan: WorldPlan
    windows: Windows


def open_training(config: WorldTrainConfig) -> OpenTraining:
    """Start the processes, make the folder, open the data and settle what was left open."""
    config, stored = resumed(config)
    fabric = start_fabric(config.device, config.devices, config.precision)
    trackers = open_run(fabric, config, stored)
    on_gpu = fabric.device.type == "cuda"
    spec, plan, windows = together(lambda: prepare_training(config, gpu=on_gpu, stored=stored))
    together(lambda: require_shares(fabric, plan.batch_size))
    return OpenTraining(config, stored, fabric, trackers, spec, plan, windows)


def record_training(
    begun: OpenTraining,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    policy: Json | None = None,
) -> tuple[Recorder, int]:
    """The run's recorder, and the number of updates already made.

    Args:
        policy: sizes of a cloned policy.
    """
    config, plan, stored = begun.config, begun.plan, begun.stored
    trained = {"optimiser": optimiser}
    recorder = Recorder(config, module, trained, begun.fabric, begun.trackers, plan.learning_rate)
    now = describe_episodes(begun.windows.trajectories)
    data = to_json(now) if stored is None else stored.data
    record = RunRecord(config=settled_training(config, plan), data=data, policy=policy)
    start = recorder.begin(record, stored)
    on_first(lambda: write_split(config.out, begun.windows.recorded))
    return recorder, start


def world_updates(
    begun: OpenTraining,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    compute: Callable[[Clips, int], LeWMTerms],
    start: int,
) -> Iterator[Update[Clips, LeWMTerms]]:
    """The updates of a run from `start` on, each made when it is asked for."""
    plan, seed, fabric = begun.plan, begun.config.seed, begun.fabric
    return optimise(
        fabric,
        model,
        compute,
        optimiser,
        training_clips(begun.windows, begun.spec, plan, fabric, seed=seed, start=start),
        schedule=plan.learning_rate,
        seed=seed,
        start=start,
    )


def build_world(begun: OpenTraining) -> WorldModel:
    """The model with its initial weights, and the axes of frozen features if it has those."""
    config, fabric = begun.config, begun.fabric
    torch.manual_seed(seed_from(config.seed, Stream.WEIGHTS))
    world = WorldModel(begun.spec, pretrained=config.pretrained)
    if config.start_from is not None and begun.stored is None:
        world.load_state_dict(load_world_model(config.start_from).state_dict())
    world = world.to(memory_format=torch.channels_last)
    if config.frozen is not None:
        fit_frozen(world, begun.windows, seed=config.seed)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        world = nn.SyncBatchNorm.convert_sync_batchnorm(world)
    return world


def world_compute(begun: OpenTraining, model: nn.Module) -> Callable[[Clips, int], LeWMTerms]:
    """What an update computes: predictions of the clips' embeddings, and LeWM's loss of them."""
    config, plan = begun.config, begun.plan
    objective = LeWMLoss(
        plan.lambd,
        regulariser="sigreg" if config.regulariser == "none" else config.regulariser,
        slices=plan.slices,
        seed=config.seed,
        directions=config.directions,
        scale=config.scale,
    )

    def compute(clips: Clips, step: int) -> LeWMTerms:
        frames, actions = (x.to(begun.fabric.device, non_blocking=True) for x in clips[:2])
        return objective(*model(frames, actions, plan.rollout_steps), step=step)

    return compute


def world_progress(line: Json, plan: WorldPlan) -> str:
    """A metrics line for the progress bar."""
    words = (
        "{clips_per_second:.0f} clips/s  loss {loss:.3f}  prediction {prediction:.3f}  "
        "regulariser {sigreg:.2f}"
    )
    if "held_out_prediction" in line:
        words += "  held out {held_out_prediction:.3f}  rank {effective_rank:.1f}/{dim}"
    return words.format(**line, dim=plan.embedding_dim)


def settled_training(config: WorldTrainConfig, plan: WorldPlan) -> Json:
    """The settled configuration for config.json; paths are absolute, to be found from anywhere."""
    places = {name: getattr(config, name) for name in ("data", "cache", "start_from")}
    absolute = {name: place and place.absolute() for name, place in places.items()}
    return as_json(replace(config, **absolute), plan._asdict())


def announce_world_model(
    config: WorldTrainConfig, plan: WorldPlan, windows: Windows, world: WorldModel
) -> None:
    """Say what was found and what was decided."""
    data = windows.trajectories
    actions = f"actions of {data.action_dim} dimensions" if data.action_dim else "no actions"
    log.info(
        "%d episodes of together %d steps, %s, %d episodes held out",
        len(data),
        int(np.sum(data.lengths)),
        actions,
        len(windows.held_out),
    )
    log.info(
        "%s: %s at %d px, %.1f M parameters; %d updates of %d clips of %d frames, %d steps apart; "
        "peak learning rate %g, %s with weight %g",
        plan.preset,
        plan.encoder,
        plan.frame_size,
        sum(p.numel() for p in world.parameters()) / 1e6,
        plan.steps,
        plan.batch_size,
        plan.clip_frames,
        world.frame_skip,
        plan.lr,
        config.regulariser,
        plan.lambd,
    )
