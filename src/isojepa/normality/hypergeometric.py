"""One confluent hypergeometric function, 1F1(1/2; d/2; -s): a Gaussian averaged over a sphere.

For u the squared first coordinate of a uniform point on the unit sphere of R^d,

    F(s) = 1F1(1/2; d/2; -s) = E[exp(-s u)],

so that averaging exp(-(a.x)^2 / 2) over directions a gives F(|x|^2 / 2). Its derivatives are the
moments E[u^j exp(-s u)] up to sign; both are computed here, for every s >= 0:

- d < 16: the expectation is the integral of a positive, smooth function, and after a substitution
  the trapezoid rule turns it into a sum of four dozen decaying exponentials with positive weights.
  Nothing cancels, and differentiating the sum gives the derivatives as exactly.
- d >= 16: in q = 1 / (1 + 2 s / d), F(s) / sqrt(q) is so nearly constant that a short polynomial
  gives it: for float32 of degree 9 at d = 16 and 4 at d = 512. One square root and a few products
  per value; the polynomial is fitted to the sum of exponentials, once per d.
"""

from functools import lru_cache
from math import acosh, asinh, ceil, cosh, exp, lgamma, log1p, sinh, sqrt, tanh
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_POLYNOMIAL_FROM = 16  # below, the polynomial in q is long and ill-conditioned
_TAIL = 37.0  # exp(-37) = 9e-17: where the integrand is cut
_REACH = 2000.0  # the exponentials serve s up to _REACH * d, an asymptotic series beyond


def sphere_average(s: Float[Tensor, "*shape"], d: int) -> Float[Tensor, "*shape"]:
    """1F1(1/2; d/2; -s) = E[exp(-s u)], u a squared coordinate of a uniform point on the sphere.

    1 at s = 0, exp(-s) for d = 1, decreasing like s^(-1/2) for d > 1. Relative errors, for all s
    and d up to 8192: 1e-12 of the value, 1e-10 of the derivative in float64, 1e-6 of both in
    float32. Differentiable any number of times, by d/ds E[u^j exp(-s u)] = -E[u^(j+1) exp(-s u)];
    that is d/dx 1F1(a; b; x) = (a/b) 1F1(a+1; b+1; x) (DLMF 13.3.15).

    Args:
        s: non-negative, any shape, float32 or float64.
        d: dimension of the space around the sphere, at least 1.

    Raises:
        ValueError: if `d` is below 1.
        TypeError: for another precision.
    """
    if d < 1:
        raise ValueError(f"d must be at least 1, got {d}")
    if s.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"s must be float32 or float64, got {s.dtype}")
    return _Moment.apply(s, d, 0)


def mean_distance(r2: Float[Tensor, "*shape"], d: int) -> Float[Tensor, "*shape"]:
    """E|x - Z| for |x|^2 = r2 and Z standard normal in R^d.

    sqrt(2) Gamma((d+1)/2) / Gamma(d/2) 1F1(-1/2; d/2; -r2/2), where by DLMF 13.3.4
    1F1(-1/2; b; -s) = 1F1(1/2; b; -s) + (s/b) 1F1(1/2; b+1; -s): again sums of positive terms.
    """
    s = r2 / 2
    mean_norm = sqrt(2) * exp(lgamma((d + 1) / 2) - lgamma(d / 2))
    return mean_norm * (sphere_average(s, d) + s * (2 / d) * sphere_average(s, d + 2))


class Excess(NamedTuple):
    """How far F(s) is from a constant, and its slope."""

    value: Tensor
    """F(s) - (1 + 2 centre)^(-1/2)."""
    slope: Tensor | None
    """F'(s), negative; None if it was not asked for."""


@torch.no_grad()
def sphere_average_excess(s: Tensor, d: int, centre: float, *, slope: bool) -> Excess:
    """`sphere_average` less its limit at s = centre d for large d, and its derivative, at once.

    In high dimension distances concentrate, so that F is nearly the same for all pairs of a sample
    and its rounding error too: summed over pairs it would not average out. The difference carries
    no such error: it is (2 (centre - s/d) q q0) / (sqrt(q) + sqrt(q0)) + sqrt(q) (F / sqrt(q) - 1),
    q0 = 1 / (1 + 2 centre), and the last factor is a small polynomial. Below d = 16 the result is
    in float64 instead, where the device has it.

    Args:
        s: non-negative, any shape, float32 or float64; no gradient flows through it.
        d: dimension of the space around the sphere, at least 1.
        centre: a value of s/d, non-negative.
        slope: whether to compute the derivative.
    """
    q0 = 1 / (1 + 2 * centre)
    fine = s.dtype == torch.float64
    if d < _POLYNOMIAL_FROM:
        s = s if s.device.type == "mps" else s.double()
        if d == 1:
            decay = torch.exp(-s)
            return Excess(decay - sqrt(q0), -decay if slope else None)
        rule = exponentials(d) if fine else exponentials(d, step=0.21)
        return _excess_by_exponentials(s, d, rule, q0, slope)
    constant, *rest = polynomial(d, fine=fine)
    u = s * (1 / d)
    q = (2 * u).add_(1).reciprocal_()
    root = q.sqrt()
    value = _horner((constant - 1, *rest), q).mul_(root)
    value.addcdiv_(u.neg_().add_(centre).mul_(q), root + sqrt(q0), value=2 * q0)
    if not slope:
        return Excess(value, None)
    return Excess(value, _horner(polynomial(d, 1, fine=fine), q).mul_(root).mul_(q).neg_())


