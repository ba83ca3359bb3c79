"""Training a world model: episodes in, a run folder with a trained model out."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from isojepa.embeddings.alarm import Course, Vitals
from isojepa.embeddings.monitor import Monitor, sample_faults
from isojepa.embeddings.vitals import spread_of
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.objective.automatic import LEAST_BATCH, AutomaticWeight
from isojepa.objective.lewm import LeWMLoss, LeWMTerms
from isojepa.randomness import Stream, seed_from
from isojepa.runs.record import RunRecord
from isojepa.runs.resume import resumed
from isojepa.runs.settings import as_json
from isojepa.runs.typed import to_json
from isojepa.training.launch import open_run, require_shares, start_fabric
from isojepa.training.optimise import Update, adamw, optimise
from isojepa.training.ranks import on_first, together
from isojepa.training.recorder import Recorder, Stateful, due
from isojepa.training.trackers import Trackers
from isojepa.training.watched import watched
from isojepa.world.episodes.trajectories import Clips
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.measures import measure_held_out
from isojepa.world.learning.plan import WEIGHTS, WorldPlan
from isojepa.world.learning.split import write_split
from isojepa.world.learning.whitening import fit_whitening, save_whitening
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


class WorldTerms(NamedTuple):
    """LeWM's terms on the global batch, and the embeddings of this rank's share."""

    loss: Float[Tensor, ""]
    prediction: Float[Tensor, ""]
    sigreg: Float[Tensor, ""]
    rollout: Float[Tensor, ""]
    lambd: Float[Tensor, ""]
    """Weight of the regulariser in this update."""
    embeddings: Float[Tensor, "b t d"]


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
    weight, monitor = automatic_weight(begun), build_monitor(begun)
    recorder, start = record_training(
        begun, world, {"optimiser": optimiser, "lambda": weight, "monitor": monitor}
    )
    monitor.begin(start)
    held_out = sample_held_out(windows, world, seed=config.seed)
    compute = world_compute(begun, model, weight)
    updates = world_updates(begun, model, optimiser, compute, start)
    per_epoch = len(windows.positions) // plan.batch_size
    measures: dict[str, float] = {}
    with watched(updates, recorder, steps=plan.steps) as each:
        for update in each:
            step = update.step
            measuring = due(step, plan.evaluate_every, plan.steps)
            if step == 1 or measuring or due(step, config.log_every, plan.steps):
                line = recorder.line(update, "clips", plan.batch_size, per_epoch)
                line |= monitor.look(world_vitals(update))
                if measuring and held_out is not None:
                    measures = measure_held_out(world, held_out).as_metrics()
                    line |= measures
                recorder.log(line, world_progress(line | measures, plan) + monitor.in_words())
                monitor.require(config.on_collapse)
            if due(step, plan.save_every, plan.steps):
                recorder.save(step)
    place = config.out / "world_model"
    on_first(lambda: export_world_model(place, world))
    if world.action_dim:
        on_first(lambda: save_whitening(place, fit_whitening(
            world.for_planning(), windows.trajectories, windows.train, seed=config.seed
        )))  # fmt: skip
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
    trained: Mapping[str, Stateful | None],
    policy: Json | None = None,
) -> tuple[Recorder, int]:
    """The run's recorder, and the number of updates already made.

    Args:
        trained: what is saved beside the module, such as the optimiser.
        policy: sizes of a cloned policy.
    """
    config, plan, stored = begun.config, begun.plan, begun.stored
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
    compute: Callable[[Clips, int], WorldTerms],
    start: int,
) -> Iterator[Update[Clips, WorldTerms]]:
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


def automatic_weight(begun: OpenTraining) -> AutomaticWeight | None:
    """What finds lambda while training; None if it is a number."""
    plan = begun.plan
    if plan.lambd != "auto":
        return None
    if plan.batch_size < LEAST_BATCH:
        raise UserError(
            f"--lambd auto: batches of {plan.batch_size} are too small to tell a departure from "
            f"noise; give a --batch-size of at least {LEAST_BATCH}, or a number"
        )
    return AutomaticWeight(plan.batch_size, plan.steps, hold=plan.steps // 10).to(
        begun.fabric.device
    )


def build_monitor(begun: OpenTraining) -> Monitor:
    """What looks at the training between its updates."""
    plan, usual = begun.plan, WEIGHTS[begun.config.regulariser]
    return Monitor(begun.config.out, Course(plan.steps, max(1, plan.steps // 100), usual))


def world_vitals(update: Update[Clips, WorldTerms]) -> Vitals:
    """What the monitor looks at. Views agree by chance where predictions are no better than the
    embeddings' mean; clips that begin alike are no fault of the data."""
    terms, first = update.terms, update.batch.frames[:, 0]
    spread = spread_of(terms.embeddings[:, 0].float())
    variance = max(spread.deviation**2, 1e-12)
    return Vitals(
        step=update.step,
        loss=terms.loss.item(),
        lambd=terms.lambd.item(),
        embeddings=None,
        projections=spread,
        disagreement=terms.prediction.item() / variance,
        constant=sample_faults(first).constant,
    )


def world_compute(
    begun: OpenTraining, model: nn.Module, weight: AutomaticWeight | None = None
) -> Callable[[Clips, int], WorldTerms]:
    """What an update computes: predictions of the clips' embeddings, and LeWM's loss of them."""
    config, plan = begun.config, begun.plan
    fixed = WEIGHTS[config.regulariser] if plan.lambd == "auto" else plan.lambd
    objective = LeWMLoss(
        fixed if weight is None else weight,
        regulariser="sigreg" if config.regulariser == "none" else config.regulariser,
        slices=plan.slices,
        seed=config.seed,
        directions=config.directions,
        scale=config.scale,
    )

    def compute(clips: Clips, step: int) -> WorldTerms:
        frames, actions = (x.to(begun.fabric.device, non_blocking=True) for x in clips[:2])
        predictions = model(frames, actions, plan.rollout_steps)
        lambd = torch.as_tensor(objective.weight())
        terms: LeWMTerms = objective(*predictions, step=step)
        return WorldTerms(*terms, lambd, predictions.z.detach())

    return compute


def world_progress(line: Json, plan: WorldPlan) -> str:
    """A metrics line for the progress bar."""
    words = (
        "{clips_per_second:.0f} clips/s  loss {loss:.3f}  prediction {prediction:.3f}  "
        "regulariser {sigreg:.2f}"
    )
    if plan.lambd == "auto":
        words += "  lambda {lambd:.3g}"
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
        "peak learning rate %g, %s with weight %s",
        plan.preset, plan.encoder, plan.frame_size,
        sum(p.numel() for p in world.parameters()) / 1e6,
        plan.steps, plan.batch_size, plan.clip_frames, world.frame_skip, plan.lr,
        config.regulariser, plan.lambd if plan.lambd == "auto" else f"{plan.lambd:g}",
    )  # fmt: skip
