"""What may stand in BatchNorm's place where the data change while a model learns.

BatchNorm measures the batch in training and remembers a running mean for use. Under a replay that
grows, and with batches of neighbouring frames, the two differ: the agent acts with another network
than the one that learns.
"""

from typing import Literal

from torch import nn

Norm = Literal["batch", "group", "none"]
GROUPS = 8


def renormed(module: nn.Module, norm: Norm) -> None:
    """Replace every batch norm inside, in place: by groups of one sample's channels, or nothing."""
    for parent in list(module.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, _other(part.num_features, norm))


def _other(features: int, norm: Norm) -> nn.Module:
    if norm == "none":
        return nn.Identity()
    groups = next(k for k in range(GROUPS, 0, -1) if features % k == 0)
    return nn.GroupNorm(groups, features)
