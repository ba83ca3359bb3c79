"""p-values are uniform under the null, reproducible, cached, and small under alternatives."""

import numpy as np
import pytest
import scipy.stats
import torch

from isojepa.errors import UserError
from isojepa.normality import calibration as module
from isojepa.normality.calibration import (
    LEVELS,
    Calibration,
    gaussianity_test,
    null_distribution,
    rejection_rate,
    simulate_null,
)
from isojepa.normality.multivariate import MULTIVARIATE
from isojepa.normality.univariate import UNIVARIATE


@pytest.fixture
def _empty_memory():
    module._in_memory.clear()


def calibrations(n, n_null):
    """A calibration of every statistic, null and reduction."""
    for name, statistic in {**UNIVARIATE, **MULTIVARIATE}.items():
        for null in statistic.nulls:
            common = {"statistic": name, "null": null, "n": n, "n_null": n_null}
            if name in MULTIVARIATE:
                yield Calibration(d=3, **common)
                continue
            yield Calibration(d=1, **common)
            for reduction in ("mean", "max"):
                if not (reduction == "max" and statistic.tail == "both"):
                    yield Calibration(d=3, slices=8, reduction=reduction, **common)


def label(c):
    kind = f"sliced-{c.reduction}-" if c.sliced else ""
    return f"{kind}{c.statistic}-{c.null}"


def normal(*shape, seed=1234):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("calibration", calibrations(n=16, n_null=400), ids=label)
def test_type_one_error_quickly(calibration):
    rate = rejection_rate(normal(400, 16, calibration.d), calibration)
    assert 0.01 <= rate <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("calibration", calibrations(n=32, n_null=19_999), ids=label)
def test_type_one_error_and_uniform_p_values(calibration):
    z = normal(2000, 32, calibration.d)
    assert 0.035 <= rejection_rate(z, calibration) <= 0.065
    null = null_distribution(calibration)
    values = torch.cat([calibration.evaluate(block) for block in z.split(100)])
    p_values = calibration.p_values(values, null).numpy()
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_p_values_are_uniform():
    for name in ("epps_pulley", "shapiro_wilk", "negative_log_likelihood"):
        c = Calibration(statistic=name, n=20, d=1, n_null=9999)
        p_values = c.p_values(c.evaluate(normal(1000, 20, 1)), null_distribution(c))
        assert scipy.stats.kstest(p_values.numpy(), "uniform").pvalue > 0.005
        assert p_values.min() > 0
        assert p_values.max() <= 1


def test_p_values_by_hand():
    null = torch.tensor([1.0, 2.0, 3.0, 4.0])
    values = torch.tensor([0.0, 2.0, 2.5, 9.0])

    def p_values(name):
        return Calibration(statistic=name, n=9, d=1).p_values(values, null).tolist()

    assert p_values("epps_pulley") == [1.0, 4 / 5, 3 / 5, 1 / 5]
    assert p_values("shapiro_wilk") == [1 / 5, 3 / 5, 3 / 5, 1.0]
    assert p_values("negative_log_likelihood") == pytest.approx([2 / 5, 1.0, 1.0, 2 / 5])


def test_p_values_agree_with_scipy():
    x = normal(200)[:30] + 0.25
    ours = gaussianity_test(x, "kolmogorov_smirnov", n_null=4000)
    theirs = scipy.stats.kstest(x.numpy(), "norm")
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-5)
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.03)
    ours = gaussianity_test(x.exp(), "shapiro_wilk", "composite", n_null=4000)
    theirs = scipy.stats.shapiro(x.exp().numpy())
    assert ours.p_value == pytest.approx(theirs.pvalue, abs=0.01)


ROOT = 40**0.5
STEPHENS = {
    # Stephens (1974), JASA 69, tables 1 and 1A: upper 5 % points, and how they bend at n = 40.
    ("anderson_darling", "simple"): (2.492, lambda a: a),
    ("cramer_von_mises", "simple"): (0.461, lambda w: (w - 0.4 / 40 + 0.6 / 1600) * (1 + 1 / 40)),
    ("watson", "simple"): (0.187, lambda u: (u - 0.1 / 40 + 0.1 / 1600) * (1 + 0.8 / 40)),
    ("kolmogorov_smirnov", "simple"): (1.358, lambda d: d * (ROOT + 0.12 + 0.11 / ROOT)),
    ("anderson_darling", "composite"): (0.752, lambda a: a * (1 + 0.75 / 40 + 2.25 / 1600)),
    ("cramer_von_mises", "composite"): (0.126, lambda w: w * (1 + 0.5 / 40)),
    ("watson", "composite"): (0.116, lambda u: u * (1 + 0.5 / 40)),
    ("kolmogorov_smirnov", "composite"): (0.895, lambda d: d * (ROOT - 0.01 + 0.85 / ROOT)),
}


