"""Epps-Pulley against its defining integral, by every quadrature."""

from math import exp, pi, sqrt

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from isojepa.normality.univariate import (
    epps_pulley,
    epps_pulley_at,
    epps_pulley_floor,
    epps_pulley_hermite,
    epps_pulley_whole_line,
    gauss_hermite,
    trapezoid,
)


def sample(n, seed=0):
    x = np.random.default_rng([seed, n]).normal(0.2, 1.3, n)
    return x, torch.from_numpy(x)


def close(ours, theirs, rtol=1e-6):
    np.testing.assert_allclose(float(ours), theirs, rtol=rtol)


# Characteristic functions


def integral(x, window, t_max=np.inf):
    def integrand(t):
        distance = abs(np.mean(np.exp(1j * t * x)) - exp(-(t**2) / 2)) ** 2
        return distance * exp(-(t**2) / (2 * window**2))

    return 2 * len(x) * scipy.integrate.quad(integrand, 0, t_max, limit=200)[0]


@pytest.mark.parametrize("window", [0.5, 1.0, 2.0])
def test_epps_pulley_is_its_integral(window):
    x, z = sample(9)
    close(epps_pulley_whole_line(z, window=window), integral(x, window), 1e-9)
    close(epps_pulley_hermite(z, 40, window=window), integral(x, window), 1e-6)
    close(epps_pulley(z, 400, 8 * window, window=window), integral(x, window), 1e-9)
    close(epps_pulley(z, 4000, 2.0, window=window), integral(x, window, 2.0), 1e-6)


def test_epps_pulley_of_one_sample_by_hand():
    # x = 0: phi_n = 1, and the integral of (1 - exp(-t^2/2))^2 exp(-t^2/2) has three terms.
    expected = sqrt(2 * pi) - 2 * sqrt(pi) + sqrt(2 * pi / 3)
    close(epps_pulley_whole_line(torch.zeros(1, dtype=torch.float64)), expected, 1e-12)


def test_default_trapezoid_is_the_released_one():
    rule = trapezoid()
    step = 3.0 / 16
    assert rule.knots.dtype == torch.float32
    torch.testing.assert_close(rule.knots, step * torch.arange(17.0))
    torch.testing.assert_close(rule.target, torch.exp(-rule.knots.square() / 2))
    factors = torch.tensor([step, *[2 * step] * 15, step])
    torch.testing.assert_close(rule.weights, factors * rule.target)


@pytest.mark.parametrize("knots", [1, 2, 17, 50])
@pytest.mark.parametrize("window", [0.5, 2.0])
def test_gauss_hermite_is_exact_for_polynomials(knots, window):
    rule = gauss_hermite(knots, window=window, dtype=torch.float64)
    for power in range(0, min(2 * knots, 12), 2):  # moments of the window, a Gaussian's
        moment = sqrt(2 * pi) * window ** (power + 1) * float(np.prod(range(1, power, 2)))
        close((rule.weights * rule.knots**power).sum(), moment, 1e-9)


def test_floor_is_the_mean_under_the_null():
    close(epps_pulley_floor(200, 9.0), sqrt(2 * pi) - sqrt(2 * pi / 3), 1e-9)
    close(gauss_hermite(40, dtype=torch.float64).floor(), sqrt(2 * pi) - sqrt(2 * pi / 3), 1e-9)
    null = torch.randn(20000, 10, generator=torch.Generator().manual_seed(0))
    for window in (1.0, 0.7):
        values = epps_pulley(null, window=window)
        error = (values.mean() - epps_pulley_floor(window=window)) / values.std() * sqrt(20000)
        assert abs(error) < 4


def test_a_uniform_grid_aliases_and_gauss_hermite_does_not():
    _, x = sample(50)
    shift = 2 * pi / (3.0 / 16)
    close(epps_pulley(x + shift), float(epps_pulley(x)), 1e-9)
    assert epps_pulley_hermite(x + shift) > 1.5 * epps_pulley_hermite(x)


def test_any_quadrature_can_be_passed():
    _, x = sample(20)
    close(epps_pulley_at(x, trapezoid(dtype=torch.float64)), float(epps_pulley(x)), 1e-12)
