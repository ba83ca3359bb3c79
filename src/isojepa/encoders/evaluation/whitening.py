"""What is exported is centred and a quarter of the way to white, on the training samples.

The loss makes the projections isotropic; what is used is the layer before them, whose coordinates
keep a common mean and a few large directions, by which nearest neighbours are found then. A linear
map takes the mean out and raises each direction's standard deviation to the power 1 - `SHARE`. It
is fitted without labels and is part of the encoder: `EncoderSpec.whitened`. All of the way gives
k-NN a little more and takes a third of the accuracy from single labels, where the large directions
are what there is (docs/explanation/decisions.md).
"""

from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.encoders.evaluation.features import embed_samples
from isojepa.encoders.modalities.modality import Dataset, Network

RIDGE = 0.1
"""Added to each direction's variance, as a share of their mean, with one share more for every d
samples that are missing: directions that hold next to nothing are not blown up to noise."""
SHARE = 0.25
"""How far towards white: 0 only centres, 1 makes all directions as wide."""
FITTED = 5000
"""Samples that the covariance is taken over, at most."""


def whitening(x: Float[Tensor, "n d"]) -> nn.Linear:
    """The map c (x - mean) (C + r I)^(-s/2), r being `RIDGE` + d / n of the mean variance.

    s is `SHARE`; c makes the mean variance of the coordinates 1. The root is the symmetric one, so
    that a coordinate stays as near as can be to what it was. In double precision; samples that do
    not vary are only centred.
    """
    n, d = x.shape
    x = x.double()
    mean = x.mean(0)
    centred = x - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / max(1, n - 1))
    values = values.clamp_min(0)
    level = values.mean()
    scales = torch.ones_like(values)
    if level > 0:
        scales = (values / level + RIDGE + d / n) ** (-SHARE / 2)
        scales /= (values * scales.square()).mean().sqrt()
    root = vectors * scales @ vectors.T
    layer = nn.Linear(d, d)
    with torch.no_grad():
        layer.weight.copy_(root)
        layer.bias.copy_(-root @ mean)
    return layer.requires_grad_(False)


@torch.no_grad()
def whitened(encoder: Network, data: Dataset, train_on: Tensor) -> Network:
    """A copy of the encoder with that map of the training samples behind it.

    As it is where its network has no place for that, or its embeddings are not finite.

    Args:
        train_on: positions in `data`.
    """
    if not hasattr(encoder.spec, "whitened"):
        return encoder
    places = torch.linspace(0, len(train_on) - 1, min(FITTED, len(train_on))).long()
    x = embed_samples(encoder, data, train_on[places]).cpu()
    if not torch.isfinite(x).all():
        return encoder
    made = deepcopy(encoder)
    made.spec = replace(made.spec, whitened=True)
    made.whitening = whitening(x).to(next(encoder.parameters()).device)
    return made
