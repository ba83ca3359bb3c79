"""Second moments against independent computations and known laws."""

import numpy as np
import pytest
from scipy import linalg, stats

from isojepa.embeddings import label_free
from isojepa.embeddings.moments import Moments
from isojepa.embeddings.rows import summarise_rows
from isojepa.embeddings.samples import from_array
from isojepa.embeddings.spectrum import (
    isotropic_eigenvalues,
    least_eigenvalues,
    spectrum_of,
    wishart_eigenvalues,
)
from tests.embeddings.laws import anisotropic, copies, gaussian


def moments(x: np.ndarray) -> Moments:
    return Moments(len(x), x.mean(0), np.atleast_2d(np.cov(x.T)))


def test_agrees_with_the_functions_of_samples():
    x = anisotropic(np.random.default_rng(0), 300, 12) + 0.5
    s = spectrum_of(moments(x))
    assert s.effective_rank == pytest.approx(label_free.effective_rank(x))
    assert s.rankme == pytest.approx(label_free.rankme(x))
    assert s.condition_number == pytest.approx(label_free.condition_number(x))
    assert s.deviation == pytest.approx(np.sqrt(x.var(0, ddof=1).mean()))
    np.testing.assert_allclose(s.axes.T @ np.cov(x.T) @ s.axes, np.diag(s.eigenvalues), atol=1e-12)


def test_isotropic_eigenvalues_follow_marchenko_and_pastur():
    values = isotropic_eigenvalues(1999, 500)
    assert values[0] == pytest.approx((1 + 0.5) ** 2, rel=0.05)
    assert values[-1] == pytest.approx((1 - 0.5) ** 2, rel=0.05)
    assert isotropic_eigenvalues(49, 80)[49:] == pytest.approx(0)
    assert isotropic_eigenvalues(49, 80).mean() == pytest.approx(1)


