"""What a null distribution depends on, and the p-values that it gives to a statistic.

The null distribution of a statistic depends on the sample's shape (n, d) and on the directions, so
it is simulated for exactly those, with the same code that evaluates the sample: p-values are then
uniform under the null by exchangeability, whatever n, d and the number of draws.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.errors import UserError
from isojepa.machine import memory_bytes
from isojepa.normality.multivariate import MULTIVARIATE, Reduction, random_directions, sliced
from isojepa.normality.samples import whiten
from isojepa.normality.statistic import Null, Statistic
from isojepa.normality.univariate import UNIVARIATE

_STATISTICS = {**UNIVARIATE, **MULTIVARIATE}


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Everything a null distribution depends on."""

    statistic: str
    """A name in `MULTIVARIATE`, or in `UNIVARIATE`: then sliced if d > 1."""
    n: int
    """Samples."""
    d: int
    """Dimensions, 1 for a univariate sample."""
    null: Null = "simple"
    """simple: N(0, I); composite: some normal law."""
    slices: int = 64
    """Random directions of a sliced statistic, at least 1; ignored otherwise."""
    reduction: Reduction = "mean"
    """Mean over directions, or the most extreme of them; ignored unless sliced."""
    n_null: int = 1000
    """Null samples, at least 1: no p-value is smaller than 1 / (n_null + 1)."""
    seed: int = 0
    """Non-negative seed of the directions and of the null samples."""

    def __post_init__(self) -> None:
        properties = self.properties
        if self.n_null < 1 or self.slices < 1 or self.seed < 0:
            raise UserError("n_null and slices must be at least 1 and seed not negative")
        if self.d < 1:
            raise UserError("needs at least one dimension")
        if self.n < properties.min_n:
            raise UserError(f"{self.statistic} needs {properties.min_n} samples, got {self.n}")
        if properties.pairs and 3 * 8 * self.n**2 > memory_bytes() // 2:
            raise UserError(
                f"{self.statistic} compares all pairs of n={self.n:,} samples, for which this "
                "machine has too little memory: test a random part, or take a statistic whose cost "
                "grows with n, such as epps_pulley"
            )
        if self.null == "composite" and self.n <= self.d:
            raise UserError(
                f"the composite null needs more samples than dimensions, got n={self.n}, "
                f"d={self.d}: test the simple null, or fewer dimensions"
            )
        try:
            properties.under(self.null)
        except ValueError as error:
            raise UserError(str(error)) from error
        if self.sliced and self.reduction == "max" and properties.tail == "both":
            raise UserError(f"{self.statistic} has two tails: average over directions instead")

    @property
    def properties(self) -> Statistic:
        """The statistic behind the name."""
        if self.statistic not in _STATISTICS:
            known = ", ".join(_STATISTICS)
            raise UserError(f"unknown statistic {self.statistic!r}: one of {known}")
        return _STATISTICS[self.statistic]

    @property
    def sliced(self) -> bool:
        """Whether a univariate statistic meets a multivariate sample."""
        return self.d > 1 and self.statistic in UNIVARIATE

    def evaluate(self, z: Float[Tensor, "... n d"]) -> Float[Tensor, "..."]:
        """The statistic of each sample."""
        if self.sliced:
            directions = random_directions(self.d, self.slices, seed=self.seed)
            z = whiten(z) if self.null == "composite" else z
            return sliced(z, directions, self.statistic, self.reduction)
        function = self.properties.under(self.null)
        return function(z if self.statistic in MULTIVARIATE else z[..., 0])

    def p_values(self, values: Float[Tensor, "..."], null: Float[Tensor, " r"]) -> Tensor:
        """P-values of statistics, given the sorted null statistics: in [1 / (r + 1), 1].

        (1 + how many null statistics are at least as extreme) / (1 + r); for two tails twice the
        smaller one, at most 1. Exact for any r (Davison and Hinkley 1997, section 4.2), over null
        samples: given the one that was drawn, the chance of p <= 0.05 scatters around 0.05 with a
        standard deviation of (0.05 * 0.95 / r)^0.5, 0.015 for r = 199 and 0.007 for 1,000.

        Raises:
            UserError: if a statistic is not a number.
        """
        if values.isnan().any() or null.isnan().any():
            raise UserError(
                f"{self.statistic} is not a number for some of these samples: they hold numbers "
                "that are not finite, or too large to square"
            )
        null = null.to(values)
        at_least = null.numel() - torch.searchsorted(null, values.contiguous(), right=False)
        at_most = torch.searchsorted(null, values.contiguous(), right=True)
        large, small = ((1 + count).double() / (1 + null.numel()) for count in (at_least, at_most))
        if self.properties.tail == "both":
            return (2 * torch.minimum(large, small)).clamp_max(1)
        return large if self.properties.tail == "large" else small
