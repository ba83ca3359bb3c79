"""Second moments and Epps-Pulley as their definitions read, in NumPy; shares nothing with us."""

import numpy as np
from jaxtyping import Float


def eigenvalues(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Of the covariance with divisor n - 1, largest first."""
    covariance = np.atleast_2d(np.cov(x.astype(np.float64), rowvar=False))
    return np.linalg.eigvalsh(covariance)[::-1].clip(min=0.0)


def quadrature(knots: int = 17, t_max: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Knots t on [0, t_max] and weights: the folded trapezoid rule times exp(-t^2/2)."""
    t = np.linspace(0.0, t_max, knots)
    weights = np.full(knots, 2 * t[1])
    weights[[0, -1]] = t[1]
    return t, weights * np.exp(-(t**2) / 2)


def sigreg_floor(knots: int = 17, t_max: float = 3.0) -> float:
    """n E|mean exp(itx) - phi(t)|^2 = 1 - exp(-t^2) (LeJEPA, Theorem 6)."""
    t, weights = quadrature(knots, t_max)
    return float(weights @ (1 - np.exp(-(t**2))))


def epps_pulley(
    x: Float[np.ndarray, "n m"], knots: int = 17, t_max: float = 3.0
) -> Float[np.ndarray, " m"]:
    """Of each column against N(0, 1)."""
    total = np.zeros(x.shape[1])
    for t, weight in zip(*quadrature(knots, t_max)):
        total += weight * np.abs(np.exp(1j * t * x).mean(0) - np.exp(-(t**2) / 2)) ** 2
    return len(x) * total