@pytest.mark.parametrize(("small", "large"), [(1, 7), (5, 5), (8, 59), (30, 33)])
def test_wishart_eigenvalues_have_the_law_of_direct_draws(small: int, large: int):
    rng = np.random.default_rng(0)
    direct = np.array(
        [np.linalg.svd(rng.standard_normal((small, large)), compute_uv=False) for _ in range(600)]
    )
    drawn = np.array([wishart_eigenvalues(rng, small, float(large)) for _ in range(600)])
    assert (np.diff(drawn, axis=1) <= 0).all()
    for i in {0, small // 2, small - 1}:
        assert stats.ks_2samp(direct[:, i] ** 2, drawn[:, i]).pvalue > 1e-3


def test_isotropic_eigenvalues_are_those_of_gaussian_samples():
    rng = np.random.default_rng(0)
    draws = [np.linalg.eigvalsh(np.cov(rng.standard_normal((60, 8)).T))[::-1] for _ in range(400)]
    found = isotropic_eigenvalues(59, 8, draws=400)
    np.testing.assert_allclose(found, np.mean(draws, 0) / np.mean(draws), rtol=0.03)
    np.testing.assert_array_equal(found, isotropic_eigenvalues(59, 8, draws=400))
    assert (found != isotropic_eigenvalues(59, 8, draws=400, seed=1)).any()


def test_probe_variance_is_that_of_least_squares():
    """Lemma 2, by fitting: total variance of the weights over that on an isotropic embedding."""
    rng = np.random.default_rng(0)
    n, d = 400, 6
    x = anisotropic(rng, n, d)
    x -= x.mean(0)
    noise = rng.standard_normal((n, 2000))
    weights = linalg.lstsq(x, noise)[0]
    isotropic = d / (n * x.var(0).mean())
    measured = weights.var(1).sum() / isotropic
    s = spectrum_of(moments(x))
    assert s.probe_variance * (n - 1) / (n - d - 2) == pytest.approx(measured, rel=0.05)


def test_probe_variance_has_no_bias():
    """The true value, though the sample covariance's inverse is a third too large on average."""
    deviations = np.geomspace(2, 0.5, 10)
    true = (deviations**2).mean() * (deviations**-2).mean()
    rng = np.random.default_rng(0)
    estimates = [
        spectrum_of(moments(rng.standard_normal((40, 10)) * deviations)).probe_variance
        for _ in range(300)
    ]
    assert np.mean(estimates) == pytest.approx(true, rel=0.05)


def test_probe_bias_is_that_of_ridge_regression():
    """Lemma 1, by fitting a weight along the narrowest axis without noise."""
    rng = np.random.default_rng(0)
    x = anisotropic(rng, 500, 6)
    x -= x.mean(0)
    s = spectrum_of(moments(x))
    w = s.axes[:, -1]
    ridge = 0.1 * s.eigenvalues.mean() * (len(x) - 1)
    fitted = np.linalg.solve(x.T @ x + ridge * np.eye(6), x.T @ (x @ w))
    bias = s.probe_bias[1]
    assert bias.ridge == 0.1
    assert 1 - fitted @ w == pytest.approx(bias.narrowest)
    assert bias.isotropic == pytest.approx(0.1 / (0.1 + s.isotropic[-1] / s.isotropic.mean()))
    assert bias.narrowest > bias.isotropic > 0.1 / 1.1
    plain = [spectrum_of(moments(rng.normal(size=(30, 20)))).probe_bias[1] for _ in range(20)]
    assert np.mean([b.narrowest for b in plain]) == pytest.approx(plain[0].isotropic, rel=0.1)
    assert np.isnan(spectrum_of(moments(rng.normal(size=(10, 20)))).probe_bias[1].narrowest)


def test_unevenness_is_that_of_the_true_eigenvalues():
    variances = np.linspace(0.7, 1.3, 40) ** 2
    true = variances.var() / variances.mean() ** 2
    rng = np.random.default_rng(0)
    wide = [
        spectrum_of(moments(rng.standard_normal((30, 40)) * np.sqrt(variances))).unevenness
        for _ in range(100)
    ]
    assert np.mean(wide) == pytest.approx(true, rel=0.15)  # with fewer samples than dimensions


def test_unevenness_is_standardised_under_isotropy():
    rng = np.random.default_rng(0)
    z = np.array(
        [spectrum_of(moments(rng.standard_normal((80, 50)))).unevenness_z for _ in range(200)]
    )
    assert abs(z.mean()) < 0.3
    assert 0.8 < z.std() < 1.25


def test_dead_directions_are_counted():
    x = copies(np.random.default_rng(0), 500, 10)
    s = spectrum_of(moments(x))
    assert s.dead == 5
    assert s.condition_number == s.probe_variance == float("inf")
    assert spectrum_of(moments(gaussian(np.random.default_rng(0), 30, 40))).dead == 0


def test_scan_takes_moments_of_any_blocks(monkeypatch: pytest.MonkeyPatch):
    x = anisotropic(np.random.default_rng(0), 1000, 7) + 100
    for elements in (7, 700, 10**6):
        monkeypatch.setattr("isojepa.embeddings.samples.BLOCK_ELEMENTS", elements)
        found = summarise_rows(from_array(x)).moments
        np.testing.assert_allclose(found.mean, x.mean(0), rtol=1e-12)
        np.testing.assert_allclose(found.covariance, np.cov(x.T), rtol=1e-9, atol=1e-12)


def test_moments_without_some_rows():
    x = anisotropic(np.random.default_rng(0), 200, 5) + 3
    rest = moments(x).without(x[:9])
    np.testing.assert_allclose(rest.mean, x[9:].mean(0))
    np.testing.assert_allclose(rest.covariance, np.cov(x[9:].T))
    assert rest.n == 191


def test_duplicates_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("isojepa.embeddings.samples.BLOCK_ELEMENTS", 30)
    x = gaussian(np.random.default_rng(0), 100, 3)
    x[[10, 50, 99]] = x[2]
    x[70] = x[30]
    x[5, 0], x[6] = 0.0, x[5]
    x[6, 0] = -0.0
    found = summarise_rows(from_array(x)).duplicates
    assert found.repeats == 5
    assert found.groups == ((2, 10, 50, 99), (5, 6), (30, 70)) or set(found.groups) == {
        (2, 10, 50, 99),
        (5, 6),
        (30, 70),
    }
    assert found.groups[0] == (2, 10, 50, 99)
    assert found.multiplicity == pytest.approx((16 + 4 + 4 + 92) / 100)


def test_the_sample_holds_no_row_twice():
    x = np.repeat(gaussian(np.random.default_rng(0), 50, 3), 4, axis=0)
    seen = summarise_rows(from_array(x))
    assert len(seen.sample) == len(np.unique(seen.sample, axis=0)) == 50
    np.testing.assert_array_equal(seen.sample, x[seen.sample_rows])


@pytest.mark.parametrize(("n", "d"), [(21, 20), (22, 20), (40, 20), (12, 20), (101, 100)])
def test_least_eigenvalues_are_a_bound_of_the_stated_level(n: int, d: int):
    """At a level of 0.1 rather than 0.001, so that few draws tell."""
    rng = np.random.default_rng(0)
    bounds = least_eigenvalues(n - 1, d, level=0.1)
    small = min(n - 1, d)
    below = 0
    for _ in range(200):
        values = np.linalg.eigvalsh(np.atleast_2d(np.cov(rng.normal(size=(n, d)).T)))[::-1]
        below += (values[:small] < bounds[:small] * values.mean()).any()
    assert below / 200 < 0.1 + 3 * (0.1 * 0.9 / 200) ** 0.5
    assert (np.diff(bounds[:small]) <= 0).all()


def test_the_least_eigenvalue_of_a_square_matrix_has_edelmans_law():
    """P(d lambda_min < t) -> sqrt(t) for small t (Edelman 1988), of d x d normal entries."""
    assert least_eigenvalues(50, 50, level=0.01)[-1] == pytest.approx(
        (0.01 * 6 / np.pi**2) ** 2 / 50 / 50, rel=0.02
    )


@pytest.mark.parametrize(("n", "d"), [(64, 65), (101, 100), (21, 20), (500, 20)])
@pytest.mark.parametrize("share", [0.0, 1e-7])
def test_a_dead_direction_is_found_near_n_equal_to_d(n: int, d: int, share: float):
    x = np.random.default_rng(0).normal(size=(n, d))
    x[:, :3] *= share
    found = spectrum_of(
        Moments.of(x @ np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))[0])
    ).dead
    if n > d + 50:
        assert found == 3
    elif n > d:  # the least of so few may be this small by chance; the third least not
        assert found >= 2


