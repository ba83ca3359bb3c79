"""Every statistic under every null hypothesis it tests, and a sample for it."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from isojepa.normality.multivariate import MULTIVARIATE, random_directions, sliced
from isojepa.normality.statistic import Statistic
from isojepa.normality.univariate import UNIVARIATE

N, D = 24, 3


class Case(NamedTuple):
    label: str
    function: Callable[[Tensor], Tensor]
    statistic: Statistic
    shape: tuple[int, ...]
    """Of one sample."""

    @property
    def scale_free(self) -> bool:
        own = self.statistic.null == "composite" and self.statistic.simple is None
        return own or self.label.endswith("-composite")


def cases():
    directions = random_directions(D, 8, seed=3).double()
    for name, statistic in UNIVARIATE.items():
        for null in statistic.nulls:
            yield Case(f"{name}-{null}", statistic.under(null), statistic, (N,))
        along = partial(sliced, directions=directions, statistic=name)
        yield Case(f"sliced-{name}", along, statistic, (N, D))
    for name, statistic in MULTIVARIATE.items():
        for null in statistic.nulls:
            yield Case(f"{name}-{null}", statistic.under(null), statistic, (N, D))


every = pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.label)
univariate = pytest.mark.parametrize("name", UNIVARIATE)
multivariate = pytest.mark.parametrize("name", MULTIVARIATE)


def sample(*shape, seed=0, dtype=torch.float64):
    """Not normal, not standardised, without ties."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (0.3 + 1.1 * x + 0.2 * x.square()).to(dtype)
