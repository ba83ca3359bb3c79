"""Statistics at any scale, and what standardising and whitening make of a sample."""

import pytest
import torch
from scipy import stats

from isojepa.normality.multivariate import MULTIVARIATE, henze_visagie
from isojepa.normality.samples import standardise, whiten
from isojepa.normality.univariate import UNIVARIATE, epps_pulley, epps_pulley_hermite
from tests.normality.cases import D, N, every, multivariate, sample, univariate

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


LOCATION_SCALE_ONLY = {"mean_and_variance", "negative_log_likelihood"}


@every
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(torch.float32, 2.0**k) for k in (-130, -100, -19, 100, 123)]
    + [(torch.float64, 2.0**k) for k in (-1030, -660, 660, 1020)],
)
def test_powers_of_two_change_nothing_that_is_scale_free(case, dtype, scale):
    if not case.scale_free:
        return
    usual = sample(2, *case.shape, dtype=dtype).requires_grad_()
    far = (usual.detach() * scale).requires_grad_()
    values = [case.function(x) for x in (usual, far)]
    subnormal = scale < torch.finfo(dtype).tiny  # has lost digits
    close = {"rtol": 1e-3 if subnormal else 4 * torch.finfo(dtype).eps, "atol": 0}
    torch.testing.assert_close(values[1], values[0], **close)
    for value in values:
        value.sum().backward()
    if not subnormal:  # else the gradient is beyond the largest number
        grown = far.grad.double() * scale
        torch.testing.assert_close(grown, usual.grad.double(), rtol=1e-4, atol=1e-6)


@every
@pytest.mark.parametrize("power", range(-30, 31, 6))
def test_single_precision_is_right_at_any_scale_or_says_so(case, power):
    """Against float64: a number beyond float32 may come out as none, never as a wrong one."""
    x = (sample(*case.shape) * 10.0**power).float()
    # A grid of frequencies aliases what lies far beyond its reach; Henze-Visagie's exponents are
    # clipped at half the range of the type: numbers of the type, not of the sample.
    of_the_type = epps_pulley, epps_pulley_hermite, henze_visagie
    if power > 0 and case.statistic.function in of_the_type and not case.scale_free:
        return
    value, exact = case.function(x), case.function(x.double())
    if value.isfinite() or case.scale_free:
        torch.testing.assert_close(value, exact.float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scipy_agrees_at_any_scale(scale):
    x = (sample(60) * scale).float()
    y = x.double().numpy() / scale
    torch.testing.assert_close(
        UNIVARIATE["shapiro_wilk"].function(x).item(), stats.shapiro(y).statistic, **CLOSE
    )
    torch.testing.assert_close(
        UNIVARIATE["jarque_bera"].function(x).item(), float(stats.jarque_bera(y).statistic), **CLOSE
    )
    lilliefors = UNIVARIATE["kolmogorov_smirnov"].under("composite")(x).item()
    expected = stats.kstest(y, stats.norm(y.mean(), y.std(ddof=1)).cdf).statistic
    torch.testing.assert_close(lilliefors, float(expected), **CLOSE)


@pytest.mark.parametrize("to_standard", [standardise, whiten])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_standardising_can_be_mapped(to_standard, scale):
    x = sample(4, N, D, dtype=torch.float32) * scale
    torch.testing.assert_close(torch.vmap(to_standard)(x), to_standard(x))


@univariate
def test_composite_ignores_location_and_scale(name):
    if name in LOCATION_SCALE_ONLY:
        with pytest.raises(ValueError, match="no composite form"):
            UNIVARIATE[name].under("composite")
        return
    x = sample(N)
    composite = UNIVARIATE[name].under("composite")
    torch.testing.assert_close(composite(3 - 7 * x), composite(x), rtol=1e-9, atol=1e-11)
    simple = UNIVARIATE[name].under("simple")
    moved = (simple(3 - 7 * x) - simple(x)).abs() > 1e-3
    assert moved == (UNIVARIATE[name].null == "simple")


@multivariate
def test_composite_ignores_affine_maps(name):
    z = sample(N, D)
    affine = sample(D, D, seed=2)
    composite, simple = MULTIVARIATE[name].under("composite"), MULTIVARIATE[name].under("simple")
    torch.testing.assert_close(composite(1 + z @ affine), composite(z), rtol=1e-9, atol=1e-11)
    assert (simple(1 + z @ affine) - simple(z)).abs() > 1e-3


def test_standardise_and_whiten():
    x, z = sample(2, N), sample(2, N, D)
    torch.testing.assert_close(standardise(x).std(-1), torch.ones(2).double())
    torch.testing.assert_close(standardise(x).mean(-1), torch.zeros(2).double())
    y = whiten(z)
    identity = torch.eye(D).double().expand(2, D, D)
    torch.testing.assert_close(y.mT @ y / N, identity)
    torch.testing.assert_close(y.mean(-2), torch.zeros(2, D).double())
    with pytest.raises(ValueError, match="more samples than dimensions"):
        whiten(z[:, :D])


def test_whitening_survives_missing_directions():
    for dtype in (torch.float32, torch.float64):
        z = (sample(64, 4) @ sample(4, 32)).to(dtype)
        assert whiten(z).isfinite().all()
    assert (whiten(torch.ones(N, D)) == 0).all()
