"""Normal samples pass, others have small p-values, and what cannot be tested is refused."""

import numpy as np
import pytest
import scipy.stats
import torch

from isojepa.errors import UserError
from isojepa.normality import null as module
from isojepa.normality.calibration import Calibration
from isojepa.normality.gaussianity import LEVELS, gaussianity_test
from isojepa.normality.multivariate import MULTIVARIATE
from isojepa.normality.univariate import UNIVARIATE


def normal(*shape, seed=1234):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_p_values_agree_with_scipy():
    x = normal(200)[:30] + 0.25
    ours = gaussianity_test(x, "kolmogorov_smirnov", n_null=4000)
    theirs = scipy.stats.kstest(x.numpy(), "norm")
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-5)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.03)
    ours = gaussianity_test(x.exp(), "shapiro_wilk", "composite", n_null=4000)
    theirs = scipy.stats.shapiro(x.exp().numpy())
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.01)


ALTERNATIVES = {
    "collapsed": lambda z: 0.01 * z,
    "shifted": lambda z: z + 0.5,
    "anisotropic": lambda z: z * torch.tensor([2.0, 1.0, 0.5]),
    "heavy-tailed": lambda z: z / normal(len(z), 1, seed=5).abs().clamp_min(0.1),
    "clustered": lambda z: 0.3 * z + 1.6 * normal(len(z), 3, seed=6).sign(),
}


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("name", ["epps_pulley", "epps_pulley_all_directions", "energy", "bhep"])
def test_alternatives_are_rejected(name, alternative):
    z = normal(200, 3)
    assert gaussianity_test(z, name, n_null=200).p_value > 0.05
    assert gaussianity_test(ALTERNATIVES[alternative](z), name, n_null=200).p_value < 0.01


def test_composite_accepts_what_simple_rejects():
    z = 3 + normal(100, 3) @ normal(3, 3, seed=2)
    for name in ("epps_pulley", "energy"):
        assert gaussianity_test(z, name, "simple", n_null=200).p_value < 0.01
        assert gaussianity_test(z, name, "composite", n_null=200).p_value > 0.05


def test_constant_samples_are_rejected():
    for name in UNIVARIATE:
        assert gaussianity_test(torch.full((64,), 0.3), name, n_null=200).p_value < 0.02


def test_result():
    z = normal(50, 4)
    result = gaussianity_test(z, "energy", "composite", n_null=300, seed=7)
    assert result.null.shape == (300,)
    assert (result.null.diff() >= 0).all()
    assert result.quantiles.shape == (len(LEVELS),)
    assert result.quantiles[3] == result.null.median() or result.quantiles[3] > result.null[149]
    assert result.calibration == Calibration(
        statistic="energy", n=50, d=4, null="composite", n_null=300, seed=7
    )


@pytest.mark.usefixtures("_empty_memory")
def test_progress_is_reported(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 20 * 20 * 20)
    seen = []
    gaussianity_test(normal(20, 2), "energy", n_null=50, progress=lambda *p: seen.append(p))
    assert seen == [(20, 50), (40, 50), (50, 50)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.tensor([1.0, float("nan"), 2.0, float("inf")]),), "2 rows are not finite.*at 1"),
        ((torch.arange(10),), "floating-point"),
        ((torch.randn(2, 3, 4),), "sample"),
        ((torch.randn(4), "vasicek"), "vasicek needs 5 samples, got 4"),
        ((torch.randn(0), "energy"), "needs 1 samples"),
        ((torch.randn(5, 0), "energy"), "at least one dimension"),
        ((torch.randn(5, 5), "energy", "composite"), "more samples than dimensions"),
        ((torch.randn(9), "normal"), "unknown statistic 'normal': one of epps_pulley,"),
        ((torch.randn(9), "mean_and_variance", "composite"), "no composite form"),
        ((torch.randn(9), "energy", "simple", 0), "n_null"),
        ((torch.randn(9), "energy", "simple", 10, -1), "seed"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as caught:
        gaussianity_test(*arguments)
    assert "\n" not in str(caught.value)


def test_two_tails_have_no_maximum():
    with pytest.raises(UserError, match="two tails"):
        gaussianity_test(normal(9, 2), "negative_log_likelihood", reduction="max")


@pytest.mark.parametrize("statistic", ["epps_pulley_all_directions", "bhep", "energy"])
def test_a_huge_number_never_hides_the_distances_between_the_others(statistic):
    sample = torch.randn(24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sample[3] = 1e200
    with pytest.raises(UserError, match="reaches as far as 1e\\+200"):
        gaussianity_test(sample, statistic, n_null=19)


@pytest.mark.parametrize("name", sorted(UNIVARIATE | MULTIVARIATE))
def test_a_huge_number_never_passes_for_normal(name: str) -> None:
    """A finite statistic with a small p-value, or one line: never NaN, never p = 1."""
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 1)))
    z[3] = 1e200
    try:
        found = gaussianity_test(z, name, n_null=39)
    except UserError:
        return
    assert np.isfinite(found.statistic)
    # A statistic that looks at mean and scale alone, or ranks, may not see one number in 60
    assert found.p_value < 0.1 or (UNIVARIATE | MULTIVARIATE)[name].bounded
