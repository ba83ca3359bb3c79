"""Epps-Pulley along random directions, and what the report measures, against references."""

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from isojepa.embeddings.moments import Moments
from isojepa.embeddings.slices import sigreg_at_a_point, slice_test
from isojepa.embeddings.spectrum import spectrum_of
from isojepa.normality.characteristic_function import epps_pulley, epps_pulley_floor
from tests.embeddings import reference
from tests.embeddings.laws import gaussian


def noise(n: int, d: int, seed: int = 0) -> np.ndarray:
    return gaussian(np.random.default_rng(seed), n, d)


@pytest.mark.parametrize(("knots", "t_max"), [(17, 3.0), (9, 5.0)])
def test_the_statistic_and_its_ends_are_those_of_the_definition(knots: int, t_max: float):
    x = 1.3 * noise(64, 5)
    ours = epps_pulley(torch.tensor(x.T.copy()), knots, t_max).numpy()
    np.testing.assert_allclose(ours, reference.epps_pulley(x, knots, t_max), rtol=1e-10)
    assert epps_pulley_floor(knots, t_max) == pytest.approx(reference.sigreg_floor(knots, t_max))
    point = reference.epps_pulley(np.zeros((128, 1)), knots, t_max)[0]
    assert sigreg_at_a_point(128, knots, t_max) == pytest.approx(point)


def test_the_reference_is_the_integral():
    x = 0.7 * noise(40, 2) + 0.3

    def integrand(t: float, column: np.ndarray) -> float:
        phi = np.exp(1j * t * column).mean()
        return 40 * abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)

    expected = [2 * integrate.quad(integrand, 0, 3, args=(column,))[0] for column in x.T]
    np.testing.assert_allclose(reference.epps_pulley(x, knots=201), expected, rtol=1e-4)


def test_the_floor_is_the_mean_over_gaussian_samples():
    assert reference.epps_pulley(noise(50, 5_000)).mean() == pytest.approx(
        epps_pulley_floor(), abs=0.05
    )


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_the_spectrum_of_projections_is_that_of_its_parts(mean: float):
    x = noise(200, 6) * np.arange(1, 7) + mean
    found, values = spectrum_of(Moments.of(x)), reference.eigenvalues(x)
    np.testing.assert_allclose(found.eigenvalues, values)
    lengths = np.linalg.svd(x, compute_uv=False)
    assert found.effective_rank == pytest.approx(np.exp(stats.entropy(values)))
    assert found.uncentred_rank == pytest.approx(np.exp(stats.entropy(lengths**2)))
    assert found.rankme == pytest.approx(np.exp(stats.entropy(lengths)))
    assert found.deviation == pytest.approx(np.sqrt(x.var(0, ddof=1).mean()))


def test_a_collapse_to_a_point_has_rank_one_whatever_the_noise_around_it():
    found = spectrum_of(Moments.of(1e-3 * noise(200, 6) + 1))
    assert found.effective_rank > 5.5
    assert found.uncentred_rank == pytest.approx(1, abs=0.01)


def test_the_gaussian_is_accepted_and_a_skewed_direction_found():
    x = noise(300, 4)
    accepted = slice_test(x, slices=64)
    assert accepted.p_value > 0.05
    assert accepted.median < accepted.null_slice_95 < accepted.null_worst_95
    x[:, 0] = np.random.default_rng(1).exponential(size=300) - 1
    rejected = slice_test(x, slices=64)
    assert rejected.p_value == rejected.least_p == pytest.approx(1 / 40)
    worst = reference.epps_pulley(rejected.worst_values[:, None].astype(float))[0]
    assert rejected.worst == pytest.approx(worst, rel=1e-3)


def test_p_values_are_uniform_under_the_null():
    # A seed of its own for each test: with one for all, they would share their 19 null samples.
    p = [
        slice_test(noise(20, 3, i), slices=8, n_null=19, seed=1000 + i).p_value for i in range(300)
    ]
    counts = np.bincount(np.round(20 * np.array(p)).astype(int), minlength=21)[1:]
    assert counts.sum() == 300
    assert stats.chisquare(counts.reshape(10, 2).sum(axis=1)).pvalue > 0.01


def test_the_null_quantile_is_that_of_one_gaussian_slice():
    null = np.quantile(reference.epps_pulley(noise(100, 10_000, seed=5)), 0.95)
    assert slice_test(noise(100, 64)).null_slice_95 == pytest.approx(null, rel=0.08)
