"""Costs of candidate action sequences, built from a rollout and added up.

A cost is a weighted sum of terms. A term sees the predicted embeddings (b, s, h, d) and the
candidates (b, s, h, a) and gives (b, s). The terms towards a goal aggregate a distance over the
steps: the last step's, the least of any step, or their sum along the path; the distance is the
squared Euclidean one, or follows a graph of the data set's embeddings around walls and curves.

    graph = EmbeddingGraph.build(embeddings)
    cost = WeightedCost(rollout, [(1.0, any_step(graph.towards(goal))), (0.01, action_penalty())])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor

Rollout = Callable[[Any], Any]  # candidates (b, s, h, a) -> predicted embeddings (b, s, h, d)


@runtime_checkable
class Distance(Protocol):
    """Distance of embeddings to the goals of b episodes."""

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]: ...

    def select(self, rows: Int[Tensor, "n"]) -> "Distance":
        """The same for some of the episodes."""
        ...


@runtime_checkable
class Term(Protocol):
    """One part of a cost."""

    def __call__(
        self, predicted: Float[Tensor, "b s h d"], candidates: Float[Tensor, "b s h a"]
    ) -> Float[Tensor, "b s"]: ...

    def select(self, rows: Int[Tensor, "n"]) -> "Term":
        """The same for some of the episodes."""
        ...


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

    def select(self, rows: Int[Tensor, "n"]) -> "WeightedCost":
        """The same cost for some of the episodes."""
        rollout = cast(Any, self.rollout).select(rows)
        return WeightedCost(rollout, [(weight, term.select(rows)) for weight, term in self.terms])


@dataclass(frozen=True)
class ModelRollout:
    """A world model's open-loop rollout from what was seen of b episodes."""

    model: Any
    """Has `rollout(z, past_actions, candidates)`."""
    z: Float[Tensor, "b t d"]
    """Embeddings of the frames seen, oldest first."""
    past_actions: Float[Tensor, "b past a"]
    """The t - 1 blocks between them, normalised."""

    def __call__(self, candidates: Float[Tensor, "b s h a"]) -> Float[Tensor, "b s h d"]:
        return self.model.rollout(self.z, self.past_actions, candidates)

    def select(self, rows: Int[Tensor, "n"]) -> "ModelRollout":
        """The same for some of the episodes."""
        return replace(self, z=self.z[rows], past_actions=self.past_actions[rows])


# Distances


@dataclass(frozen=True)
class SquaredEuclidean:
    """Squared Euclidean distance to each episode's goal, as in LeWorldModel."""

    goal: Float[Tensor, "b d"]

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]:
        return (z - self.goal[:, None, None]).square().sum(-1)

    def select(self, rows: Int[Tensor, "n"]) -> "SquaredEuclidean":
        """The same for some of the episodes."""
        return SquaredEuclidean(self.goal[rows])


@dataclass(frozen=True)
class Euclidean:
    """Euclidean distance to each episode's goal: added up over steps, far ones weigh less."""

    goal: Float[Tensor, "b d"]

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]:
        return (z - self.goal[:, None, None]).square().sum(-1).clamp(min=1e-12).sqrt()

    def select(self, rows: Int[Tensor, "n"]) -> "Euclidean":
        """The same for some of the episodes."""
        return Euclidean(self.goal[rows])


