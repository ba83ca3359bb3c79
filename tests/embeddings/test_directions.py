"""Distances, gaps and directions: their null laws hold, and they find what is there."""

import numpy as np
import pytest
import torch
from scipy import stats

from isojepa.embeddings.clusters import count_gap, deepest_valley, separating_directions
from isojepa.embeddings.directions import worst_directions
from isojepa.embeddings.distances import LEVEL, distances
from isojepa.embeddings.gaussianity import gaussianity
from isojepa.embeddings.rows import summarise_rows
from isojepa.embeddings.samples import from_array
from isojepa.embeddings.spectrum import spectrum_of
from isojepa.normality.univariate import epps_pulley
from tests.embeddings.laws import anisotropic, clusters, gaussian, student


def measured(x: np.ndarray):
    samples = from_array(x)
    moments = summarise_rows(samples).moments
    return distances(samples, moments, spectrum_of(moments), None)


@pytest.mark.parametrize(("n", "d"), [(60, 4), (60, 30), (40, 90)])
def test_distances_of_gaussian_rows_follow_a_beta_law(n: int, d: int):
    """Exactly, whatever the covariance, and in fewer axes than dimensions."""
    values = []
    for seed in range(60):
        far = measured(anisotropic(np.random.default_rng(seed), n, d))
        values.append(far.squared[0])  # rows of one sample depend on each other
    k = min(d, n // 4)
    law = stats.beta(k / 2, (n - k - 1) / 2, scale=(n - 1) ** 2 / n)
    assert stats.kstest(values, law.cdf).pvalue > 0.01


def test_distances_are_mahalanobis():
    x = anisotropic(np.random.default_rng(0), 300, 5) + 2
    centred = x - x.mean(0)
    expected = (centred @ np.linalg.inv(np.cov(x.T)) * centred).sum(1)
    np.testing.assert_allclose(measured(x).squared, expected, rtol=1e-4)


def test_gaussian_rows_stay_within_the_bound():
    beyond = [
        measured(gaussian(np.random.default_rng(seed), 200, 8)).by.max() > 1 for seed in range(300)
    ]
    assert np.mean(beyond) < 4 * LEVEL + 0.01


def test_excess_is_that_of_student():
    x = student(np.random.default_rng(0), 50_000, 4)
    assert abs(measured(gaussian(np.random.default_rng(0), 400, 4)).excess) < 0.15
    ten = gaussian(np.random.default_rng(0), 50_000, 4)
    ten *= np.sqrt(8 / np.random.default_rng(1).chisquare(10, (50_000, 1)))
    assert measured(ten).excess == pytest.approx(2 / 6, abs=0.08)
    assert measured(x).excess > 1


def test_one_wrong_number_is_seen_among_many_dimensions():
    x = gaussian(np.random.default_rng(0), 2000, 300)
    x[123, 45] = 15
    far = measured(x)
    assert far.are_outliers
    assert [far.row(i) for i in far.outliers.tolist()] == [123]


def test_valley_between_two_peaks():
    rng = np.random.default_rng(0)
    x = np.r_[rng.normal(-3, 1, 1000), rng.normal(3, 1, 500)]
    valley = deepest_valley(x)
    assert valley.left == pytest.approx(-3, abs=0.5)
    assert valley.right == pytest.approx(3, abs=0.5)
    gap = count_gap(rng.permutation(x), valley)
    assert gap.density < 0.2
    assert gap.p_value < 1e-6
    assert gap.share == pytest.approx(1 / 3, abs=0.03)


def test_constant_samples_have_no_valley():
    assert count_gap(np.ones(50), deepest_valley(np.ones(50))).p_value == 1


@pytest.mark.parametrize("law", [stats.norm, stats.uniform, stats.t(3), stats.expon])
def test_gaps_are_not_seen_where_there_are_none(law):
    rng = np.random.default_rng(0)
    p = []
    for _ in range(200):
        chosen, counted = law.rvs(size=(2, 300), random_state=rng)
        p.append(count_gap(counted, deepest_valley(chosen)).p_value)
    assert np.mean(np.array(p) < 0.05) < 0.08


def test_directions_between_clusters_separate_them():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((200, 10)), rng.standard_normal((200, 10))])
    x[200:, 3] += 8
    directions = separating_directions(x - x.mean(0), seed=0)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=0), 1)
    assert np.abs(directions[3]).max() > 0.95


