"""Statistics of finitely many moments: smooth, cheap, and blind to laws that share the moments."""

from math import factorial, prod

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.samples import standardise, univariate_sample


def jarque_bera(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Jarque-Bera: n/6 (skewness^2 + (kurtosis - 3)^2 / 4), moments of divisor n.

    Null hypothesis: some normal law; chi-squared with 2 degrees of freedom in the limit, slowly.
    Jarque and Bera (1980), Economics Letters 6(3). Skewness and kurtosis of a constant sample
    count as 0.

    Args:
        x: samples on the last axis, at least 2; leading axes are separate samples.

    Raises:
        ValueError: for fewer than 2 samples.
    """
    x = univariate_sample(x, at_least=2)
    y = standardise(x, ddof=0)
    skewness, kurtosis = y.pow(3).mean(-1), y.pow(4).mean(-1)
    return x.shape[-1] / 6 * (skewness.square() + (kurtosis - 3).square() / 4)


def mean_and_variance(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """n (mean^2 + (variance - 1)^2 / 2), variance of divisor n.

    Null hypothesis: N(0, 1); chi-squared with 2 degrees of freedom in the limit. Averaged over all
    directions a of z with mean mu and covariance S it is n times |mu|^2 / d +
    (2 |S - I|_F^2 + tr(S - I)^2) / (2 d (d + 2)): VICReg's variance and covariance terms, squared
    (LeJEPA, arXiv 2511.08544, on VICReg as the limit of many slices).

    Args:
        x: samples on the last axis, at least 2; leading axes are separate samples.

    Raises:
        ValueError: for fewer than 2 samples.
    """
    x = univariate_sample(x, at_least=2)
    mean = x.mean(-1)
    variance = (x - mean.unsqueeze(-1)).square().mean(-1)
    return x.shape[-1] * (mean.square() + (variance - 1).square() / 2)


def extended_jarque_bera(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Jarque-Bera plus `mean_and_variance`: the first four moments against those of N(0, 1).

    Null hypothesis: N(0, 1); chi-squared with 4 degrees of freedom in the limit. After the
    extension in LeJEPA (arXiv 2511.08544); here the mean is not divided by the variance.

    Args:
        x: samples on the last axis, at least 2; leading axes are separate samples.

    Raises:
        ValueError: for fewer than 2 samples.
    """
    return jarque_bera(x) + mean_and_variance(x)


def raw_moments(x: Float[Tensor, "... n"], order: int = 4) -> Float[Tensor, "..."]:
    """n times the squared errors of the first `order` raw moments, each over its null variance.

    n sum_k (mean x^k - E Z^k)^2 / Var(Z^k), k = 1..order. Null hypothesis: N(0, 1); mean `order`
    under it. Its gradient grows as |x|^(order - 1). LeJEPA (arXiv 2511.08544), Theorems 3 and 4.

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
        order: how many moments, at least 1.

    Raises:
        ValueError: if `order` is below 1.
    """
    x = univariate_sample(x)
    _check_order(order)
    total, power = torch.zeros_like(x[..., 0]), torch.ones_like(x)
    for k in range(1, order + 1):
        power = power * x
        expected = _normal_moment(k)
        total = total + (power.mean(-1) - expected).square() / (_normal_moment(2 * k) - expected**2)
    return x.shape[-1] * total


def hermite_moments(x: Float[Tensor, "... n"], order: int = 4) -> Float[Tensor, "..."]:
    """Neyman's smooth test: n sum_k (mean He_k(x))^2 / k!, k = 1..order.

    The moments in the basis in which they are uncorrelated under the null, N(0, 1), so that the
    limit is chi-squared with `order` degrees of freedom. Neyman (1937), with Hermite polynomials;
    Thomas and Pierce (1979), JASA 74.

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
        order: how many polynomials, at least 1.

    Raises:
        ValueError: if `order` is below 1.
    """
    x = univariate_sample(x)
    _check_order(order)
    total = torch.zeros_like(x[..., 0])
    previous, current = torch.ones_like(x), x
    for k in range(1, order + 1):
        total = total + current.mean(-1).square() / factorial(k)
        previous, current = current, x * current - k * previous
    return x.shape[-1] * total


def _check_order(order: int) -> None:
    if order < 1:
        raise ValueError(f"order must be at least 1, got {order}")


def _normal_moment(k: int) -> float:
    return float(prod(range(1, k, 2))) if k % 2 == 0 else 0.0
