"""The training loop: a generator that makes one update per yield."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from isojepa.encoders.modalities.images.batches import Batch
from isojepa.encoders.modalities.images.views import Views
from isojepa.objective.accumulation import backward_in_parts
from isojepa.objective.lejepa import LeJEPALoss, LeJEPATerms
from isojepa.training.optimise import begin_update, end_update


class Update(NamedTuple):
    """One update: its terms on the global batch, and what the model made of this rank's share."""

    step: int
    """Number of updates made so far, this one included."""
    loss: Float[Tensor, ""]
    invariance: Float[Tensor, ""]
    sigreg: Float[Tensor, ""]
    grad_norm: Float[Tensor, ""]
    """Before clipping."""
    lr: float
    embeddings: Float[Tensor, "v n d"]
    projections: Float[Tensor, "v n k"]
    batch: Batch


def optimise(
    fabric: Fabric,
    model: nn.Module,
    objective: LeJEPALoss,
    optimiser: torch.optim.Optimizer,
    batches: Iterator[Batch],
    make_views: Callable[[Batch, int], Views],
    *,
    schedule: Callable[[int], float],
    seed: int,
    start: int = 0,
    clip: float = 1.0,
    parts: int = 1,
) -> Iterator[Update]:
    """Make one update per batch and yield it.

    Args:
        make_views: (batch, step) -> views on the model's device.
        schedule: step -> learning rate.
        seed: of whatever the model draws (dropout), keyed by step and rank.
        start: number of updates already made, in a resumed run.
        clip: largest gradient norm.
        parts: how many pieces to embed the batch in, to save memory; the loss sees it whole.
    """
    model.train()
    for step, batch in enumerate(batches, start):
        objective.sigreg.step = step
        lr = schedule(step)
        begin_update(optimiser, lr, seed=seed, step=step, rank=fabric.global_rank)
        views = make_views(batch, step)
        if parts == 1:
            embeddings, projections = model(views)
            terms = objective(projections)
            fabric.backward(terms.loss)
        else:
            embeddings, projections, terms = _in_parts(fabric, model, objective, views, parts)
        grad_norm = end_update(fabric, model, optimiser, clip)
        yield Update(
            step=step + 1,
            loss=terms.loss.detach(),
            invariance=terms.invariance.detach(),
            sigreg=terms.sigreg.detach(),
            grad_norm=grad_norm,
            lr=lr,
            embeddings=embeddings.detach(),
            projections=projections.detach(),
            batch=batch,
        )


def _in_parts(
    fabric: Fabric, model: nn.Module, objective: LeJEPALoss, views: Views, parts: int
) -> tuple[Float[Tensor, "v n d"], Float[Tensor, "v n k"], LeJEPATerms]:
    """Embed the samples piece by piece, in as many pieces on every rank."""
    seen: list[tuple[Tensor, Tensor]] = []

    def project(part: Views) -> Tensor:
        embeddings, projections = model(part)
        seen.append((embeddings.detach(), projections.detach()))
        return projections

    no_sync: Any = fabric.no_backward_sync  # of a model that Fabric has set up, which `model` is
    terms = backward_in_parts(
        model,
        split_views(views, parts),
        objective,
        embed=project,
        backward=fabric.backward,
        no_sync=partial(no_sync, model, enabled=fabric.world_size > 1),
    )
    embeddings, projections = (torch.cat(x, 1) for x in zip(*seen[:parts]))
    return embeddings, projections, terms


def split_views(views: Views, parts: int) -> list[Views]:
    """The views of consecutive, nearly equal groups of samples."""
    large = views.large.tensor_split(parts, 1)
    small = [None] * parts if views.small is None else views.small.tensor_split(parts, 1)
    return [Views(*pair) for pair in zip(large, small)]
