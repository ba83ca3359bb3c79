"""Statistics of information: the normal law has the largest entropy at given mean and variance."""

from math import floor, log, pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.normality.samples import at_usual_scale, univariate_sample


def vasicek_entropy(x: Float[Tensor, "... n"], m: int | None = None) -> Float[Tensor, "..."]:
    """Vasicek's estimate of differential entropy from m-spacings, in nats.

    mean_i log(n / (2 m) (x_(i+m) - x_(i-m))), order statistics beyond the ends replaced by the
    ends. log(2 pi e) / 2 = 1.419 for N(0, 1), approached from below. Vasicek (1976), JRSS B 38(1).
    Ties m deep give a large negative number, not minus infinity.

    Args:
        x: samples on the last axis, at least 5; leading axes are separate samples.
        m: half the width of a spacing, 1 <= m < n/2; floor(sqrt(n) + 1/2) if None.

    Raises:
        ValueError: for fewer than 5 samples or `m` out of range.
    """
    x = univariate_sample(x, at_least=5)
    n = x.shape[-1]
    m = floor(sqrt(n) + 0.5) if m is None else m
    if not 1 <= m < n / 2:
        raise ValueError(f"m must lie in [1, n/2), got {m} for n={n}")
    ordered = x.sort(-1).values
    i = torch.arange(n, device=x.device)
    spacing = ordered[..., (i + m).clamp_max(n - 1)] - ordered[..., (i - m).clamp_min(0)]
    return spacing.clamp_min(torch.finfo(x.dtype).tiny).log().mean(-1) + log(n / (2 * m))


def vasicek(x: Float[Tensor, "... n"], m: int | None = None) -> Float[Tensor, "..."]:
    """Vasicek's test: exp(entropy) over the standard deviation, of divisor n.

    Null hypothesis: some normal law, whose value is sqrt(2 pi e) = 4.13, approached from below;
    small is evidence against. Vasicek (1976), JRSS B 38(1).

    Args:
        x: samples on the last axis, at least 5; leading axes are separate samples.
        m: see `vasicek_entropy`.

    Raises:
        ValueError: for fewer than 5 samples or `m` out of range.
    """
    x = at_usual_scale(univariate_sample(x, at_least=5), axes=(-1,))
    variance = (x - x.mean(-1, keepdim=True)).square().mean(-1)
    log_deviation = variance.clamp_min(torch.finfo(x.dtype).tiny).log() / 2
    return torch.exp(vasicek_entropy(x, m) - log_deviation)


def vasicek_divergence(x: Float[Tensor, "... n"], m: int | None = None) -> Float[Tensor, "..."]:
    """Estimate of the Kullback-Leibler divergence from N(0, 1), in nats: likelihood less entropy.

    `negative_log_likelihood` - `vasicek_entropy`. Null hypothesis: N(0, 1), where it tends to 0
    from above. Arizono and Ohta (1989), American Statistician 43(1).

    Args:
        x: samples on the last axis, at least 5; leading axes are separate samples.
        m: see `vasicek_entropy`.

    Raises:
        ValueError: for fewer than 5 samples or `m` out of range.
    """
    return negative_log_likelihood(x) - vasicek_entropy(x, m)


def negative_log_likelihood(x: Float[Tensor, "... n"]) -> Float[Tensor, "..."]:
    """Mean of -log density under N(0, 1), in nats: mean x^2 / 2 + log(2 pi) / 2.

    Null hypothesis: N(0, 1), where its mean is log(2 pi e) / 2 = 1.419; the sum of x^2 in it is
    chi-squared with n degrees of freedom. Both tails are evidence: small for shrunken samples,
    large for spread ones. Sees nothing but the second moment.

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    return univariate_sample(x).square().mean(-1) / 2 + log(2 * pi) / 2