class _Moment(torch.autograd.Function):
    """E[u^order exp(-s u)]."""

    @staticmethod
    def forward(ctx: Any, s: Tensor, d: int, order: int) -> Tensor:
        ctx.save_for_backward(s)
        ctx.d, ctx.order = d, order
        if d == 1:  # u = 1 always
            return torch.exp(-s)
        method = _by_exponentials if d < _POLYNOMIAL_FROM else _by_polynomial
        return method(s, d, order)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (s,) = ctx.saved_tensors
        return -gradient * _Moment.apply(s, ctx.d, ctx.order + 1), None, None


# d < 16


class Exponentials(NamedTuple):
    """E[f(u)] as the sum over k of weights[k] f(nodes[k]); the weights sum to 1."""

    nodes: tuple[float, ...]
    """Values of u in [0, 1], increasing."""
    weights: tuple[float, ...]


@lru_cache(maxsize=256)
def exponentials(d: int, step: float = 0.13) -> Exponentials:
    """Nodes and weights for f(u) = u^j exp(-s u), 0 <= s <= 2000 d and d at least 2.

    u = v^2 with density proportional to (1 - v^2)^((d-3)/2). Substituting v = tanh(c sinh(x)) with
    c narrower than the narrowest exponential, the integrand decays double exponentially and is
    analytic for |Im x| < pi/4, so the trapezoid rule errs by about exp(-pi^2 / (2 step)).
    """
    scale = sqrt(10 / (_REACH * d))
    y_end = acosh(exp(min(_TAIL / (d - 1), 300.0)))
    nodes, weights = [], []
    for k in range(ceil(asinh(y_end / scale) / step) + 1):
        y = scale * sinh(k * step)
        log_cosh = log1p(2 * sinh(y / 2) ** 2)
        nodes.append(tanh(y) ** 2)
        weights.append((0.5 if k == 0 else 1.0) * cosh(k * step) * exp(-(d - 1) * log_cosh))
    total = sum(weights)
    return Exponentials(tuple(nodes), tuple(weight / total for weight in weights))


def _by_exponentials(s: Tensor, d: int, order: int) -> Tensor:
    rule = exponentials(d) if s.dtype == torch.float64 else exponentials(d, step=0.21)
    total, term = torch.zeros_like(s), torch.empty_like(s)
    for node, weight in zip(rule.nodes, rule.weights):
        torch.mul(s, -node, out=term)
        total.add_(term.exp_(), alpha=weight * node**order)
    far = _far(s.clamp_min(_REACH * d), d, order)
    return torch.where(s > _REACH * d, far, total)


def _excess_by_exponentials(
    s: Tensor, d: int, rule: Exponentials, q0: float, slope: bool
) -> Excess:
    value, term = torch.full_like(s, -sqrt(q0)), torch.empty_like(s)
    derivative = torch.zeros_like(s) if slope else None
    for node, weight in zip(rule.nodes, rule.weights):
        torch.mul(s, -node, out=term)
        value.add_(term.exp_(), alpha=weight)
        if derivative is not None:
            derivative.sub_(term, alpha=weight * node)
    is_far, far = s > _REACH * d, s.clamp_min(_REACH * d)
    value = torch.where(is_far, _far(far, d, 0) - sqrt(q0), value)
    if derivative is not None:
        derivative = torch.where(is_far, -_far(far, d, 1), derivative)
    return Excess(value, derivative)


def _far(s: Tensor, d: int, order: int) -> Tensor:
    """Watson's lemma, the integral term by term of the series of (1 - u)^((d-3)/2)."""
    a = 0.5 + order
    constant = exp(lgamma(d / 2) - lgamma(0.5) - lgamma((d - 1) / 2) + lgamma(a))
    series, term = torch.ones_like(s), torch.ones_like(s)
    for k in range(6):
        term = term * ((k - (d - 3) / 2) * (a + k) / (k + 1)) / s
        series = series + term
    return constant * series * s ** (-a)


# d >= 16


def _by_polynomial(s: Tensor, d: int, order: int) -> Tensor:
    q = 1 / (1 + s * (2 / d))
    value = _horner(polynomial(d, order, fine=s.dtype == torch.float64), q)
    return value.mul_(q.sqrt()).mul_(q**order)


def _horner(coefficients: tuple[float, ...], q: Tensor) -> Tensor:
    value = torch.full_like(q, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value.mul_(q).add_(coefficient)
    return value


@lru_cache(maxsize=256)
def polynomial(d: int, order: int = 0, *, fine: bool = True) -> tuple[float, ...]:
    """Coefficients a_k, ascending, of E[u^order exp(-s u)] = q^(1/2 + order) sum_k a_k q^k.

    For d of 16 or more and q = 1 / (1 + 2 s / d) in (0, 1]. Since d/ds q^p = -(2/d) p q^(p+1), the
    next order's coefficients are (2/d) (1/2 + order + k) a_k: the polynomials of all orders are
    exact derivatives of the first. Coarse for float32, fine for float64.
    """
    if order > 0:
        previous = polynomial(d, order - 1, fine=fine)
        return tuple(2 / d * (order - 0.5 + k) * a for k, a in enumerate(previous))

    def ratio(q: np.ndarray) -> np.ndarray:
        s = d / 2 * (1 / q - 1)
        return np.exp(-np.outer(s, rule.nodes)) @ rule.weights / np.sqrt(q)

    rule = exponentials(d, step=0.1)
    series = np.polynomial.Chebyshev.interpolate(ratio, 26, domain=[0, 1])
    needed = series.trim(1e-14 if fine else 1e-9)
    return tuple(needed.convert(kind=np.polynomial.Polynomial).coef.tolist())
