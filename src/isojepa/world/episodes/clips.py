"""Windows of episodes: which to train on, where they fit, and batches of them."""

import logging
from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from jaxtyping import Int64

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.randomness import Stream, generator
from isojepa.training.batches import batch_places, read_ahead
from isojepa.world.episodes.action_scale import ActionScale
from isojepa.world.episodes.trajectories import Clips, Trajectories

log = logging.getLogger(__name__)


def fit_action_scale(trajectories: Trajectories, episodes: Int64[np.ndarray, " n"]) -> ActionScale:
    """Mean and deviation of the actions of the given episodes, without those that are NaN."""
    parts = [trajectories.actions(int(e), 0, int(trajectories.lengths[e])) for e in episodes]
    actions = np.concatenate(parts) if parts else np.zeros((0, trajectories.action_dim))
    actions = actions[np.isfinite(actions).all(1)].astype(np.float64)
    if not len(actions):
        actions = np.zeros((1, trajectories.action_dim))
    std = actions.std(0)
    std[std < 1e-6] = 1.0  # a constant dimension stays as it is
    return ActionScale(torch.tensor(actions.mean(0)).float(), torch.tensor(std).float())


def split_episodes(
    n: int, *, held_out: float, seed: int
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " k"]]:
    """Episodes to train on and episodes held out, both ascending; a function of (n, seed).

    Whole episodes are held out: windows of one episode overlap, and a split by window leaks.
    """
    held = round(held_out * n)
    if held_out > 0 and n > 1:
        held = min(max(held, 1), n - 1)
    order = torch.randperm(n, generator=generator(seed, Stream.SPLIT)).numpy()
    return np.sort(order[held:]), np.sort(order[:held])


def clip_index(
    trajectories: Trajectories, episodes: Int64[np.ndarray, " n"], *, frames: int, frame_skip: int
) -> Int64[np.ndarray, "m two"]:
    """All windows that fit in the episodes, as (episode, first step).

    Raises:
        UserError: if no episode is long enough.
    """
    span = (frames - 1) * frame_skip + 1
    lengths = trajectories.lengths[episodes]
    counts = np.maximum(lengths - span + 1, 0)
    if not counts.sum():
        longest = int(episodes[lengths.argmax()]) if len(episodes) else -1
        has = f"the longest, episode {longest}, has {lengths.max()}" if len(episodes) else "none"
        raise UserError(
            f"{shown(trajectories.path)}: a window of {frames} frames, {frame_skip} steps apart, "
            f"needs {span} steps and no episode is that long ({has}); lower the history, the "
            "number of rollout steps or the frame skip"
        )
    short = int((counts == 0).sum())
    if short:
        log.info("%d of %d episodes are shorter than a window of %d", short, len(episodes), span)
    first = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.stack([np.repeat(episodes, counts), first], 1)


def clip_batches(
    trajectories: Trajectories,
    index: Int64[np.ndarray, "m two"],
    *,
    frames: int,
    frame_skip: int,
    scale: ActionScale | None,
    batch: int,
    seed: int,
    start: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Clips]:
    """Yield batches without end, from update `start` on; the next is read while one is in use.

    The order is a function of (seed, epoch), so resuming is starting later. The last, incomplete
    batch of an epoch is dropped.

    Args:
        index: the windows, from `clip_index`.
        batch: clips in the global batch; this rank gets its share of them.

    Raises:
        UserError: if there are fewer windows than a batch needs.
    """
    if len(index) < batch:
        raise UserError(
            f"{shown(trajectories.path)}: {len(index)} windows and a batch of {batch}; "
            "lower the batch size or collect more episodes"
        )
    places = batch_places(len(index), batch_size=batch, seed=seed, rank=rank, world=world)

    def read(update: int) -> Clips:
        chosen = index[places(update).numpy()]
        return trajectories.clips(chosen, frames=frames, frame_skip=frame_skip, scale=scale)

    yield from read_ahead(read, count(start))
