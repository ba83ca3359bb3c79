"""Training a world model: episodes in, a run folder with a trained model out."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from lightning_fabric import Fabric
from torch import nn

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.objective.lewm import LeWMLoss, LeWMTerms
from isojepa.randomness import Stream, generator, seed_from
from isojepa.runs.settings import as_json, resumed
from isojepa.training.launch import start_fabric
from isojepa.training.process import follow_updates, open_run, require_shares
from isojepa.training.ranks import on_first, together
from isojepa.world.episodes.trajectories import (
    Clips,
    Trajectories,
    clip_batches,
    clip_index,
    fit_action_scale,
    open_trajectories,
)
from isojepa.world.learning.config import (
    MAY_DIFFER_ON_RESUME,
    WorldPlan,
    WorldTrainConfig,
    clip_frames,
    derive,
    model_spec,
)
from isojepa.world.learning.loop import make_optimiser, optimise, scheduled_rate
from isojepa.world.learning.session import WorldSession
from isojepa.world.learning.split import (
    Recorded,
    Split,
    check_whole,
    divide,
    fingerprints,
    known_split,
    lengths_fingerprint,
    read_record,
    write_record,
)
from isojepa.world.model.presets import WorldModelSpec, preset
from isojepa.world.model.world_model import WorldModel

log = logging.getLogger(__name__)
MEASURED = 256  # held-out clips
BLOCKS = 5  # blocks ahead in the held-out rollouts, where the episodes are long enough


class Windows(NamedTuple):
    """The data of a run: what it trains on and what it is measured on."""

    trajectories: Trajectories
    train: Int64[np.ndarray, " n"]
    """Episodes to train on; likewise `held_out`."""
    held_out: Int64[np.ndarray, " k"]
    positions: Int64[np.ndarray, "m two"]
    """Windows to train on."""
    recorded: Recorded
    """What to store of both sides."""


def run(config: WorldTrainConfig) -> Path:
    """Train a world model and write the run folder; returns its path.

    Raises:
        UserError: for anything the user can put right; what was saved stays.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    config, stored = resumed(config, MAY_DIFFER_ON_RESUME)
    fabric = start_fabric(config.device, config.devices, config.precision)
    trackers = open_run(fabric, config, stored)

    # Data, model, objective
    spec, plan, windows = together(
        lambda: prepare(config, gpu=fabric.device.type == "cuda", stored=stored)
    )
    together(lambda: require_shares(fabric, plan.batch_size))
    described = describe_data(windows.trajectories) if stored is None else stored["data"]
    torch.manual_seed(seed_from(config.seed, Stream.WEIGHTS))
    world = together(lambda: WorldModel(spec, pretrained=config.pretrained))
    world = world.to(memory_format=torch.channels_last)
    if config.frozen is not None:
        fit_frozen(world, windows, seed=config.seed)
    if fabric.world_size > 1 and fabric.device.type == "cuda":
        world = nn.SyncBatchNorm.convert_sync_batchnorm(world)
    announce(config, plan, windows, world)
    model, optimiser = fabric.setup(world, make_optimiser(world, plan))
    session = WorldSession(
        config.out,
        world,
        optimiser,
        fabric,
        plan=plan,
        log_every=config.log_every,
        held_out=sample_held_out(windows, world, seed=config.seed),
        per_epoch=len(windows.positions) // plan.batch_size,
        trackers=trackers,
    )
    start = session.begin({"config": as_stored(config, plan), "data": described}, stored)
    on_first(lambda: write_record(config.out, windows.recorded))

    # Updates, and what happens between them
    objective = LeWMLoss(
        plan.lambd,
        regulariser="vicreg" if config.regulariser == "vicreg" else "sigreg",
        slices=plan.slices,
        seed=config.seed,
        directions=config.directions,
        scale=config.scale,
    )

    def compute(clips: Clips) -> LeWMTerms:
        frames, actions = (x.to(fabric.device, non_blocking=True) for x in clips[:2])
        return objective(*model(frames, actions, plan.rollout_steps))

    updates = optimise(
        fabric,
        model,
        compute,
        optimiser,
        training_clips(windows, spec, plan, fabric, seed=config.seed, start=start),
        objective=objective,
        schedule=partial(scheduled_rate, plan),
        seed=config.seed,
        start=start,
        stop=plan.steps,
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


def prepare(
    config: WorldTrainConfig, *, gpu: bool, stored: dict[str, Any] | None = None
) -> tuple[WorldModelSpec, WorldPlan, Windows]:
    """Open the data, split the episodes, and settle the model's sizes and every open setting.

    Args:
        stored: config.json of a run to go on with, whose episodes are taken as they were split.
    """
    name, spec = model_spec(config, gpu=gpu)
    trajectories = open_trajectories(
        config.data, frame_size=spec.frame_size, cache=config.cache, camera=config.camera
    )
    if stored is None:
        prints = fingerprints(trajectories)
        recorded, split = divide(prints, held_out=config.held_out, seed=config.seed)
    else:
        recorded, split = stored_split(config.out, stored, trajectories)
    train, held_out = split.train, split.held_out
    if not recorded.held_out and config.held_out:
        log.warning("a single episode cannot be split: nothing is held out")
    frames = clip_frames(spec.history, config.rollout_steps or preset(name).rollout_steps)
    index = clip_index(trajectories, train, frames=frames, frame_skip=config.frame_skip)
    scale = fit_action_scale(trajectories, train)
    spec = replace(
        spec,
        action_dim=spec.frame_skip * trajectories.action_dim,
        action_mean=tuple(scale.mean.tolist()),
        action_std=tuple(scale.std.tolist()),
    )
    plan = derive(config, name, spec, len(index))
    return spec, plan, Windows(trajectories, train, held_out, index, recorded)


def stored_split(
    out: Path, stored: dict[str, Any], trajectories: Trajectories
) -> tuple[Recorded, Split]:
    """The split of a run to go on with, found in the data as they now are.

    Raises:
        UserError: if the actions are others, or some of its episodes are missing.
    """
    then = stored["data"]
    if trajectories.action_dim != then["action_dim"]:
        raise UserError(
            f"--resume {shown(out)}: the data set's actions have {trajectories.action_dim} "
            f"dimensions but the model was made for {then['action_dim']}; give the run's own --data"
        )
    split = known_split(out, stored, trajectories, same_place=True)
    check_whole(split, out, trajectories.path)
    if len(split.new):
        log.info("%d episodes are new: left out, as the run began without them", len(split.new))
    prints = fingerprints(trajectories)
    sides = (tuple(prints[e] for e in side) for side in (split.train, split.held_out))
    return read_record(out) or Recorded(*sides), split


def training_clips(
    windows: Windows,
    spec: WorldModelSpec,
    plan: WorldPlan,
    fabric: Fabric,
    *,
    seed: int,
    start: int,
) -> Iterator[Clips]:
    """This rank's share of the batches from update `start` on."""
    return clip_batches(
        windows.trajectories,
        windows.positions,
        frames=plan.clip_frames,
        frame_skip=spec.frame_skip,
        scale=spec.scale,
        batch=plan.batch_size,
        seed=seed,
        start=start,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )


def sample_held_out(windows: Windows, world: WorldModel, *, seed: int) -> Clips | None:
    """Clips of the held-out episodes to measure on, up to five blocks past the history."""
    for blocks in range(BLOCKS, 0, -1):
        try:
            index = clip_index(
                windows.trajectories,
                windows.held_out,
                frames=world.history + blocks,
                frame_skip=world.frame_skip,
            )
        except UserError:
            continue
        order = torch.randperm(len(index), generator=generator(seed, Stream.MEASURED_CLIPS)).numpy()
        return windows.trajectories.clips(
            index[np.sort(order[:MEASURED])],
            frames=world.history + blocks,
            frame_skip=world.frame_skip,
            scale=world.scale,
        )
    return None


def fit_frozen(world: WorldModel, windows: Windows, *, seed: int) -> None:
    """Choose the axes of frozen features from frames of the training episodes."""
    order = torch.randperm(
        len(windows.positions), generator=generator(seed, Stream.MEASURED_CLIPS)
    ).numpy()
    needed = max(1024, 4 * world.embedding_dim)
    clips = windows.trajectories.clips(
        windows.positions[np.sort(order[:needed])],
        frames=1,
        frame_skip=world.frame_skip,
        scale=None,
    )
    world.encoder.fit(world.normalise(clips.frames[:, 0]))  # type: ignore[operator]


def as_stored(config: WorldTrainConfig, plan: WorldPlan) -> dict[str, Any]:
    """The settled configuration for config.json; paths are absolute, to be found from anywhere."""
    cache = None if config.cache is None else config.cache.absolute()
    return as_json(replace(config, data=config.data.absolute(), cache=cache), plan)


def describe_data(trajectories: Trajectories) -> dict[str, object]:
    """Counts and a fingerprint of the episodes' lengths, for config.json."""
    lengths = np.asarray(trajectories.lengths, np.int64)
    return {
        "episodes": len(lengths),
        "steps": int(lengths.sum()),
        "action_dim": trajectories.action_dim,
        "frame_size": trajectories.frame_size,
        "env": trajectories.env_id,
        "fingerprint": lengths_fingerprint(lengths),
    }


def check_fits(model: Any, trajectories: Trajectories) -> None:
    """Raise `UserError` if the model cannot read the data set: other actions or other frames."""
    actions = model.frame_skip * trajectories.action_dim
    if actions != model.action_dim:
        raise UserError(
            f"{trajectories.path}: its actions have {trajectories.action_dim} dimensions, but the "
            f"model was trained with {model.action_dim // model.frame_skip}"
        )
    if trajectories.frame_size != model.frame_size:
        raise UserError(
            f"{trajectories.path}: opened with frames of {trajectories.frame_size} px, but the "
            f"model reads {model.frame_size} px"
        )


def announce(
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
