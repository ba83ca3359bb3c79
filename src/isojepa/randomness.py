"""Random numbers as a function of integer keys, with no state to save or to share."""

from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor


class Stream(IntEnum):
    """Every random stream of the package: the last key but a counter, apart from others' seeds.

    Values are part of what a seed means and never change. Streams of one value (aliases) belong to
    different commands, and differ in what follows or precedes them.
    """

    VIEWS = 1  # (seed, step, .)
    ORDER = 2  # of the samples in an epoch: (seed, epoch, .)
    MODEL = 3  # what a model draws in training, such as dropout: (seed, step, rank, .)
    WEIGHTS = 4  # initial ones: (seed, .); likewise all below but where said
    SPLIT = 5
    PAIRS = 6  # of start and goal
    GRAPH = 7
    PROBED_ROWS = 8
    UNTRAINED = 9  # weights of the network that a probe compares with
    DISTANCE_PAIRS = 10
    SURPRISE_CLIPS = 11
    SURPRISE_DONORS = 12
    DECODER_FRAMES = 13
    DECODER_ORDER = 14
    DECODER_EPISODES = 15
    WALLED_PAIRS = 20
    BOOTSTRAP = 21  # of intervals over episodes
    WHITENING = 23  # frames of which embeddings are whitened
    DIRECT = 22  # blocks that a direct policy learns from: (seed, step, .)
    MASKS = 24  # of patches of images: (seed, step, .)
    EPISODE_RESET = 0  # (seed, episode, .)
    EPISODE_POLICY = 1  # (seed, episode, .)
    NULL = 1  # Gaussian samples of a calibration: (seed, ., counter)
    MEASURED_CLIPS = 6  # held-out clips, and the frames that fit frozen features
    REPLAY = 16  # (seed, update, length, .)
    ACTING = 17  # exploration, policy and planning: (seed, decision, .)
    AGENT_EPISODE = 18  # (seed, episode, .)
    AGENT_TEST = 19  # evaluation episodes: (seed, evaluation, episode, .)


def seed_from(*keys: int) -> int:
    """Mix non-negative integers, such as (seed, step), into one 63-bit seed.

    NumPy's `SeedSequence` does the mixing, so that neighbouring keys give unrelated streams and
    every machine and version gives the same seed.
    """
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> 1)


def generator(*keys: int) -> torch.Generator:
    """A CPU generator seeded by the keys: the same keys give the same draws on every rank."""
    return torch.Generator().manual_seed(seed_from(*keys))


def epoch_order(n: int, *, seed: int, epoch: int) -> Int64[Tensor, " n"]:
    """The permutation of 0, ..., n - 1 in which an epoch visits its samples."""
    return torch.randperm(n, generator=generator(seed, epoch, Stream.ORDER))
