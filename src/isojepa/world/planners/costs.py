"""Costs of candidate action sequences, built from a rollout and added up.

A cost is a weighted sum of terms. A term sees the predicted embeddings (b, s, h, d) and the
candidates (b, s, h, a) and gives (b, s). The terms towards a goal aggregate a distance over the
steps: the last step's, the least of any step, or their mean along the path.

    graph = EmbeddingGraph.build(embeddings)
    cost = WeightedCost(rollout, [(1.0, any_step(graph.towards(goal))), (0.01, action_penalty())])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isojepa.world.model.latent import LatentModel
from isojepa.world.planners.distances import Distance, SquaredEuclidean, soft_minimum
from isojepa.world.planners.problem import Selectable, selected

Rollout = Callable[[Tensor], Tensor]  # candidates (b, s, h, a) -> predicted embeddings (b, s, h, d)
By = TypeVar("By")


@dataclass(frozen=True)
class Term(Generic[By]):
    """One part of a cost."""

    by: By
    """What it is measured by: a distance, or a function. If it depends on the episode, it has
    `select(rows)`."""
    measure: Callable[[By, Tensor, Tensor], Tensor]
    """(by, predicted, candidates) -> (b, s)."""

    def __call__(
        self, predicted: Float[Tensor, "b s h d"], candidates: Float[Tensor, "b s h a"]
    ) -> Float[Tensor, "b s"]:
        return self.measure(self.by, predicted, candidates)

    def select(self, rows: Int[Tensor, " n"]) -> "Term[By]":
        """The same for some of the episodes."""
        return replace(self, by=selected(self.by, rows))


Terms = list[tuple[float, Term]]


@dataclass(frozen=True)
class WeightedCost:
    """The weighted sum of terms over one rollout; what a planner calls."""

    rollout: Rollout
    """Candidates to predicted embeddings; may have `select(rows)` too."""
    terms: Sequence[tuple[float, Term]]
    """Weights and terms."""

    def __call__(self, candidates: Float[Tensor, "b s h a"]) -> Float[Tensor, "b s"]:
        predicted = self.rollout(candidates)
        total = torch.zeros(candidates.shape[:2], device=candidates.device)
        for weight, term in self.terms:
            total = total + weight * term(predicted, candidates)
        return total

    def select(self, rows: Int[Tensor, " n"]) -> "WeightedCost":
        """The same cost for some of the episodes."""
        rollout = cast(Rollout, cast(Selectable, self.rollout).select(rows))
        return WeightedCost(rollout, [(weight, term.select(rows)) for weight, term in self.terms])


@dataclass(frozen=True)
class ModelRollout:
    """A world model's open-loop rollout from what was observed of b episodes."""

    model: LatentModel
    z: Float[Tensor, "b t d"]
    """Embeddings of the frames observed, oldest first."""
    past_actions: Float[Tensor, "b past a"]
    """The t - 1 blocks between them, normalised."""
    executed: Callable[[Tensor], Tensor] | None = None
    """What is executed of candidates, likewise; None where it is they themselves."""

    def __call__(self, candidates: Float[Tensor, "b s h a"]) -> Float[Tensor, "b s h d"]:
        if self.executed is not None:
            candidates = self.executed(candidates)
        return self.model.rollout(self.z, self.past_actions, candidates)

    def select(self, rows: Int[Tensor, " n"]) -> "ModelRollout":
        """The same for some of the episodes."""
        return replace(self, z=self.z[rows], past_actions=self.past_actions[rows])


def last_step(to: Float[Tensor, "b d"] | Distance) -> Term[Distance]:
    """Distance of the last predicted embedding to the goal: LeWorldModel's cost.

    Args:
        to: goal embeddings, for the squared Euclidean distance, or a distance.
    """
    return Term(_distance(to), lambda distance, z, _: distance(z[:, :, -1:])[:, :, -1])


def any_step(to: Float[Tensor, "b d"] | Distance, *, temperature: float = 0.0) -> Term[Distance]:
    """Least distance to the goal over the steps: it may be passed early.

    Args:
        to: goal embeddings, for the squared Euclidean distance, or a distance.
        temperature: of a soft minimum, in units of the distance; 0 for the minimum.
    """
    return Term(_distance(to), lambda distance, z, _: soft_minimum(distance(z), temperature))


def path_distance(to: Float[Tensor, "b d"] | Distance, *, discount: float = 1.0) -> Term[Distance]:
    """Mean distance to the goal along the plan: to be near it soon and to stay.

    Args:
        to: goal embeddings, for the squared Euclidean distance, or a distance.
        discount: weight of a step relative to the one before it; above 1 the end counts more.
    """

    def mean(distance: Distance, z: Tensor, candidates: Tensor) -> Tensor:
        del candidates
        x = distance(z)
        weights = _discounts(discount, x)
        return (x * weights).sum(-1) / weights.sum()

    return Term(_distance(to), mean)


Reward = Callable[[Tensor, Tensor], Tensor]
Value = Callable[[Tensor], Tensor]


def reward(function: Reward, *, discount: float = 1.0) -> Term[Reward]:
    """Minus the discounted sum of rewards.

    Args:
        function: (predicted (b, s, h, d), candidates (b, s, h, a)) -> rewards (b, s, h); one that
            depends on the episode has `select(rows)`.
        discount: weight of a block's reward relative to that of the one before it.
    """

    def total(function: Reward, z: Tensor, candidates: Tensor) -> Tensor:
        x = function(z, candidates)
        return -(x * _discounts(discount, x)).sum(-1)

    return Term(function, total)


def value(function: Value, *, discount: float = 1.0) -> Term[Value]:
    """Minus the discounted value of the last predicted embedding.

    Args:
        function: embeddings (b, s, d) -> values (b, s); one that depends on the episode has
            `select(rows)`.
        discount: per block.
    """
    return Term(function, lambda function, z, _: -(discount ** z.shape[2]) * function(z[:, :, -1]))


def action_penalty(*, smoothness: float = 0.0) -> Term[None]:
    """Mean square of the normalised actions, plus `smoothness` times that of their changes."""

    def penalty(by: None, z: Tensor, candidates: Tensor) -> Tensor:
        del by, z
        size = candidates.square().mean((2, 3))
        if smoothness and candidates.shape[2] > 1:
            size = size + smoothness * candidates.diff(dim=2).square().mean((2, 3))
        return size

    return Term(None, penalty)


def _distance(to: Tensor | Distance) -> Distance:
    return SquaredEuclidean(to) if isinstance(to, Tensor) else to


def _discounts(discount: float, x: Float[Tensor, "b s h"]) -> Float[Tensor, " h"]:
    return discount ** torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
