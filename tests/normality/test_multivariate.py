"""Multivariate statistics against their integrals, published values and brute force."""

from math import exp, gamma, pi, sqrt

import numpy as np
import pytest
import scipy.special
import torch
from sklearn.datasets import load_iris

from isojepa.normality.multivariate import (
    bhep,
    energy,
    epps_pulley_all_directions,
    henze_visagie,
    henze_zirkler,
    mardia_kurtosis,
    mardia_skewness,
    random_directions,
    sliced,
    whiten,
)
from isojepa.normality.samples import squared_distances
from isojepa.normality.univariate import epps_pulley_whole_line

SETOSA = torch.from_numpy(load_iris().data[:50])


def sample(n, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.2 + 1.2 * torch.randn(n, d, generator=generator, dtype=torch.float64)


def close(ours, theirs, rtol=1e-9):
    np.testing.assert_allclose(float(ours), float(theirs), rtol=rtol)


def plane(t_max, knots):
    """Knots of a trapezoid rule over the plane, (k, 2), and the weight of each."""
    t = torch.linspace(-t_max, t_max, knots, dtype=torch.float64)
    return torch.cartesian_prod(t, t), float(t[1] - t[0]) ** 2


# Published values, of the R package MVN on the 50 flowers of Iris setosa


def test_mardia_as_published():
    close(mardia_skewness(SETOSA), 25.6643445196298)
    close(mardia_kurtosis(SETOSA), 1.29499223711605)
    assert round(float(mardia_skewness(SETOSA[:, :2])), 3) == 0.760
    assert round(float(mardia_kurtosis(SETOSA[:, :2])), 3) == 0.093


def test_henze_zirkler_as_published():
    assert round(float(henze_zirkler(SETOSA)), 7) == 0.9488453
    assert round(float(henze_zirkler(SETOSA[:, :2])), 3) == 0.286


def test_energy_as_published():
    unbiased = sqrt(49 / 50) * whiten(SETOSA[:, :2])  # divisor n - 1
    assert round(float(energy(unbiased)), 3) == 0.527


# Definitions


@pytest.mark.parametrize("beta", [0.7, 1.0, 2.0])
def test_bhep_is_its_integral(beta):
    z = sample(7, 2)
    t, cell = plane(8 * beta, 161)
    empirical = torch.exp(1j * (t @ z.T)).mean(-1)
    r2 = t.square().sum(-1)
    density = torch.exp(-r2 / (2 * beta**2)) / (2 * pi * beta**2)
    distance = (empirical - torch.exp(-r2 / 2)).abs().square()
    close(bhep(z, beta), 7 * cell * (distance * density).sum())


def test_henze_zirkler_is_bhep():
    z = sample(30, 3)
    beta = (7 * 30 / 4) ** (1 / 7) / sqrt(2)
    close(henze_zirkler(z), bhep(whiten(z), beta))
    close(henze_zirkler(z, null="simple"), bhep(z, beta))


@pytest.mark.parametrize("weight", [3.0, 5.0])
def test_henze_visagie_is_its_integral(weight):
    z = sample(6, 2)
    t, cell = plane(9.0, 241)
    growth = torch.exp(t @ z.T)
    generating = growth.mean(-1, keepdim=True)
    gradient = growth @ z / 6
    window = torch.exp(-weight * t.square().sum(-1))
    integral = 6 * cell * ((gradient - t * generating).square().sum(-1) * window).sum()
    close(henze_visagie(z, weight, "simple"), integral * weight / pi * (1 - 2 / weight), 1e-8)
    close(henze_visagie(z, weight), henze_visagie(whiten(z), weight, "simple"))


def test_henze_visagie_is_moderate_in_high_dimension():
    z = sample(900, 768).float()
    assert 0 < henze_visagie(z) < 1e6
    assert henze_visagie(1e3 * z, null="simple").isfinite()


def test_mardia_by_brute_force():
    z = sample(12, 3)
    y = whiten(z)
    third = torch.einsum("ni,nj,nk->ijk", y, y, y) / 12
    close(mardia_skewness(z), 12 / 6 * third.square().sum())
    close(mardia_kurtosis(z), (y.norm(dim=-1).pow(4).mean() - 15) / sqrt(8 * 15 / 12))
    third = torch.einsum("ni,nj,nk->ijk", z, z, z) / 12
    close(mardia_skewness(z, null="simple"), 12 / 6 * third.square().sum())


def test_energy_by_sampling():
    z = sample(5, 3)
    points = torch.randn(400_000, 3, generator=torch.Generator().manual_seed(1)).double()
    to_normal = torch.cdist(z, points).mean()
    between_normal = 2 * gamma(2) / gamma(1.5)
    expected = 5 * (2 * to_normal - between_normal - torch.cdist(z, z).mean())
    close(energy(z), expected, 5e-3)


def test_energy_of_one_sample_by_hand():
    # d = 1, z = 0: 2 E|Z| - E|Z - Z'| = 2 sqrt(2/pi) - 2/sqrt(pi).
    zero = torch.zeros(1, 1, dtype=torch.float64)
    close(energy(zero), 2 * sqrt(2 / pi) - 2 / sqrt(pi))


@pytest.mark.parametrize("statistic", [bhep, energy, epps_pulley_all_directions])
def test_means_under_the_null(statistic):
    n, d, r = 10, 4, 4000
    expected = {
        bhep: 1 - 3 ** (-d / 2),
        energy: 2 * gamma((d + 1) / 2) / gamma(d / 2),
        epps_pulley_all_directions: sqrt(2 * pi) - sqrt(2 * pi / 3),
    }[statistic]
    null = torch.randn(r, n, d, generator=torch.Generator().manual_seed(0))
    values = statistic(null)
    assert abs(values.mean() - expected) < 4 * values.std() / sqrt(r)


# The average over all directions


@pytest.mark.parametrize("window", [0.5, 1.0, 2.0])
def test_all_directions_of_a_line_are_the_line(window):
    z = sample(20, 1)
    close(epps_pulley_all_directions(z, window), epps_pulley_whole_line(z[:, 0], window=window))


@pytest.mark.parametrize("window", [1.0, 2.0])
def test_all_directions_of_the_plane(window):
    z = sample(20, 2)
    angle = pi / 200 * torch.arange(200, dtype=torch.float64)  # exact: a periodic trapezoid rule
    directions = torch.stack([angle.cos(), angle.sin()])
    values = epps_pulley_whole_line((z @ directions).T, window=window)
    close(epps_pulley_all_directions(z, window), values.mean(), 1e-10)


@pytest.mark.parametrize("d", [16, 128])
def test_all_directions_are_the_limit_of_many_slices(d):
    z = sample(32, d)
    directions = random_directions(d, 2048, seed=0).double()
    values = epps_pulley_whole_line((z @ directions).T)
    error = values.mean() - epps_pulley_all_directions(z)
    assert abs(error) < 4 * values.std() / sqrt(2048)


@pytest.mark.parametrize("d", [1, 2, 3, 32, 768, 8192])
def test_all_directions_equal_scipy(d):
    n = 12
    z = sample(n, d)
    r2, norms = torch.cdist(z, z).square().numpy(), z.square().sum(-1).numpy()
    kernel = sqrt(2 * pi) * scipy.special.hyp1f1(0.5, d / 2, -r2 / 2).mean()
    single = sqrt(pi) * scipy.special.hyp1f1(0.5, d / 2, -norms / 4).mean()
    expected = n * (kernel - 2 * single + sqrt(2 * pi / 3))
    close(epps_pulley_all_directions(z), expected, 1e-8)
    close(epps_pulley_all_directions(z.float()), expected, 1e-4)


def test_all_directions_gradient_in_float32_and_far_away():
    z = sample(64, 128)
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaf = z.to(dtype, copy=True).requires_grad_()
        epps_pulley_all_directions(leaf).backward()
        gradients.append(leaf.grad.double())
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)
    far = (1e6 * z).requires_grad_()
    epps_pulley_all_directions(far).backward()
    assert (far.grad * far).sum() > 0  # the loss still pulls inwards


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_distances_do_not_suffer_from_a_common_shift(shift):
    z = sample(40, 64)
    exact = squared_distances(z + shift)
    torch.testing.assert_close(
        squared_distances((z + shift).float()).double(), exact, rtol=1e-3, atol=1e-3
    )


def test_slices_are_of_unit_length_and_a_function_of_seed_and_step():
    a = random_directions(5, 100, seed=1, step=2)
    torch.testing.assert_close(a.norm(dim=0), torch.ones(100))
    assert torch.equal(a, random_directions(5, 100, seed=1, step=2))
    assert not torch.equal(a, random_directions(5, 100, seed=1, step=3))


def test_bad_arguments_are_refused():
    z = sample(5, 2)
    for call in (
        lambda: bhep(z, 0.0),
        lambda: henze_visagie(z, 2.0),
        lambda: epps_pulley_all_directions(z, -1.0),
    ):
        with pytest.raises(ValueError, match="must be"):
            call()
    with pytest.raises(KeyError):
        sliced(z, random_directions(2, 3, seed=0), "unknown")


def test_a_collapsed_sample_has_the_largest_value():
    # All samples on the mean: n times the distance of 1 from the normal law, by hand for d = 2.
    constant = torch.zeros(10, 2, dtype=torch.float64)
    expected = 10 * (1 - 2 * 2**-1 + 1 / 3)
    close(bhep(constant), expected)
    assert exp(-1) < float(epps_pulley_all_directions(constant)) / 10 < 2
