"""The confluent hypergeometric function against SciPy and arbitrary precision."""

from math import exp, pi, sqrt

import mpmath
import numpy as np
import pytest
import scipy.special
import torch

from isojepa.normality.hypergeometric import (
    _by_exponentials,
    _by_polynomial,
    exponentials,
    mean_distance,
    polynomial,
    sphere_average,
)

DIMENSIONS = [1, 2, 3, 4, 5, 15, 16, 20, 64, 128, 768, 2048, 8192]
S = np.concatenate([[0.0], np.logspace(-8, 6, 57), [1e7, 2e7, 1e9]])


def derivatives(s, d, order):
    s = torch.as_tensor(s).requires_grad_()
    values = [sphere_average(s, d)]
    for _ in range(order):
        (gradient,) = torch.autograd.grad(values[-1].sum(), s, create_graph=True)
        values.append(gradient)
    return [value.detach() for value in values]


@pytest.mark.parametrize("d", DIMENSIONS)
def test_value_and_derivatives_equal_scipy(d):
    value, first, second = derivatives(S, d, 2)
    b = d / 2
    expected = [
        scipy.special.hyp1f1(0.5, b, -S),
        -1 / d * scipy.special.hyp1f1(1.5, b + 1, -S),
        3 / (d * (d + 2)) * scipy.special.hyp1f1(2.5, b + 2, -S),
    ]
    np.testing.assert_allclose(value, expected[0], rtol=1e-11)
    np.testing.assert_allclose(first, expected[1], rtol=1e-10)
    np.testing.assert_allclose(second, expected[2], rtol=1e-8)


@pytest.mark.parametrize("d", [2, 3, 128, 8192])
def test_value_equals_arbitrary_precision(d):
    s = [0.3, d / 2, 3.0 * d, 1999.0 * d, 2001.0 * d]  # both sides of the switch to the series
    with mpmath.workdps(40):
        expected = [float(mpmath.hyp1f1(0.5, d / 2, -x)) for x in s]
    value = sphere_average(torch.tensor(s, dtype=torch.float64), d)
    np.testing.assert_allclose(value, expected, rtol=2e-12)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_float32(d):
    exact = derivatives(S, d, 1)
    for ours, theirs in zip(derivatives(S.astype(np.float32), d, 1), exact):
        assert ours.dtype == torch.float32
        np.testing.assert_allclose(ours.double(), theirs, rtol=2e-6, atol=1e-37)


def test_closed_forms():
    s = torch.tensor([0.0, 0.1, 2.0, 40.0], dtype=torch.float64)
    torch.testing.assert_close(sphere_average(s, 1), torch.exp(-s))
    bessel = torch.exp(-s / 2) * torch.special.i0(s / 2)
    torch.testing.assert_close(sphere_average(s, 2), bessel)
    error_function = sqrt(pi) / 2 * torch.erf(s[1:].sqrt()) / s[1:].sqrt()
    torch.testing.assert_close(sphere_average(s[1:], 3), error_function)


def test_it_is_the_average_of_a_gaussian_over_the_sphere():
    points = torch.randn(200_000, 5, generator=torch.Generator().manual_seed(0))
    u = torch.nn.functional.normalize(points)[:, 0].square()
    for s in (0.5, 5.0):
        values = torch.exp(-s * u)
        error = values.mean() - sphere_average(torch.tensor(s), 5)
        assert abs(error) < 4 * values.std() / sqrt(len(points))


@pytest.mark.parametrize("d", [1, 2, 17])
def test_gradients(d):
    s = torch.tensor([0.0, 0.2, 3.0, 500.0, 2500.0 * d], dtype=torch.float64, requires_grad=True)

    def function(s):
        return sphere_average(s + 1e-2, d)  # the checks step to both sides of s

    assert torch.autograd.gradcheck(function, s)
    assert torch.autograd.gradgradcheck(function, s)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_both_methods_agree_where_they_meet(order):
    for d in (16, 40):
        s = d * torch.logspace(-3, 4, 40, dtype=torch.float64)
        by_polynomial, by_exponentials = (
            method(s, d, order) for method in (_by_polynomial, _by_exponentials)
        )
        torch.testing.assert_close(by_polynomial, by_exponentials, rtol=1e-8, atol=0)


def test_nodes_are_a_probability_law_with_the_right_moments():
    for d in (2, 3, 128):
        rule = exponentials(d)
        nodes, weights = np.array(rule.nodes), np.array(rule.weights)
        assert (weights > 0).all()
        np.testing.assert_allclose(weights.sum(), 1, rtol=1e-12)
        np.testing.assert_allclose(weights @ nodes, 1 / d, rtol=1e-11)
        np.testing.assert_allclose(weights @ nodes**2, 3 / (d * (d + 2)), rtol=1e-10)


@pytest.mark.parametrize("fine", [False, True])
def test_polynomials_are_short_and_well_conditioned(fine):
    for d in (16, 17, 64, 8192):
        coefficients = polynomial(d, fine=fine)
        assert len(coefficients) <= (24 if fine else 13)
        assert sum(map(abs, coefficients)) < (1e3 if fine else 3)
        assert sum(coefficients) == pytest.approx(1, abs=1e-13 if fine else 1e-8)


@pytest.mark.parametrize("d", [1, 2, 3, 128, 8192])
def test_mean_distance_to_a_normal_point(d):
    r2 = np.array([0.0, 0.3, 1.0, d, 30.0 * d, 1e6])
    with mpmath.workdps(40):
        norm = mpmath.sqrt(2) * mpmath.gamma((d + 1) / 2) / mpmath.gamma(d / 2)
        expected = [float(norm * mpmath.hyp1f1(-0.5, d / 2, -x / 2)) for x in r2]
    np.testing.assert_allclose(mean_distance(torch.as_tensor(r2), d), expected, rtol=1e-11)


def test_mean_distance_in_one_dimension():
    x = 0.7
    phi, density = scipy.special.ndtr(x), exp(-(x**2) / 2) / sqrt(2 * pi)
    expected = 2 * density + x * (2 * phi - 1)
    assert float(mean_distance(torch.tensor(x**2).double(), 1)) == pytest.approx(expected, 1e-7)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        sphere_average(torch.ones(1), 0)
    with pytest.raises(TypeError, match="float32 or float64"):
        sphere_average(torch.ones(1, dtype=torch.bfloat16), 3)
