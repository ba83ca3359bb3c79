"""Univariate normality statistics: pure functions of samples on the last axis."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Quadrature(NamedTuple):
    """Knots on the half line and the weights that integrate an even function over all of it."""

    knots: Float[Tensor, " k"]
    """Frequencies t, in units of one over the sample's standard deviation."""
    target: Float[Tensor, " k"]
    """The standard normal's characteristic function exp(-t^2/2) at the knots."""
    weights: Float[Tensor, " k"]
    """Quadrature weights times the window exp(-t^2/2)."""


def trapezoid(
    knots: int = 17,
    t_max: float = 3.0,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Quadrature:
    """Trapezoid rule on [-t_max, t_max], folded on [0, t_max] because the integrand is even.

    Args:
        knots: number of knots on [0, t_max], both ends included; at least 2.
        t_max: largest frequency, positive. A shift of 2 pi (knots - 1) / t_max is invisible to the
            uniform grid: 33.5 standard deviations by default.
    """
    if knots < 2:
        raise ValueError(f"knots must be at least 2, got {knots}")
    if not t_max > 0:
        raise ValueError(f"t_max must be positive, got {t_max}")
    t = torch.linspace(0.0, t_max, knots, dtype=torch.float64)
    window = torch.exp(-0.5 * t.square())
    step = t_max / (knots - 1)
    weights = torch.full_like(t, 2 * step)
    weights[[0, -1]] = step
    return Quadrature(
        *(x.to(dtype=dtype, device=device) for x in (t, window, weights * window))
    )


def epps_pulley_from_sums(
    cos_sums: Float[Tensor, "... k"],
    sin_sums: Float[Tensor, "... k"],
    n: Float[Tensor, ""] | int,
    quadrature: Quadrature,
) -> Float[Tensor, "..."]:
    """Epps-Pulley statistic from the sums over n samples of cos(t x) and sin(t x) at the knots.

    Splitting the statistic here lets ranks and blocks add their sums before the non-linear step.
    """
    real = cos_sums / n - quadrature.target
    imaginary = sin_sums / n
    return n * ((real.square() + imaginary.square()) * quadrature.weights).sum(-1)


def epps_pulley(
    x: Float[Tensor, "... n"], knots: int = 17, t_max: float = 3.0
) -> Float[Tensor, "..."]:
    """Epps-Pulley statistic of each sample against N(0, 1).

    T = n * integral of |phi_n(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt, where phi_n is the empirical
    characteristic function. Non-negative, large when the sample is not standard normal; its mean
    under the null is `epps_pulley_floor`, whatever n. Epps and Pulley (1983), Biometrika 70(3);
    quadrature as in LeJEPA (arXiv 2511.08544, Algorithm 1), folded.

    Args:
        x: samples on the last axis, dimensionless; leading axes are separate samples.
    """
    rule = trapezoid(knots, t_max, dtype=x.dtype, device=x.device)
    angles = x.unsqueeze(-1) * rule.knots
    return epps_pulley_from_sums(angles.cos().sum(-2), angles.sin().sum(-2), x.shape[-1], rule)


def epps_pulley_floor(knots: int = 17, t_max: float = 3.0) -> float:
    """Expectation of `epps_pulley` for standard normal samples of any size: success, not zero.

    E|phi_n(t) - phi(t)|^2 = (1 - exp(-t^2)) / n. On the whole line the integral is
    sqrt(2 pi) - sqrt(2 pi / 3) = 1.0595.
    """
    rule = trapezoid(knots, t_max, dtype=torch.float64)
    return float(((1 - rule.target.square()) * rule.weights).sum())
