"""Univariate statistics against SciPy, their defining integrals, and published values."""

import itertools
from math import erf, exp, sqrt

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from isojepa.normality.univariate import (
    anderson_darling,
    cramer_von_mises,
    epps_pulley_whole_line,
    extended_jarque_bera,
    gauss_hermite,
    hermite_moments,
    jarque_bera,
    kolmogorov_smirnov,
    mean_and_variance,
    negative_log_likelihood,
    quantile_distance,
    raw_moments,
    shapiro_francia,
    shapiro_wilk,
    standardise,
    trapezoid,
    vasicek,
    vasicek_divergence,
    vasicek_entropy,
    wasserstein,
    watson,
)

SIZES = [1, 2, 3, 4, 5, 6, 7, 11, 12, 50, 501, 5000]


def sample(n, seed=0):
    x = np.random.default_rng([seed, n]).normal(0.2, 1.3, n)
    return x, torch.from_numpy(x)


def close(ours, theirs, rtol=1e-6):
    np.testing.assert_allclose(float(ours), theirs, rtol=rtol)


# Distribution functions


@pytest.mark.parametrize("n", SIZES)
def test_kolmogorov_smirnov_equals_scipy(n):
    x, z = sample(n)
    close(kolmogorov_smirnov(z), scipy.stats.kstest(x, "norm").statistic, 1e-12)


@pytest.mark.parametrize("n", SIZES[1:])
def test_cramer_von_mises_equals_scipy(n):
    x, z = sample(n)
    close(cramer_von_mises(z), scipy.stats.cramervonmises(x, "norm").statistic, 1e-12)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("n", SIZES[2:])
def test_anderson_darling_equals_scipy(n):
    x, z = sample(n)
    close(anderson_darling(standardise(z)), scipy.stats.anderson(x, "norm").statistic)
    i, y = np.arange(1, n + 1), np.sort(x)
    terms = scipy.stats.norm.logcdf(y) + scipy.stats.norm.logsf(y[::-1])
    close(anderson_darling(z), -n - np.sum((2 * i - 1) / n * terms), 1e-12)


def test_anderson_darling_in_the_far_tails():
    x = torch.tensor([-40.0, 0.0, 40.0], dtype=torch.float64, requires_grad=True)
    y = x.detach().numpy()
    terms = scipy.stats.norm.logcdf(y) + scipy.stats.norm.logsf(y[::-1])
    value = anderson_darling(x)
    close(value.detach(), -3 - np.sum(np.array([1, 3, 5]) / 3 * terms), 1e-12)
    value.backward()
    close(x.grad[2], (40 + 1 / 40) / 3, 1e-5)  # the hazard rate far out is x + 1/x


@pytest.mark.parametrize(
    ("statistic", "weight"),
    [(cramer_von_mises, lambda _: 1.0), (anderson_darling, lambda u: 1 / (u * (1 - u)))],
)
def test_statistics_are_their_integrals(statistic, weight):
    x = np.array([-0.7, 0.1, 1.9])
    u = scipy.stats.norm.cdf(x)

    def integrand(v):
        return (np.mean(u <= v) - v) ** 2 * weight(v)

    edges = [0, *u, 1]
    parts = (scipy.integrate.quad(integrand, a, b)[0] for a, b in itertools.pairwise(edges))
    close(statistic(torch.from_numpy(x)), 3 * sum(parts), 1e-8)


def test_watson_is_its_integral_and_lives_on_a_circle():
    u = np.array([0.1, 0.25, 0.6, 0.9])

    def difference(v):
        return np.mean(u <= v) - v

    edges = [0, *u, 1]
    pieces = list(itertools.pairwise(edges))
    mean = sum(scipy.integrate.quad(difference, a, b)[0] for a, b in pieces)
    square = sum(
        scipy.integrate.quad(lambda v: (difference(v) - mean) ** 2, a, b)[0] for a, b in pieces
    )

    def at(points):
        return watson(torch.special.ndtri(torch.tensor(points, dtype=torch.float64)))

    close(at(u), 4 * square, 1e-8)
    close(at((u + 0.35) % 1), float(at(u)), 1e-10)


def test_wasserstein_is_its_integral():
    x = np.array([-0.7, 0.1, 1.9])
    parts = (
        scipy.integrate.quad(lambda u, v=v: (v - scipy.stats.norm.ppf(u)) ** 2, i / 3, (i + 1) / 3)
        for i, v in enumerate(x)
    )
    close(wasserstein(torch.from_numpy(x)), 3 * sum(part[0] for part in parts), 1e-8)
    close(wasserstein(torch.tensor([2.0])), 2.0**2 + 1)


def test_wasserstein_tends_to_the_distance_of_normal_laws():
    quantiles = torch.special.ndtri((torch.arange(20000).double() + 0.5) / 20000)
    shifted = 0.5 + 2 * quantiles
    close(wasserstein(shifted) / 20000, 0.5**2 + (2 - 1) ** 2, 1e-3)
    close(quantile_distance(shifted) / 20000, 0.5**2 + (2 - 1) ** 2, 2e-3)


