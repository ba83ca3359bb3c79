"""From a data set of episodes to the windows that a run trains on, and is measured on."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from lightning_fabric import Fabric

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.randomness import Stream, generator
from isojepa.runs.record import CONFIG, RunRecord
from isojepa.runs.typed import from_json
from isojepa.world.episodes.clips import clip_batches, clip_index, fit_action_scale
from isojepa.world.episodes.trajectories import Clips, Trajectories, open_trajectories
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.plan import WorldPlan, clip_frames, model_spec, settle_world
from isojepa.world.learning.split import (
    Recorded,
    Split,
    check_whole,
    divide,
    fingerprints,
    known_split,
    lengths_fingerprint,
    read_split,
)
from isojepa.world.model.latent import LatentModel
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


def prepare_training(
    config: WorldTrainConfig, *, gpu: bool, stored: RunRecord | None = None
) -> tuple[WorldModelSpec, WorldPlan, Windows]:
    """Open the data, split the episodes, and settle the model's sizes and every open setting.

    Args:
        stored: the record of a run to go on with, whose episodes are taken as they were split.
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
    index = clip_index(trajectories, train, frames=frames, frame_skip=spec.frame_skip)
    blocks = spec.frame_skip * trajectories.action_dim
    if config.start_from is None:
        scale = fit_action_scale(trajectories, train)
        spec = replace(
            spec,
            action_dim=blocks,
            action_mean=tuple(scale.mean.tolist()),
            action_std=tuple(scale.std.tolist()),
        )
    elif blocks != spec.action_dim:
        raise UserError(
            f"--start-from {shown(config.start_from)}: its actions have "
            f"{spec.action_dim // spec.frame_skip} dimensions, those of {shown(config.data)} "
            f"{trajectories.action_dim}"
        )
    plan = settle_world(config, name, spec, len(index))
    return spec, plan, Windows(trajectories, train, held_out, index, recorded)


def stored_split(
    out: Path, stored: RunRecord, trajectories: Trajectories
) -> tuple[Recorded, Split]:
    """The split of a run to go on with, found in the data as they now are.

    Raises:
        UserError: if the actions are others, or some of its episodes are missing.
    """
    then = from_json(EpisodesRecord, stored.data, out / CONFIG)
    if trajectories.action_dim != then.action_dim:
        raise UserError(
            f"--resume {shown(out)}: the data set's actions have {trajectories.action_dim} "
            f"dimensions but the model was made for {then.action_dim}; give the run's own --data"
        )
    split = known_split(out, stored, trajectories, same_place=True)
    check_whole(split, out, trajectories.path)
    if len(split.new):
        log.info("%d episodes are new: left out, as the run began without them", len(split.new))
    prints = fingerprints(trajectories)
    sides = (tuple(prints[e] for e in side) for side in (split.train, split.held_out))
    return read_split(out) or Recorded(*sides), split


def training_clips(
    windows: Windows,
    spec: WorldModelSpec,
    plan: WorldPlan,
    fabric: Fabric,
    *,
    seed: int,
    start: int,
) -> Iterator[Clips]:
    """This rank's share of the batches from update `start` to the last."""
    endless = clip_batches(
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
    return islice(endless, plan.steps - start)


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


@dataclass(frozen=True, kw_only=True)
class EpisodesRecord:
    """What a run records of its data set, in config.json under `data`."""

    episodes: int
    steps: int
    action_dim: int
    frame_size: int
    env: str | None = None
    fingerprint: str | None = None
    """Of the episodes' lengths."""


def describe_episodes(trajectories: Trajectories) -> EpisodesRecord:
    """What to record of these episodes."""
    lengths = np.asarray(trajectories.lengths, np.int64)
    return EpisodesRecord(
        episodes=len(lengths),
        steps=int(lengths.sum()),
        action_dim=trajectories.action_dim,
        frame_size=trajectories.frame_size,
        env=trajectories.env_id,
        fingerprint=lengths_fingerprint(lengths),
    )


def check_fits(model: LatentModel, trajectories: Trajectories) -> None:
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
