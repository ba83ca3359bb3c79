import numpy as np
import pytest
from scipy import integrate, stats

from isojepa.pages.encoder import statistics as st
from isojepa.pages.encoder.evidence import trend


def gaussian(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d))


def test_eigenvalues_match_those_of_the_singular_values():
    x = gaussian(50, 7) * np.arange(1, 8)
    expected = np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2 / 49
    np.testing.assert_allclose(st.eigenvalues(x), expected)


def test_effective_rank_of_known_spectra():
    # An orthogonal design has exactly the covariance one chooses; entropies as SciPy has them.
    design = np.linalg.qr(gaussian(64, 8) - gaussian(64, 8).mean(0))[0]
    design -= design.mean(0)
    design = np.linalg.qr(design)[0]
    variances = np.array([8.0, 4, 2, 1, 1, 1, 1, 1])
    x = design * np.sqrt(variances)
    assert st.effective_rank(x) == pytest.approx(np.exp(stats.entropy(variances)))
    assert st.effective_rank(design) == pytest.approx(8)
    assert st.condition_number(x) == pytest.approx(8)
    assert st.rankme(x) == pytest.approx(np.exp(stats.entropy(np.sqrt(variances))))


def test_effective_rank_does_not_depend_on_scale_or_rotation_but_spread_does():
    x, rotation = gaussian(200, 6) * np.arange(1, 7), stats.ortho_group.rvs(6, random_state=0)
    assert st.effective_rank(1e-3 * x @ rotation) == pytest.approx(st.effective_rank(x))
    assert st.spread(1e-3 * x) == pytest.approx(1e-3 * st.spread(x))


def test_a_collapse_to_a_point_has_rank_one_whatever_the_noise_around_it():
    point = 1e-3 * gaussian(200, 6) + 1
    assert st.effective_rank(point) > 5.5
    assert st.geometry(point).effective_rank == pytest.approx(1, abs=0.01)


def test_a_constant_sample():
    x = np.ones((20, 4), dtype=np.float32)
    assert st.effective_rank(x) == 0
    assert st.spread(x) == 0
    assert st.condition_number(x) == np.inf


def test_condition_number_is_infinite_when_samples_cannot_span_the_space():
    assert st.condition_number(gaussian(10, 10)) == np.inf
    assert st.condition_number(gaussian(100, 9) @ gaussian(9, 10)) == np.inf


def test_one_sample_has_no_covariance():
    with pytest.raises(ValueError, match="at least 2"):
        st.eigenvalues(gaussian(1, 3))


def test_isotropic_eigenvalues_follow_marchenko_and_pastur():
    values = st.isotropic_eigenvalues(2000, 500)
    assert values[0] == pytest.approx((1 + 0.5) ** 2, rel=0.05)
    assert values[-1] == pytest.approx((1 - 0.5) ** 2, rel=0.05)
    assert st.geometry(gaussian(2000, 50)).rank_share == pytest.approx(1, abs=0.01)


def test_epps_pulley_matches_numerical_integration():
    x = 0.7 * gaussian(40, 2) + 0.3

    def integrand(t: float, column: np.ndarray) -> float:
        phi = np.exp(1j * t * column).mean()
        return 40 * abs(phi - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)

    expected = [2 * integrate.quad(integrand, 0, 3, args=(column,))[0] for column in x.T]
    np.testing.assert_allclose(st.epps_pulley(x, knots=201), expected, rtol=1e-4)
    np.testing.assert_allclose(st.epps_pulley(x), expected, rtol=5e-3)


def test_epps_pulley_agrees_with_the_training_objective():
    torch = pytest.importorskip("torch")
    from isojepa.objective.sigreg import sliced_epps_pulley

    x = gaussian(64, 5) * 1.3
    ours = st.epps_pulley(x)
    theirs = sliced_epps_pulley(torch.tensor(x), torch.eye(5, dtype=torch.float64))
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10)


def test_the_floor_is_the_mean_over_gaussian_samples():
    assert st.sigreg_floor(2001, 20.0) == pytest.approx(
        np.sqrt(2 * np.pi) * (1 - 3**-0.5), rel=1e-6
    )
    simulated = st.epps_pulley(gaussian(50, 5_000))
    assert simulated.mean() == pytest.approx(st.sigreg_floor(), abs=0.05)


def test_the_value_at_a_point():
    point = st.epps_pulley(np.zeros((128, 1)))
    assert st.sigreg_at_a_point(128) == pytest.approx(point[0])
    assert st.sigreg_at_a_point(128) == pytest.approx(51.5, abs=0.1)


def test_slice_test_accepts_the_gaussian_and_finds_a_skewed_direction():
    x = gaussian(300, 4)
    accepted = st.slice_test(x, slices=64)
    assert accepted.p_value > 0.05
    assert accepted.median < accepted.null_slice_95 < accepted.null_worst_95
    x[:, 0] = np.random.default_rng(1).exponential(size=300) - 1
    rejected = st.slice_test(x, slices=64)
    assert rejected.p_value == rejected.least_p == pytest.approx(1 / 40)
    assert rejected.worst == pytest.approx(
        st.epps_pulley(rejected.worst_values[:, None])[0], rel=1e-3
    )


def test_p_values_are_uniform_under_the_null():
    # A seed of its own for each test: with one for all, they would share their 19 null samples.
    p = [
        st.slice_test(gaussian(20, 3, i), slices=8, draws=19, seed=1000 + i).p_value
        for i in range(300)
    ]
    counts = np.bincount(np.round(20 * np.array(p)).astype(int), minlength=21)[1:]
    assert counts.sum() == 300
    assert stats.chisquare(counts.reshape(10, 2).sum(axis=1)).pvalue > 0.01


def test_slice_null_quantile_is_that_of_one_gaussian_slice():
    null = np.quantile(st.epps_pulley(gaussian(100, 10_000, seed=5)), 0.95)
    assert st.slice_test(gaussian(100, 64)).null_slice_95 == pytest.approx(null, rel=0.08)


def test_thin_keeps_order_and_small_samples():
    x = np.arange(50.0)[:, None]
    assert st.thin(x, 50) is x
    thinned = st.thin(x, 20)[:, 0]
    assert len(thinned) == 20
    assert (np.diff(thinned) > 0).all()


def test_trend_recovers_a_slope_in_the_last_quarter():
    steps = np.arange(400.0)
    values = np.where(steps < 300, 5.0, 5.0 - 0.01 * (steps - 300))
    fitted = trend((steps, values))
    assert fitted is not None
    assert fitted.change == pytest.approx(-0.99, abs=0.02)
    assert fitted.steps == 99
    sparse = trend((steps[::40], values[::40]))  # 10 points: the last 8, so more than a quarter
    assert sparse is not None
    assert sparse.steps == 280
    assert trend((steps[:5], values[:5])) is None
    assert trend((steps, np.full(400, np.nan))) is None