@dataclass(frozen=True)
class EmbeddingGraph:
    """Nearest-neighbour graph over a sample of a data set's embeddings.

    In an isotropic embedding of many dimensions two states are as far apart as any two once they
    look different, so Euclidean distance tells near from nearer and nothing beyond. Short edges can
    be trusted; the shortest path over them is the way through the states the data passed through,
    around walls.
    """

    nodes: Float[Tensor, "n d"]
    edges: sparse.csr_matrix
    """Symmetric, edge lengths."""
    reach: float
    """Typical length of an edge: the median."""
    nearest: int = 4
    """Nodes that an embedding is attached to."""

    @staticmethod
    def build(
        embeddings: Float[Tensor, "n d"],
        *,
        nodes: int = 3000,
        neighbours: int = 10,
        nearest: int = 4,
        seed: int = 0,
    ) -> "EmbeddingGraph":
        """Sample nodes, join each to its nearest, and join what is left apart by its shortest gaps.

        Args:
            embeddings: of frames of the training episodes.
            nodes: at most, drawn without replacement.
            neighbours: edges from each node; too many cut through walls.
            nearest: nodes that an embedding asked about is attached to.
            seed: of the sample.
        """
        draw = np.random.default_rng(seed).permutation(len(embeddings))[:nodes]
        z = embeddings.detach()[torch.from_numpy(np.sort(draw)).to(embeddings.device)].float()
        n = len(z)
        distances = torch.cdist(z, z)
        distances.fill_diagonal_(torch.inf)
        lengths, to = distances.topk(min(neighbours, n - 1), largest=False)
        origin = np.repeat(np.arange(n), to.shape[1])
        shape = (n, n)
        lengths_np = lengths.cpu().double().numpy().ravel().clip(min=1e-9)
        edges = sparse.csr_matrix((lengths_np, (origin, to.cpu().numpy().ravel())), shape=shape)
        edges = _connect(edges.maximum(edges.T), distances.cpu().double().numpy())
        return EmbeddingGraph(z, edges, float(lengths[:, 0].median()), min(nearest, n))

    def towards(self, goal: Float[Tensor, "b d"]) -> "Geodesic":
        """The distance along the graph to each episode's goal.

        Each goal joins the graph as one more node, tied to its nearest nodes.
        """
        b, n = len(goal), len(self.nodes)
        gaps, to = torch.cdist(goal.float(), self.nodes).topk(self.nearest, largest=False)
        ties = sparse.csr_matrix(
            (
                gaps.cpu().double().numpy().ravel().clip(min=1e-9),
                (np.repeat(np.arange(b), self.nearest), to.cpu().numpy().ravel()),
            ),
            shape=(b, n),
        )
        whole = sparse.bmat([[self.edges, None], [ties, sparse.csr_matrix((b, b))]], format="csr")
        lengths = dijkstra(whole, indices=np.arange(n, n + b))[:, :n]
        return Geodesic(self, goal, torch.from_numpy(lengths).to(goal.dtype).to(goal.device))


@dataclass(frozen=True)
class Geodesic:
    """Distance along an `EmbeddingGraph` to each episode's goal.

    The soft minimum, over the nearest nodes, of the distance to the node and from there along the
    graph; within two edges of the goal, also the straight distance. Continuous enough for
    gradients.
    """

    graph: EmbeddingGraph
    goal: Float[Tensor, "b d"]
    lengths: Float[Tensor, "b n"]
    """From each node to each goal."""

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]:
        b, nodes = len(z), self.graph.nodes
        flat = z.reshape(b, -1, z.shape[-1])
        with torch.no_grad():  # which nodes are nearest: squares by one product
            scores = nodes.square().sum(1) - 2 * flat @ nodes.T
            near = scores.topk(self.graph.nearest, dim=-1, largest=False).indices
        local = (flat.unsqueeze(2) - nodes[near]).square().sum(-1).clamp(min=1e-12).sqrt()
        episodes = torch.arange(b, device=z.device)[:, None, None]
        ways = local + self.lengths[episodes, near]
        straight = (flat - self.goal[:, None]).square().sum(-1).clamp(min=1e-12).sqrt()
        far = torch.full_like(straight, 1e6 * self.graph.reach)
        straight = torch.where(straight < 2 * self.graph.reach, straight, far)
        all_ways = torch.cat([ways, straight.unsqueeze(-1)], -1)
        return soft_minimum(all_ways, 0.1 * self.graph.reach).reshape(z.shape[:-1])

    def select(self, rows: Int[Tensor, "n"]) -> "Geodesic":
        """The same for some of the episodes."""
        return replace(self, goal=self.goal[rows], lengths=self.lengths[rows])


def soft_minimum(x: Float[Tensor, "*batch n"], temperature: float) -> Float[Tensor, "*batch"]:
    """Mean of x weighted by exp(-x / temperature); the minimum at temperature 0."""
    if temperature == 0:
        return x.amin(-1)
    return (x * torch.softmax(-x / temperature, -1)).sum(-1)


# Terms


@dataclass(frozen=True)
class _ToGoal:
    """A distance, aggregated over the steps of the plan."""

    distance: Distance
    aggregate: Callable[[Any], Any]  # (b, s, h) -> (b, s)
    last_only: bool = False

    def __call__(
        self, predicted: Float[Tensor, "b s h d"], candidates: Float[Tensor, "b s h a"]
    ) -> Float[Tensor, "b s"]:
        del candidates
        return self.aggregate(self.distance(predicted[:, :, -1:] if self.last_only else predicted))

    def select(self, rows: Int[Tensor, "n"]) -> "_ToGoal":
        return replace(self, distance=self.distance.select(rows))


