"""From a batch of images to LeJEPA's loss: all of an update that is LeJEPA's own."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from isojepa.embeddings.alarm import Vitals
from isojepa.embeddings.monitor import Faults, sample_faults
from isojepa.embeddings.vitals import disagreement, spread_of
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.modality import Batch, Views
from isojepa.encoders.plan import PretrainPlan
from isojepa.objective.accumulation import backward_in_parts
from isojepa.objective.automatic import AutomaticWeight
from isojepa.objective.lejepa import LeJEPALoss, LeJEPATerms
from isojepa.objective.regularisers import make_regulariser
from isojepa.training.optimise import Update


class PretrainTerms(NamedTuple):
    """The objective's terms on the global batch, and what the model made of this rank's share."""

    loss: Float[Tensor, ""]
    invariance: Float[Tensor, ""]
    sigreg: Float[Tensor, ""]
    """The regulariser before its weight: SIGReg, unless another was chosen."""
    embeddings: Float[Tensor, "v n d"]
    projections: Float[Tensor, "v n k"]
    lambd: Float[Tensor, ""]
    """Weight of the regulariser in this update."""


def build_regulariser(config: PretrainConfig) -> nn.Module:
    """The `Regulariser` that a configuration names."""
    return make_regulariser(
        config.regulariser,
        slices=config.slices,
        knots=config.knots,
        t_max=config.t_max,
        seed=config.seed,
        directions=config.directions,
    )


def build_weight(
    config: PretrainConfig, plan: PretrainPlan, device: torch.device
) -> AutomaticWeight | None:
    """What finds lambda while training; None if it is a number."""
    if plan.lambd != "auto":
        return None
    weight = AutomaticWeight(
        plan.batch_size, plan.steps, hold=plan.warmup, knots=config.knots, t_max=config.t_max
    )
    return weight.to(device)


def batch_vitals(update: Update[Batch, PretrainTerms], n_global: int, *, samples: bool) -> Vitals:
    """What the monitor looks at; at the samples themselves only where asked."""
    terms, faults = update.terms, Faults()
    if samples:
        faults = sample_faults(next(iter(update.batch.samples)))
    return Vitals(
        step=update.step,
        loss=terms.loss.item(),
        lambd=terms.lambd.item(),
        embeddings=spread_of(terms.embeddings[0].float()),
        projections=spread_of(terms.projections[0].float()),
        disagreement=disagreement(terms.projections, n_global),
        repeated=faults.repeated,
        constant=faults.constant,
    )


def lejepa(
    fabric: Fabric,
    model: nn.Module,
    objective: LeJEPALoss,
    make_views: Callable[[Batch, int], Views],
    *,
    parts: int = 1,
) -> Callable[[Batch, int], PretrainTerms]:
    """The `compute` of `optimise`: views, embeddings and the loss of one batch.

    Args:
        model: views -> embeddings and projections; set up by Fabric.
        make_views: (batch, step) -> views on the model's device.
        parts: how many pieces to embed the batch in, to save memory; the loss sees it whole.
    """

    def compute(batch: Batch, step: int) -> PretrainTerms:
        views, at_step = make_views(batch, step), partial(objective, step=step)
        lambd = torch.as_tensor(objective.weight())
        if parts > 1:
            return _in_parts(fabric, model, at_step, lambd, split_views(views, parts))
        embeddings, projections = model(views)
        loss, invariance, sigreg = at_step(projections)
        return PretrainTerms(loss, invariance, sigreg, embeddings, projections, lambd)

    return compute


def _in_parts(
    fabric: Fabric,
    model: nn.Module,
    objective: Callable[[Tensor], LeJEPATerms],
    lambd: Float[Tensor, ""],
    parts: list[Views],
) -> PretrainTerms:
    """Embed the samples piece by piece, in as many pieces on every rank; leaves the gradients."""
    made: list[tuple[Tensor, Tensor]] = []

    def project(part: Views) -> Tensor:
        embeddings, projections = model(part)
        made.append((embeddings.detach(), projections.detach()))
        return projections

    no_sync: Any = fabric.no_backward_sync  # of a model that Fabric has set up, which `model` is
    terms = backward_in_parts(
        model,
        parts,
        objective,
        embed=project,
        backward=fabric.backward,
        no_sync=partial(no_sync, model, enabled=fabric.world_size > 1),
    )
    embeddings, projections = (torch.cat(x, 1) for x in zip(*made[: len(parts)]))
    return PretrainTerms(*terms, embeddings, projections, lambd)


def split_views(views: Views, parts: int) -> list[Views]:
    """The views of consecutive, nearly equal groups of samples."""
    large = views.large.tensor_split(parts, 1)
    small = [None] * parts if views.small is None else views.small.tensor_split(parts, 1)
    return [Views(*pair) for pair in zip(large, small)]
