"""A batch of embeddings at a glance, cheap enough to look at while a network trains."""

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

MOST = 512
"""Samples and dimensions looked at: beyond, the first of them."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far the samples of a batch lie apart, and in how many directions."""

    deviation: float
    """Root mean square of the coordinates' standard deviations."""
    share: float
    """Of the mean square length that is variance, in [0, 1]: 0 if all lie on one point."""
    dimension: float
    """Directions in use, from 1 to min(n - 1, d): the participation ratio (sum l)^2 / sum l^2 of
    the covariance's eigenvalues; 0 if nothing varies."""
    d: int


@torch.no_grad()
def spread_of(z: Float[Tensor, "n d"]) -> Spread:
    """The spread of a batch, by one matrix product of n^2 d operations and no decomposition."""
    d = z.shape[1]
    x = z[:MOST, :MOST].double()
    centred = x - x.mean(0)
    variance = centred.square().mean().item()
    length = x.square().mean().item()
    # Those of the Gram matrix are those of the covariance; small differences count: doubles
    gram = centred @ centred.T if len(x) <= x.shape[1] else centred.T @ centred
    squared = gram.square().sum().item()
    total = gram.diagonal().sum().item()
    negligible = variance <= 1e-14 * max(length, 1e-30)
    return Spread(
        deviation=sqrt(variance),
        share=0.0 if negligible else variance / length,
        dimension=0.0 if negligible else total**2 / squared,
        d=d,
    )


def disagreement(z: Float[Tensor, "v n d"], n_global: int) -> float:
    """How far the views of a sample lie apart, over what views of unrelated samples would: 0 if
    they coincide, 1 if they agree by chance; NaN with a single view, or if nothing varies.

    The mean squared distance of the views from the mean of the first `n_global`, over its
    expectation for independent views of the same variance.
    """
    v = z.shape[0]
    z = z[:, :MOST, :MOST].float()
    variance = (z - z.mean(1, keepdim=True)).square().mean()
    apart = (z - z[:n_global].mean(0)).square().mean()
    chance = ((v - n_global) * (1 + 1 / n_global) + n_global * (1 - 1 / n_global)) / v
    expected = float(variance) * chance
    return float(apart) / expected if expected > 0 else float("nan")