def test_quantile_distance_by_hand():
    # Quantiles of N(0, 1) at 1/4, 1/2, 3/4: -0.67449, 0, 0.67449.
    x = torch.tensor([1.0, -1.0, 0.0], dtype=torch.float64)
    close(quantile_distance(x), 2 * (1 - 0.6744897501960817) ** 2, 1e-12)


# Order statistics


@pytest.mark.parametrize("n", SIZES[2:])
@pytest.mark.parametrize("seed", range(3))
def test_shapiro_wilk_equals_scipy(n, seed):
    x, z = sample(n, seed)
    ours, theirs = float(shapiro_wilk(z)), scipy.stats.shapiro(x).statistic
    close(ours, theirs)
    np.testing.assert_allclose(1 - ours, 1 - theirs, rtol=1e-5, atol=1e-9)


def test_shapiro_wilk_of_the_published_example():
    # Shapiro and Wilk (1965), weights in pounds of 11 men: W = 0.79.
    pounds = [148, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236]
    assert round(float(shapiro_wilk(torch.tensor(pounds, dtype=torch.float64))), 2) == 0.79


@pytest.mark.parametrize("n", [3, 10, 200])
def test_shapiro_francia_is_a_squared_correlation(n):
    x, z = sample(n)
    scores = scipy.stats.norm.ppf((np.arange(1, n + 1) - 0.375) / (n + 0.25))
    close(shapiro_francia(z), np.corrcoef(np.sort(x), scores)[0, 1] ** 2, 1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: trapezoid(1),
        lambda: trapezoid(t_max=0.0),
        lambda: trapezoid(window=0.0),
        lambda: gauss_hermite(0),
        lambda: gauss_hermite(window=-1.0),
        lambda: epps_pulley_whole_line(torch.ones(2), window=0.0),
        lambda: raw_moments(torch.ones(2), 0),
        lambda: hermite_moments(torch.ones(2), 0),
        lambda: vasicek_entropy(torch.randn(9), 5),
    ],
)
def test_arguments_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="must"):
        make()


# Moments, entropy and likelihood


@pytest.mark.parametrize("n", SIZES[1:])
def test_jarque_bera_equals_scipy(n):
    x, z = sample(n)
    close(jarque_bera(z), scipy.stats.jarque_bera(x).statistic, 1e-9)
    expected = n * x.mean() ** 2 + n / 2 * (x.var() - 1) ** 2
    close(mean_and_variance(z), expected, 1e-9)
    close(extended_jarque_bera(z), expected + scipy.stats.jarque_bera(x).statistic, 1e-9)


def test_moments_by_hand():
    x = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    # Means of x, x^2, x^3 are 2, 14/3, 12; of Z 0, 1, 0; variances of Z, Z^2, Z^3 are 1, 2, 15.
    close(raw_moments(x, 1), 3 * 4, 1e-12)
    close(raw_moments(x, 3), 3 * (4 + (11 / 3) ** 2 / 2 + 144 / 15), 1e-12)
    # Means of He_1..He_3 are 2, 11/3, 12 - 6; over k! = 1, 2, 6.
    close(hermite_moments(x, 3), 3 * (4 + (11 / 3) ** 2 / 2 + 36 / 6), 1e-12)


@pytest.mark.parametrize("statistic", [raw_moments, hermite_moments])
@pytest.mark.parametrize("order", [1, 2, 5, 8])
def test_moments_have_mean_order_under_the_null(statistic, order):
    null = torch.randn(40000, 50, generator=torch.Generator().manual_seed(1)).double()
    values = statistic(null, order)
    assert abs(values.mean() - order) < 5 * values.std() / sqrt(len(null))


@pytest.mark.parametrize("n", SIZES[4:])
def test_vasicek_equals_scipy(n):
    x, z = sample(n)
    theirs = scipy.stats.differential_entropy(x, method="vasicek")
    close(vasicek_entropy(z), theirs, 1e-9)
    close(vasicek(z), exp(theirs) / x.std(), 1e-9)
    likelihood = -scipy.stats.norm.logpdf(x).mean()
    close(negative_log_likelihood(z), likelihood, 1e-12)
    close(vasicek_divergence(z), likelihood - theirs, 1e-9)
    narrow = scipy.stats.differential_entropy(x, window_length=1, method="vasicek")
    close(vasicek_entropy(z, 1), narrow, 1e-9)


def test_kolmogorov_smirnov_by_hand():
    # One sample at 0.5: the distribution function steps from 0 to 1 where Phi is 0.6915.
    phi = 0.5 * (1 + erf(0.5 / sqrt(2)))
    close(kolmogorov_smirnov(torch.tensor([0.5], dtype=torch.float64)), phi, 1e-12)
