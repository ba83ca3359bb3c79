"""The training loop of a world model: a generator that makes one update per yield."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from isojepa.objective.lewm import LeWMLoss, LeWMTerms
from isojepa.training.optimise import (
    begin_update,
    end_update,
    learning_rate,
    parameter_groups,
)
from isojepa.world.episodes.trajectories import Clips
from isojepa.world.learning.config import WorldPlan


class Update(NamedTuple):
    """One update and its terms on the global batch."""

    step: int
    """Number of updates made so far, this one included."""
    terms: LeWMTerms
    grad_norm: Float[Tensor, ""]
    """Before clipping."""
    lr: float


def optimise(
    fabric: Fabric,
    model: nn.Module,
    compute: Callable[[Clips], LeWMTerms],
    optimiser: torch.optim.Optimizer,
    batches: Iterator[Clips],
    *,
    objective: LeWMLoss | None,
    schedule: Callable[[int], float],
    seed: int,
    start: int = 0,
    stop: int,
    clip: float = 1.0,
) -> Iterator[Update]:
    """Make updates `start` to `stop`, one per batch, and yield each.

    Args:
        compute: from a batch to the loss and its terms.
        objective: whose directions follow the step, if it draws any.
        schedule: step -> learning rate.
        seed: of whatever the model draws (dropout), keyed by step and rank.
        clip: largest gradient norm.
    """
    model.train()
    for step in range(start, stop):
        if objective is not None:
            objective.sigreg.step = step
        lr = schedule(step)
        begin_update(optimiser, lr, seed=seed, step=step, rank=fabric.global_rank)
        terms = compute(next(batches))
        fabric.backward(terms.loss)
        grad_norm = end_update(fabric, model, optimiser, clip)
        detached = LeWMTerms(*(term.detach() for term in terms))
        yield Update(step + 1, detached, grad_norm, lr)


def make_optimiser(model: nn.Module, plan: WorldPlan) -> torch.optim.AdamW:
    """AdamW in one kernel, where the machine has it, on what is trained."""
    return torch.optim.AdamW(parameter_groups(model, plan.weight_decay), lr=plan.lr, fused=True)


def scheduled_rate(plan: WorldPlan, step: int) -> float:
    """The learning rate of update `step`, counted from 0: 1 % warm-up, then a cosine."""
    warmup = max(1, plan.steps // 100)
    return learning_rate(step, peak=plan.lr, warmup=warmup, steps=plan.steps)
