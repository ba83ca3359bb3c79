"""Regression of the ordered sample on normal scores: Shapiro-Wilk and Shapiro-Francia.

Both are squared correlations between the ordered sample and weights: 1 for a perfect normal
shape, small is evidence against. Null hypothesis: some normal law; location and scale drop out.
The sample is sorted, so the gradient passes through its values and not through its ranks.
"""

from functools import lru_cache
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.samples import at_usual_scale, univariate_sample

# Royston (1995), algorithm AS R94: the two outermost weights as polynomials in 1/sqrt(n).
_OUTERMOST = (0.0, 0.221157, -0.147981, -2.071190, 4.434685, -2.706056)
_SECOND = (0.0, 0.042981, -0.293762, -1.752461, 5.682633, -3.582633)


def shapiro_wilk(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Shapiro-Wilk: W = (sum_i a_i x_(i))^2 / sum_i (x_i - mean)^2, in [0, 1].

    Shapiro and Wilk (1965), Biometrika 52, with the weights of Royston (1995), Applied Statistics
    44(4), made for n up to 5000. W is 0 for a constant sample.

    Args:
        x: samples on the last axis, at least 3; leading axes are separate samples.

    Raises:
        ValueError: for fewer than 3 samples.
    """
    x = univariate_sample(x, at_least=3)
    return _squared_correlation(x, royston_weights(x.shape[-1]))


def shapiro_francia(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Shapiro-Francia: W' = squared correlation of the ordered sample with Blom's scores.

    Shapiro and Francia (1972), JASA 67, with the scores ndtri((i - 3/8) / (n + 1/4)) as in Royston
    (1993). W' is 0 for a constant sample.

    Args:
        x: samples on the last axis, at least 3; leading axes are separate samples.

    Raises:
        ValueError: for fewer than 3 samples.
    """
    x = univariate_sample(x, at_least=3)
    scores = _blom_scores(x.shape[-1])
    return _squared_correlation(x, scores / scores.square().sum().sqrt())


@lru_cache(maxsize=64)
def royston_weights(n: int) -> Float[Tensor, " n"]:
    """Royston's unit vector of antisymmetric weights for `shapiro_wilk`, ascending, float64."""
    if n < 3:
        raise ValueError(f"n must be at least 3, got {n}")
    if n == 3:
        return torch.tensor([-sqrt(0.5), 0.0, sqrt(0.5)], dtype=torch.float64)
    scores = _blom_scores(n)
    total = float(scores.square().sum())
    outer = [_polynomial(_OUTERMOST, 1 / sqrt(n)) + float(scores[-1]) / sqrt(total)]
    if n > 5:
        outer.append(_polynomial(_SECOND, 1 / sqrt(n)) + float(scores[-2]) / sqrt(total))
    rest = total - 2 * sum(float(scores[-1 - i]) ** 2 for i in range(len(outer)))
    weights = scores * sqrt((1 - 2 * sum(a * a for a in outer)) / rest)
    for i, a in enumerate(outer):
        weights[i], weights[-1 - i] = -a, a
    return weights


def _squared_correlation(x: Tensor, weights: Tensor) -> Tensor:
    x = at_usual_scale(x, axes=(-1,))
    centred = x - x.mean(-1, keepdim=True)
    slope = (centred.sort(-1).values * weights.to(x)).sum(-1)
    total = centred.square().sum(-1)
    return slope.square() / total.clamp_min(torch.finfo(x.dtype).tiny)


def _blom_scores(n: int) -> Tensor:
    i = torch.arange(1, n + 1, dtype=torch.float64)
    return torch.special.ndtri((i - 0.375) / (n + 0.25))


def _polynomial(coefficients: tuple[float, ...], u: float) -> float:
    return sum(c * u**power for power, c in enumerate(coefficients))
