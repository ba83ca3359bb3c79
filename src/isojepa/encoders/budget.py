"""A budget in minutes -> as many updates as this machine makes in them, measured before the first.

What is measured becomes a number of updates, is recorded as `steps`, and is never measured again:
a resumed run follows the schedule that it began with, whatever machine goes on with it.
"""

import time
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.plan import PretrainPlan
from isojepa.training.optimise import Update

MINUTES = 20.0
"""Of a run of which neither updates nor minutes are said."""
TRAINING = 0.88
"""Share of the budget for updates; reading, probes, scores and the report have the rest."""
MEASURED = 6
"""Updates that are timed, after one that is not: the first ones allocate and choose kernels."""
FEWEST = 20
"""Updates of the shortest run that a budget plans."""
ENOUGH, SMALLEST = 500, 64
"""Updates below which batches are halved to get more of them, and the batch that is not halved."""


class Budget(NamedTuple):
    """What a number of minutes is enough for."""

    minutes: float
    seconds: float
    """Of one update, as measured."""
    steps: int

    def in_words(self, plan: PretrainPlan, n_train: int, many: str) -> str:
        """What was planned, and what more time would buy."""
        passes = self.steps * plan.batch_size / n_train
        longer = 3 * self.minutes
        return (
            f"{self.minutes:g} minutes: {self.steps:,} updates of {plan.batch_size} {many} at "
            f"{1000 * self.seconds:.0f} ms, {passes:.1f} passes over the {many}; --minutes "
            f"{longer:g} would make {3 * self.steps:,}, --steps asks for a number"
        )


def minutes_of(config: PretrainConfig) -> float | None:
    """The budget that holds; None where a number of updates was asked for, or settled before."""
    return None if config.steps is not None else config.minutes or MINUTES


def seconds_per_update(updates: Iterator[Update], device: torch.device) -> float:
    """Median time of a few updates, after a first one."""
    times = []
    for _ in islice(updates, 1 + MEASURED):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter())
    return float(np.median(np.diff(times)))


def fitted(minutes: float, seconds: float, spent: float) -> Budget:
    """As many updates as fit.

    Args:
        minutes: for everything.
        seconds: of one update.
        spent: seconds gone by already.
    """
    left = TRAINING * 60 * minutes - spent
    return Budget(minutes, seconds, max(FEWEST, min(10**9, int(left / max(seconds, 1e-6)))))


def batch_for(steps: int, batch: int) -> int:
    """The batch of which enough updates fit where `steps` of `batch` do, `SMALLEST` at the least.

    Few updates teach little, however large their batches (docs/explanation/decisions.md).
    """
    while steps < ENOUGH and batch // 2 >= SMALLEST:
        steps, batch = 2 * steps, batch // 2
    return batch
