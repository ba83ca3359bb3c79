"""Distances of embeddings to goals: straight, whitened, or along a graph of embeddings."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra
from torch import Tensor


@runtime_checkable
class Distance(Protocol):
    """Distance of embeddings to the goals of b episodes."""

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]: ...

    def select(self, rows: Int[Tensor, " n"]) -> "Distance":
        """The same for some of the episodes."""
        ...


@dataclass(frozen=True)
class SquaredEuclidean:
    """Squared Euclidean distance to each episode's goal, as in LeWorldModel."""

    goal: Float[Tensor, "b d"]

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]:
        return (z - self.goal[:, None, None]).square().sum(-1)

    def select(self, rows: Int[Tensor, " n"]) -> "SquaredEuclidean":
        """The same for some of the episodes."""
        return SquaredEuclidean(self.goal[rows])


@dataclass(frozen=True)
class Euclidean:
    """Euclidean distance to each episode's goal: added up over steps, far ones weigh less."""

    goal: Float[Tensor, "b d"]

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]:
        return _length(z - self.goal[:, None, None])

    def select(self, rows: Int[Tensor, " n"]) -> "Euclidean":
        """The same for some of the episodes."""
        return Euclidean(self.goal[rows])


@dataclass(frozen=True)
class Whitened:
    """Euclidean distance to each episode's goal after a linear map, such as a whitening."""

    goal: Float[Tensor, "b d"]
    matrix: Float[Tensor, "d d"]

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]:
        return _length((z - self.goal[:, None, None]) @ self.matrix.to(z))

    def select(self, rows: Int[Tensor, " n"]) -> "Whitened":
        """The same for some of the episodes."""
        return Whitened(self.goal[rows], self.matrix)


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
        edges = _edges(lengths, to, (n, n))
        edges = _connect(edges.maximum(edges.T), distances.cpu().double().numpy())
        return EmbeddingGraph(z, edges, float(lengths[:, 0].median()), min(nearest, n))

    def towards(self, goal: Float[Tensor, "b d"]) -> "Geodesic":
        """The distance along the graph to each episode's goal.

        Each goal joins the graph as one more node, tied to its nearest nodes.
        """
        b, n = len(goal), len(self.nodes)
        gaps, to = torch.cdist(goal.float(), self.nodes).topk(self.nearest, largest=False)
        ties = _edges(gaps, to, (b, n))
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
        episodes = torch.arange(b, device=z.device)[:, None, None]
        ways = _length(flat.unsqueeze(2) - nodes[near]) + self.lengths[episodes, near]
        straight = _length(flat - self.goal[:, None])
        far = torch.full_like(straight, 1e6 * self.graph.reach)
        straight = torch.where(straight < 2 * self.graph.reach, straight, far)
        all_ways = torch.cat([ways, straight.unsqueeze(-1)], -1)
        return soft_minimum(all_ways, 0.1 * self.graph.reach).reshape(z.shape[:-1])

    def select(self, rows: Int[Tensor, " n"]) -> "Geodesic":
        """The same for some of the episodes."""
        return replace(self, goal=self.goal[rows], lengths=self.lengths[rows])


def soft_minimum(x: Float[Tensor, "*batch n"], temperature: float) -> Float[Tensor, "*batch"]:
    """Mean of x weighted by exp(-x / temperature); the minimum at temperature 0."""
    if temperature == 0:
        return x.amin(-1)
    return (x * torch.softmax(-x / temperature, -1)).sum(-1)


def _length(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch"]:
    return x.square().sum(-1).clamp(min=1e-12).sqrt()  # whose gradient is finite at 0


def _edges(
    lengths: Float[Tensor, "m k"], to: Int[Tensor, "m k"], shape: tuple[int, int]
) -> sparse.csr_matrix:
    """Edges from node i of m to the k nodes to[i]."""
    m, k = lengths.shape
    values = lengths.cpu().double().numpy().ravel().clip(min=1e-9)
    return sparse.csr_matrix(
        (values, (np.repeat(np.arange(m), k), to.cpu().numpy().ravel())), shape=shape
    )


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