def test_held_out_p_values_are_uniform():
    """Though hundreds of directions were tried: only those that were tested count."""
    p = []
    for seed in range(30):
        x = gaussian(np.random.default_rng(seed), 100, 5)
        found = worst_directions(x, np.arange(100), n_null=399, seed=seed).directions
        p.append(found[np.random.default_rng(seed).integers(len(found))].p_value)
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_a_bent_column_is_found_and_its_rows_are_named():
    rng = np.random.default_rng(0)
    x = gaussian(rng, 1000, 20)
    x[:, 7] = np.sign(x[:, 7]) + 0.1 * rng.standard_normal(1000)
    rows = np.arange(1000) * 2
    search = worst_directions(x, rows, columns="feature {}".format)
    worst = next(d for d in search.directions if d.title == "The file's feature 7")
    assert worst.statistic > 0.9 * search.directions[0].statistic
    assert abs(worst.vector[7]) == pytest.approx(1)
    assert worst.p_value == worst.shape_p == pytest.approx(1 / 2000)
    assert worst.kurtosis < -1.5
    np.testing.assert_allclose(worst.values, x[worst.rows // 2, 7])
    assert all(x[row // 2, 7] == pytest.approx(value) for row, value in worst.drivers)
    assert worst.statistic == pytest.approx(float(epps_pulley(torch.tensor(worst.values))))


def test_drivers_are_the_rows_without_which_the_statistic_falls_most():
    rng = np.random.default_rng(1)
    x = np.r_[rng.standard_normal(90), np.full(10, 4.0)][:, None]
    found = worst_directions(x, np.arange(100)).directions[0]
    statistic = epps_pulley(torch.tensor(found.values))
    falls = {}
    for i, row in enumerate(found.rows):
        rest = torch.tensor(np.delete(found.values, i))
        falls[int(row)] = float(statistic / len(found.rows) - epps_pulley(rest) / len(rest))
    best = sorted(falls.values(), reverse=True)[:5]
    assert [falls[row] for row, _ in found.drivers] == pytest.approx(best, rel=0.2)


def test_shape_does_not_depend_on_mean_and_covariance():
    x = gaussian(np.random.default_rng(0), 300, 6)
    bent = x @ np.random.default_rng(1).standard_normal((6, 6)) + 5
    mardia = [
        {t.title: t.test.statistic for t in gaussianity(z, n_null=19).tests}["Mardia's skewness"]
        for z in (x, bent)
    ]
    assert mardia[0] == pytest.approx(mardia[1], rel=1e-3)


def test_shape_p_values_are_uniform_for_any_covariance():
    """With more dimensions than axes: by the uniform law of the scaled coordinates."""
    p = []
    for seed in range(40):
        x = anisotropic(np.random.default_rng(seed), 50, 40)
        tested = gaussianity(x, n_null=19, seed=seed)
        p.append(next(t.p_value for t in tested.tests if t.asks == "shape"))
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_clusters_are_seen_from_some_direction():
    x = clusters(np.random.default_rng(0), 1000, 16)
    found = worst_directions(x, np.arange(1000)).directions
    gaps = [d.gap for d in found if d.gap is not None]
    assert 0 < len(gaps) <= 3
    assert min(gap.p_value for gap in gaps) < 1e-6


def test_too_few_samples_are_not_searched():
    assert worst_directions(np.zeros((40, 3)), np.arange(40)).directions == ()
