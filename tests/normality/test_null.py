"""Null distributions have the published quantiles, are reproducible and kept in files."""

import numpy as np
import pytest
import scipy.stats
import torch

from isojepa.normality import null as module
from isojepa.normality.calibration import Calibration
from isojepa.normality.null import null_distribution, simulate_null

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
