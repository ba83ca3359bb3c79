"""Numbers as distributions over bins, so that a value of any size is learnt by classification.

A number is squashed by symlog and shared between its two neighbouring bins; the inverse is the mean
over the bins, expanded again (Schrittwieser et al. 2020; Hafner et al., arXiv 2301.04104).
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def symlog(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def symexp(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """The inverse of `symlog`."""
    return x.sign() * x.abs().expm1()


class TwoHot(nn.Module):
    """Evenly spaced bins of the squashed number.

    Args:
        bins: how many.
        reach: the outer bins stand for -symexp(reach) and symexp(reach); beyond them is cut.
    """

    at: Tensor

    def __init__(self, bins: int = 101, reach: float = 6.0) -> None:
        super().__init__()
        self.bins, self.reach = bins, reach
        self.register_buffer("at", torch.linspace(-reach, reach, bins), persistent=False)

    def encode(self, x: Float[Tensor, "*n"]) -> Float[Tensor, "*n k"]:
        """Weights of the bins, whose mean is symlog(x)."""
        place = (symlog(x).clamp(-self.reach, self.reach) + self.reach) / (2 * self.reach)
        place = place * (self.bins - 1)
        low = place.floor().clamp(max=self.bins - 2)
        share = (place - low)[..., None]
        left = F.one_hot(low.long(), self.bins).to(x.dtype)
        return left * (1 - share) + left.roll(1, -1) * share

    def decode(self, logits: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
        """The number that logits stand for."""
        return symexp(logits.softmax(-1) @ self.at)

    def loss(self, logits: Float[Tensor, "*n k"], x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Cross-entropy of the logits to a number; no gradient to the number."""
        return -(self.encode(x.detach()) * logits.log_softmax(-1)).sum(-1)
