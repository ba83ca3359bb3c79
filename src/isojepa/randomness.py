"""Random numbers as a function of integer keys, with no state to save or to share."""

import numpy as np
import torch


def seed_from(*keys: int) -> int:
    """Mix non-negative integers, such as (seed, step), into one 63-bit seed.

    NumPy's `SeedSequence` does the mixing, so that neighbouring keys give unrelated streams and
    every machine and version gives the same seed.
    """
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> 1)


def generator(*keys: int) -> torch.Generator:
    """A CPU generator seeded by the keys: the same keys give the same draws on every rank."""
    return torch.Generator().manual_seed(seed_from(*keys))
