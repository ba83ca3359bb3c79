"""Label-free statistics of spectra that are known."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.stats import entropy, ortho_group

from isojepa.embeddings.label_free import (
    alpha_req,
    condition_number,
    covariance_spectrum,
    effective_rank,
    lidar,
    rankme,
)


def with_covariance(eigenvalues: np.ndarray, mean: float = 0.0) -> np.ndarray:
    """Exactly these covariance eigenvalues, in random directions, and 4 d samples."""
    d = len(eigenvalues)
    left = ortho_group.rvs(d, random_state=0)
    frame = np.concatenate([left, -left, left, -left]) * np.sqrt(d)
    return frame @ np.diag(np.sqrt(eigenvalues)) @ ortho_group.rvs(d, random_state=1) + mean


eigenvalues = np.array([9.0, 4.0, 1.0, 0.5])


def test_spectrum() -> None:
    np.testing.assert_allclose(covariance_spectrum(with_covariance(eigenvalues, 5)), eigenvalues)


def test_effective_rank_is_the_exponential_entropy_of_variance_shares() -> None:
    assert effective_rank(with_covariance(eigenvalues, 5)) == pytest.approx(
        np.exp(entropy(eigenvalues))
    )
    assert effective_rank(with_covariance(np.ones(8))) == pytest.approx(8)
    assert effective_rank(with_covariance(np.array([1.0, 0, 0]))) == pytest.approx(1)
    assert effective_rank(np.full((10, 3), 0.1, np.float32)) == 0


def test_rankme_is_the_exponential_entropy_of_singular_values() -> None:
    assert rankme(with_covariance(eigenvalues)) == pytest.approx(
        np.exp(entropy(np.sqrt(eigenvalues)))
    )
    assert rankme(with_covariance(eigenvalues, mean=1e6)) == pytest.approx(1, abs=1e-3)


def test_condition_number() -> None:
    assert condition_number(with_covariance(eigenvalues, 5)) == pytest.approx(18)
    assert condition_number(with_covariance(np.array([1.0, 1.0, 0.0]))) == np.inf
    assert condition_number(np.zeros((10, 3), np.float32)) == np.inf


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_alpha_req_recovers_a_power_law(exponent: float) -> None:
    power_law = np.arange(1, 13.0) ** -exponent
    assert alpha_req(with_covariance(power_law)) == pytest.approx(exponent, abs=1e-6)


def test_alpha_req_of_a_line_is_undefined() -> None:
    assert np.isnan(alpha_req(with_covariance(np.array([1.0, 0, 0]))))


@pytest.mark.parametrize("statistic", [effective_rank, condition_number, alpha_req])
def test_shift_scale_and_rotation_change_nothing(statistic: Callable[[np.ndarray], float]) -> None:
    x = np.random.default_rng(0).normal(size=(100, 6)) * np.arange(1, 7)
    moved = 3 * x @ ortho_group.rvs(6, random_state=2) + 4
    assert statistic(moved) == pytest.approx(statistic(x))


def test_lidar_is_the_rank_of_a_generalised_eigenproblem() -> None:
    rng = np.random.default_rng(0)
    views = rng.normal(size=(1, 40, 5)) * [3, 2, 1, 1, 0.1] + rng.normal(size=(4, 40, 5)) * 0.5
    means = views.mean(0)
    within = sum((view - means).T @ (view - means) for view in views) / (40 * 3)
    values = eigh(np.cov(means.T), within + 1e-4 * np.eye(5), eigvals_only=True)
    assert lidar(views) == pytest.approx(np.exp(entropy(values)))
    turned = views @ ortho_group.rvs(5, random_state=2) + 7
    assert lidar(turned) == pytest.approx(lidar(views), rel=1e-6)


def test_lidar_does_not_count_noise_as_rankme_does() -> None:
    rng = np.random.default_rng(0)
    samples = np.zeros((200, 16))
    samples[:, :2] = 3 * rng.normal(size=(200, 2))
    views = samples + rng.normal(size=(6, 200, 16))
    assert lidar(views) < 4
    assert rankme(views[0]) > 10
    with pytest.raises(ValueError, match="two views of two samples"):
        lidar(views[:1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("centred", [True, False])
def test_what_is_not_finite_has_no_rank(value: float, centred: bool) -> None:
    """A run that diverges measures its embeddings before its loss says so: that is no traceback."""
    x = np.ones((9, 4), np.float32)
    x[3, 2] = value
    assert np.isnan(effective_rank(x, centred=centred))
