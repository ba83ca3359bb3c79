"""p-values are uniform under the null, and as computed by hand."""

import pytest
import scipy.stats
import torch

from isojepa.errors import UserError
from isojepa.normality.calibration import Calibration
from isojepa.normality.gaussianity import rejection_rate
from isojepa.normality.multivariate import MULTIVARIATE
from isojepa.normality.null import null_distribution
from isojepa.normality.univariate import UNIVARIATE


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


def test_comparing_all_pairs_of_too_many_samples_is_refused() -> None:
    for name, s in (UNIVARIATE | MULTIVARIATE).items():
        if s.pairs:
            with pytest.raises(UserError, match="compares all pairs"):
                Calibration(statistic=name, n=2_000_000, d=1)
