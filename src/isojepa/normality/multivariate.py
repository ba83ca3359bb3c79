"""All multivariate statistics by name, (..., n, d) -> (...), and slicing of the univariate ones."""

from collections.abc import Callable, Mapping
from functools import partial
from math import log, sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.pairwise import bhep, energy, epps_pulley_all_directions, henze_zirkler
from isojepa.normality.samples import multivariate_sample, product, whiten
from isojepa.normality.statistic import Null, Statistic, Tail
from isojepa.normality.univariate import UNIVARIATE
from isojepa.randomness import generator

__all__ = [
    "MULTIVARIATE",
    "Reduction",
    "bhep",
    "energy",
    "epps_pulley_all_directions",
    "henze_visagie",
    "henze_zirkler",
    "mardia_kurtosis",
    "mardia_skewness",
    "random_directions",
    "sliced",
    "whiten",
]

Reduction = Literal["mean", "max"]
"""mean over directions; max: the direction with most evidence against the null hypothesis."""


def random_directions(d: int, slices: int, *, seed: int, step: int = 0) -> Float[Tensor, "d m"]:
    """Unit columns, uniform on the sphere, a function of (seed, step) alone; float32, on the CPU.

    Drawn on the CPU so that every rank, every resume and every kind of device has the same ones.
    """
    gaussian = torch.randn(d, slices, generator=generator(seed, step))
    # Ten times as fast as `normalize(dim=0)`, whose norm over the first axis is not vectorised.
    return gaussian.div_(gaussian.square().sum(0).sqrt_().clamp_min_(1e-12))


def sliced(
    z: Float[Tensor, "... n d"],
    directions: Float[Tensor, "d m"],
    statistic: str | Statistic = "epps_pulley",
    reduction: Reduction = "mean",
) -> Float[Tensor, "..."]:
    """A univariate statistic of z along each direction, averaged or the most extreme of them.

    Null hypothesis: N(0, I); of `whiten(z)`, some normal law. All one-dimensional projections are
    standard normal if and only if z is (Cramer-Wold). Invariant under rotations of z together with
    the directions. For a statistic of which small values are evidence, "max" takes the smallest.

    Args:
        z: samples on axis -2; leading axes are separate samples.
        directions: unit columns, such as `random_directions(d, m, seed=0)`.
        statistic: a name in `UNIVARIATE`, or any univariate `Statistic`.

    Raises:
        KeyError: for an unknown name.
        ValueError: for "max" of a statistic with evidence in both tails.
    """
    z = multivariate_sample(z)
    statistic = UNIVARIATE[statistic] if isinstance(statistic, str) else statistic
    projections = product(z, directions.to(z)).mT.contiguous()
    values = statistic.under("simple")(projections)
    if reduction == "mean":
        return values.mean(-1)
    if statistic.tail == "both":
        raise ValueError(f"{statistic.function.__name__} has two tails: use reduction='mean'")
    return values.amax(-1) if statistic.tail == "large" else values.amin(-1)


def mardia_skewness(z: Float[Tensor, "... n d"], null: Null = "composite") -> Float[Tensor, "..."]:
    """Mardia's skewness: n/6 mean_ij (y_i . y_j)^3, for y the whitened samples.

    n/6 times the squared norm of the third moment tensor. Composite null: chi-squared with
    d (d + 1) (d + 2) / 6 degrees of freedom in the limit. Mardia (1970), Biometrika 57(3).

    Args:
        z: samples on axis -2; leading axes are separate samples.
        null: "composite", as published; "simple" takes y = z, mean 0 and covariance I known.

    Raises:
        ValueError: for the composite null with n at most d.
    """
    y = whiten(z) if null == "composite" else multivariate_sample(z)
    return y.shape[-2] / 6 * product(y, y.mT).pow(3).mean((-2, -1))