@pytest.mark.parametrize(("name", "null"), STEPHENS)
def test_published_critical_values(name, null):
    published, modified = STEPHENS[name, null]
    c = Calibration(statistic=name, n=40, d=1, null=null, n_null=6000)
    quantile = float(torch.quantile(null_distribution(c), 0.95))
    assert modified(quantile) == pytest.approx(published, rel=0.05)


def test_published_lower_points_of_shapiro_wilk():
    # Shapiro and Wilk (1965), Table 6: 5 % points 0.842 for n = 10, 0.905 for n = 20.
    for n, published in ((10, 0.842), (20, 0.905)):
        c = Calibration(statistic="shapiro_wilk", n=n, d=1, n_null=8000)
        assert float(torch.quantile(null_distribution(c), 0.05)) == pytest.approx(
            published, abs=0.006
        )


def test_moment_statistics_are_chi_squared_for_many_samples():
    for name, degrees in (("mean_and_variance", 2), ("jarque_bera", 2), ("hermite_moments", 4)):
        c = Calibration(statistic=name, n=1000, d=1, n_null=1000)
        median = float(null_distribution(c).median())
        assert median == pytest.approx(scipy.stats.chi2(degrees).median(), rel=0.12)


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
def test_reproducible_and_seeded():
    c = Calibration(statistic="energy", n=20, d=2, n_null=50)
    first = null_distribution(c)
    module._in_memory.clear()
    assert torch.equal(first, null_distribution(c))
    other = Calibration(statistic="energy", n=20, d=2, n_null=50, seed=1)
    assert not torch.equal(first, null_distribution(other))


def test_null_samples_do_not_depend_on_their_number_or_block(monkeypatch):
    few = torch.cat(list(simulate_null(Calibration(statistic="bhep", n=9, d=2, n_null=5))))
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 3 * 9 * 9)
    blocks = list(simulate_null(Calibration(statistic="bhep", n=9, d=2, n_null=8)))
    assert [len(block) for block in blocks] == [3, 3, 2]
    torch.testing.assert_close(torch.cat(blocks)[:5], few)


@pytest.mark.usefixtures("_empty_memory")
def test_cached_in_memory_and_in_a_folder(tmp_path, monkeypatch):
    c = Calibration(statistic="energy", n=20, d=2, n_null=50)
    first = null_distribution(c, cache=tmp_path / "nulls")
    assert [path.suffix for path in (tmp_path / "nulls").iterdir()] == [".npy"]
    monkeypatch.setattr(module, "simulate_null", None)  # would raise if called
    more_slices = Calibration(statistic="energy", n=20, d=2, n_null=50, slices=128)
    assert null_distribution(more_slices) is first  # because nothing is sliced
    assert null_distribution(c) is first
    module._in_memory.clear()
    assert torch.equal(null_distribution(c, cache=tmp_path / "nulls"), first)


@pytest.mark.usefixtures("_empty_memory")
@pytest.mark.parametrize("damage", ["truncated", "wrong shape", "not a number", "pickled"])
def test_a_damaged_cache_is_simulated_again(tmp_path, damage):
    c = Calibration(statistic="energy", n=20, d=2, n_null=50)
    first = null_distribution(c, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:150])
    elif damage == "pickled":
        np.save(path, np.array([{"a": 1}] * 50), allow_pickle=True)
    else:
        np.save(path, np.ones(3) if damage == "wrong shape" else np.full(50, np.nan))
    module._in_memory.clear()
    assert torch.equal(null_distribution(c, cache=tmp_path), first)


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


COMPOSITE = [name for name, s in (UNIVARIATE | MULTIVARIATE).items() if "composite" in s.nulls]


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


def test_comparing_all_pairs_of_too_many_samples_is_refused() -> None:
    for name, s in (UNIVARIATE | MULTIVARIATE).items():
        if s.pairs:
            with pytest.raises(UserError, match="compares all pairs"):
                Calibration(statistic=name, n=2_000_000, d=1)