def last_step(to: Float[Tensor, "b d"] | Distance) -> Term:
    """Distance of the last predicted embedding to the goal: LeWorldModel's cost.

    Args:
        to: goal embeddings, for the squared Euclidean distance, or a distance.
    """
    return _ToGoal(_distance(to), lambda x: x[:, :, -1], last_only=True)


def any_step(to: Float[Tensor, "b d"] | Distance, *, temperature: float = 0.0) -> Term:
    """Least distance to the goal over the steps: it may be passed early.

    Args:
        to: goal embeddings, for the squared Euclidean distance, or a distance.
        temperature: of a soft minimum, in units of the distance; 0 for the minimum.
    """
    return _ToGoal(_distance(to), lambda x: soft_minimum(x, temperature))


def path_distance(to: Float[Tensor, "b d"] | Distance, *, discount: float = 1.0) -> Term:
    """Mean distance to the goal along the plan: to be near it soon and to stay.

    Args:
        to: goal embeddings, for the squared Euclidean distance, or a distance.
        discount: weight of a step relative to the one before it; above 1 the end counts more.
    """

    def mean(x: Tensor) -> Tensor:
        weights = discount ** torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        return (x * weights).sum(-1) / weights.sum()

    return _ToGoal(_distance(to), mean)


@dataclass(frozen=True)
class _Callable:
    """A term made from a function; one that depends on the episode has `select(rows)`."""

    function: Callable[[Any, Any], Any]
    inner: Any = field(default=None)
    make: Callable[[Any], "Term"] | None = None

    def __call__(
        self, predicted: Float[Tensor, "b s h d"], candidates: Float[Tensor, "b s h a"]
    ) -> Float[Tensor, "b s"]:
        return self.function(predicted, candidates)

    def select(self, rows: Int[Tensor, "n"]) -> "Term":
        if self.make is None or not hasattr(self.inner, "select"):
            return self
        return self.make(self.inner.select(rows))


def reward(function: Callable[[Any, Any], Any], *, discount: float = 1.0) -> Term:
    """Minus the discounted sum of rewards.

    Args:
        function: (predicted (b, s, h, d), candidates (b, s, h, a)) -> rewards (b, s, h).
        discount: weight of a block's reward relative to that of the one before it.
    """

    def total(predicted: Tensor, candidates: Tensor) -> Tensor:
        x = function(predicted, candidates)
        weights = discount ** torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        return -(x * weights).sum(-1)

    return _Callable(total, function, lambda f: reward(f, discount=discount))


def value(function: Callable[[Any], Any], *, discount: float = 1.0) -> Term:
    """Minus the discounted value of the last predicted embedding.

    Args:
        function: embeddings (b, s, d) -> values (b, s).
        discount: per block.
    """

    def final(predicted: Tensor, candidates: Tensor) -> Tensor:
        del candidates
        return -(discount ** predicted.shape[2]) * function(predicted[:, :, -1])

    return _Callable(final, function, lambda f: value(f, discount=discount))


def action_penalty(*, smoothness: float = 0.0) -> Term:
    """Mean square of the normalised actions, plus `smoothness` times that of their changes."""

    def penalty(predicted: Tensor, candidates: Tensor) -> Tensor:
        del predicted
        size = candidates.square().mean((2, 3))
        if smoothness and candidates.shape[2] > 1:
            size = size + smoothness * candidates.diff(dim=2).square().mean((2, 3))
        return size

    return _Callable(penalty)


def _distance(to: Any) -> Distance:
    return SquaredEuclidean(to) if isinstance(to, Tensor) else to


def _connect(edges: sparse.csr_matrix, distances: np.ndarray) -> sparse.csr_matrix:
    """Join the components, smallest first, each by its shortest edge to another one."""
    while True:
        count, label = connected_components(edges, directed=False)
        if count == 1:
            return edges.tocsr()
        sizes = np.bincount(label)
        lengths, origins, ends = [], [], []
        for k in np.argsort(sizes)[:-1]:
            inside, outside = np.flatnonzero(label == k), np.flatnonzero(label != k)
            block = distances[np.ix_(inside, outside)]
            i, j = np.unravel_index(block.argmin(), block.shape)
            lengths.append(max(block[i, j], 1e-9))
            origins.append(inside[i])
            ends.append(outside[j])
        extra = sparse.csr_matrix((lengths, (origins, ends)), shape=edges.shape)
        edges = edges.maximum(extra).maximum(extra.T)