def mardia_kurtosis(z: Float[Tensor, "... n d"], null: Null = "composite") -> Float[Tensor, "..."]:
    """Mardia's kurtosis, standardised: (mean |y_i|^4 - d (d + 2)) / sqrt(8 d (d + 2) / n).

    y are the whitened samples. Composite null: standard normal in the limit, slowly; both tails
    are evidence, heavy tails large and light ones small. Mardia (1970), Biometrika 57(3).

    Args:
        z: samples on axis -2; leading axes are separate samples.
        null: "composite", as published; "simple" takes y = z, with mean 0 and covariance I known,
            and the limit's variance is d + 3 instead of 1.

    Raises:
        ValueError: for the composite null with n at most d.
    """
    y = whiten(z) if null == "composite" else multivariate_sample(z)
    n, d = y.shape[-2:]
    excess = y.square().sum(-1).square().mean(-1) - d * (d + 2)
    return excess / sqrt(8 * d * (d + 2) / n)


def henze_visagie(
    z: Float[Tensor, "... n d"], gamma: float = 5.0, null: Null = "composite"
) -> Float[Tensor, "..."]:
    """Henze-Visagie: how well the moment generating function solves its differential equation.

    n times the integral of |grad M(t) - t M(t)|^2 exp(-gamma |t|^2) dt, M the empirical moment
    generating function of the whitened samples y, which is (pi / gamma)^(d/2) / n times

    sum_ij exp(|a|^2 / (4 gamma)) (y_i . y_j - |a|^2 / (2 gamma) + |a|^2 / (4 gamma^2)
        + d / (2 gamma)),  a = y_i + y_j.

    Returned without (pi / gamma)^(d/2) and times (1 - 2 / gamma)^(d/2), which leaves a number of
    moderate size in every dimension. Exponents beyond half the floating-point range are clipped.
    Henze and Visagie (2020), Annals of the Institute of Statistical Mathematics 72, who take
    gamma = 5. Exponential in the samples: heavy tails dominate it.

    Args:
        z: samples on axis -2; leading axes are separate samples.
        gamma: decay of the weight, above 2.
        null: "composite", as published; "simple" takes y = z, mean 0 and covariance I known.

    Raises:
        ValueError: for `gamma` of 2 or less, or the composite null with n at most d.
    """
    if not gamma > 2:
        raise ValueError(f"gamma must be above 2, got {gamma}")
    y = whiten(z) if null == "composite" else multivariate_sample(z)
    n, d = y.shape[-2:]
    inner = product(y, y.mT)
    norms = inner.diagonal(dim1=-2, dim2=-1)
    sums = norms.unsqueeze(-1) + norms.unsqueeze(-2) + 2 * inner  # |a|^2
    polynomial = inner - sums * (1 / (2 * gamma) - 1 / (4 * gamma**2)) + d / (2 * gamma)
    exponent = sums / (4 * gamma) + d / 2 * log(1 - 2 / gamma)
    limit = 0.5 * log(torch.finfo(y.dtype).max)
    return (exponent.clamp_max(limit).exp() * polynomial).sum((-2, -1)) / n


_simple = partial(Statistic, pairs=True, null="simple", to_standard=whiten, bounded=True)
"""Against N(0, I), which whitening the sample makes composite."""


def _composite(
    function: Callable[..., Tensor], *, pairs: bool = True, tail: Tail = "large"
) -> Statistic:
    """Estimates mean and covariance itself, unless `null="simple"` says that they are known."""
    return Statistic(
        function=function,
        simple=partial(function, null="simple"),
        null="composite",
        to_standard=None,
        pairs=pairs,
        tail=tail,
        bounded=True,
    )


MULTIVARIATE: Mapping[str, Statistic] = {
    "epps_pulley_all_directions": _simple(function=epps_pulley_all_directions),
    "bhep": _simple(function=bhep),
    "energy": _simple(function=energy),
    "henze_zirkler": _composite(henze_zirkler),
    "mardia_skewness": _composite(mardia_skewness),
    "mardia_kurtosis": _composite(mardia_kurtosis, pairs=False, tail="both"),
    "henze_visagie": _composite(henze_visagie),
}
"""Every multivariate statistic by name."""