@pytest.mark.parametrize("n", [12, 40, 60])
def test_rows_and_covariance_give_the_same_spectrum(n: int):
    x = np.random.default_rng(0).normal(size=(n, 40)) * np.geomspace(0.1, 3, 40) + 0.3
    a, b = spectrum_of(Moments.of(x)), spectrum_of(moments(x))
    for name in ("eigenvalues", "effective_rank", "rankme", "unevenness", "dead", "deviation"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=2e-6, atol=1e-9)
    k = a.axes.shape[1]
    np.testing.assert_allclose(
        a.axes @ np.diag(a.eigenvalues[:k]) @ a.axes.T, np.cov(x.T), atol=1e-9
    )
    left, right = Moments.of(x).without(x[3:6]), Moments.of(np.delete(x, [3, 4, 5], 0))
    np.testing.assert_allclose(left.mean, right.mean, atol=1e-12)
    np.testing.assert_allclose(left.eigen.values, right.eigen.values, atol=1e-9)


@pytest.mark.parametrize(("n", "d"), [(101, 100), (65, 64), (21, 20)])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_one_lost_direction_is_found_next_to_the_bound(n: int, d: int, kind: type):
    """Where isotropic samples' own least eigenvalue comes near what rounding leaves of it."""
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((d, d)))[0]
    for seed in range(10):
        x = gaussian(np.random.default_rng(seed), n, d)
        assert spectrum_of(Moments.of(x)).dead == 0
        x[:, 3] = x[:, 0] + x[:, 1]
        assert spectrum_of(Moments.of((x @ turn).astype(kind))).dead == 1
