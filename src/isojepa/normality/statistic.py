"""What a statistic is: a function of a sample, and what may be asked of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

Null = Literal["simple", "composite"]
"""simple: N(0, I), mean and covariance known; composite: some normal law, both estimated."""

Tail = Literal["large", "small", "both"]
"""Which values of a statistic are evidence against its null hypothesis."""

Smoothness = Literal["smooth", "ranks", "sparse"]
"""smooth: differentiable in every sample; ranks: between ties only, because the sample is sorted
and ranks carry no gradient; sparse: as ranks, and through a single order statistic."""


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A test statistic and its properties, which the tests check one by one."""

    function: Callable[..., Tensor]
    """Samples to statistics: (..., n) -> (...) if univariate, (..., n, d) -> (...) if not."""
    null: Null
    """The null hypothesis of `function`."""
    to_standard: Callable[[Tensor], Tensor] | None
    """Centres and scales a sample; makes a simple statistic composite. None if that leaves nothing
    to test, or if `function` already does it."""
    simple: Callable[..., Tensor] | None = None
    """For a composite statistic: its form with mean 0 and covariance I known."""
    tail: Tail = "large"
    """Which values are evidence against the null hypothesis."""
    min_n: int = 1
    """Fewest samples; a composite test of d dimensions also needs d + 1."""
    pairs: bool = False
    """Whether it compares all pairs of samples: time, and but for one memory, grow with n^2."""
    gradient: Smoothness = "smooth"
    """How the statistic depends on the sample's values."""
    bounded: bool
    """Whether `function`'s gradient in one sample, at fixed n, is bounded however far it lies."""

    @property
    def nulls(self) -> tuple[Null, ...]:
        """The null hypotheses it can test."""
        fixed = self.null == "simple" and self.to_standard is None
        return ("simple",) if fixed else ("simple", "composite")

    def under(self, null: Null) -> Callable[[Tensor], Tensor]:
        """The statistic as a test of `null`.

        A composite statistic without a form of its own for the simple null serves as it is: it
        stays valid, and does not see mean and covariance.

        Raises:
            ValueError: if the statistic only looks at mean and variance, which the composite null
                leaves free.
        """
        if null not in self.nulls:
            raise ValueError(f"{self.function.__name__} has no composite form: use null='simple'")
        if null == self.null:
            return self.function
        to_standard = self.to_standard
        if to_standard is None:
            return self.simple or self.function
        return lambda sample: self.function(to_standard(sample))
