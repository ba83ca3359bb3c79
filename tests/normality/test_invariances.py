"""Every statistic against the properties it declares, and the invariances all of them share."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from scipy import stats
from torch import Tensor

from isojepa.normality.multivariate import MULTIVARIATE, henze_visagie, random_directions, sliced
from isojepa.normality.samples import (
    multivariate_sample,
    standardise,
    univariate_sample,
    whiten,
)
from isojepa.normality.statistic import Statistic
from isojepa.normality.univariate import UNIVARIATE, epps_pulley, epps_pulley_hermite

N, D = 24, 3
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
LOCATION_SCALE_ONLY = {"mean_and_variance", "negative_log_likelihood"}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


class Case(NamedTuple):
    label: str
    function: Callable[[Tensor], Tensor]
    statistic: Statistic
    shape: tuple[int, ...]
    """Of one sample."""

    @property
    def scale_free(self) -> bool:
        own = self.statistic.null == "composite" and self.statistic.simple is None
        return own or self.label.endswith("-composite")


def cases():
    directions = random_directions(D, 8, seed=3).double()
    for name, statistic in UNIVARIATE.items():
        for null in statistic.nulls:
            yield Case(f"{name}-{null}", statistic.under(null), statistic, (N,))
        along = partial(sliced, directions=directions, statistic=name)
        yield Case(f"sliced-{name}", along, statistic, (N, D))
    for name, statistic in MULTIVARIATE.items():
        for null in statistic.nulls:
            yield Case(f"{name}-{null}", statistic.under(null), statistic, (N, D))


every = pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.label)
univariate = pytest.mark.parametrize("name", UNIVARIATE)
multivariate = pytest.mark.parametrize("name", MULTIVARIATE)


def sample(*shape, seed=0, dtype=torch.float64):
    """Not normal, not standardised, without ties."""
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (0.3 + 1.1 * x + 0.2 * x.square()).to(dtype)


@every
def test_permutation_of_samples(case):
    x = sample(*case.shape)
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(case.function(x[order]), case.function(x), rtol=1e-10, atol=1e-12)


@every
def test_leading_axes_equal_a_loop(case):
    x = sample(2, 3, *case.shape)
    looped = torch.stack([torch.stack([case.function(one) for one in row]) for row in x])
    batched = case.function(x)
    assert batched.shape == (2, 3)
    torch.testing.assert_close(batched, looped, rtol=1e-10, atol=1e-12)


@every
def test_sign(case):
    x = sample(*case.shape)
    torch.testing.assert_close(case.function(-x), case.function(x), rtol=1e-10, atol=1e-12)


@every
def test_lower_precision_is_computed_in_float32(case):
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = sample(2, *case.shape).to(dtype)
        value, exact = case.function(x), case.function(x.double())
        assert value.dtype == torch.float32
        assert exact.dtype == torch.float64
        torch.testing.assert_close(value.double(), exact, rtol=2e-4, atol=2e-4)


@every
def test_autocast_changes_nothing(case):
    x = sample(*case.shape, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = case.function(x)
    torch.testing.assert_close(under_autocast, case.function(x), rtol=1e-6, atol=1e-7)


@every
@pytest.mark.parametrize("device", DEVICES)
def test_device(case, device):
    x = sample(*case.shape).to(device)
    assert case.function(x).device.type == device
    torch.testing.assert_close(case.function(x).cpu(), case.function(x.cpu()), rtol=1e-9, atol=1e-9)


@every
def test_gradient_is_that_of_finite_differences(case):
    x = sample(8, *case.shape[1:], seed=5).requires_grad_()
    assert torch.autograd.gradcheck(case.function, x, fast_mode=True, atol=1e-6, rtol=1e-5)


@every
def test_constant_sample_gives_finite_values_and_gradients(case):
    for dtype in (torch.float32, torch.float64):
        x = torch.full(case.shape, 0.5, dtype=dtype, requires_grad=True)
        value = case.function(x)
        value.backward()
        assert value.isfinite()
        assert x.grad.isfinite().all()


@every
def test_too_few_samples_are_refused(case):
    for n in range(case.statistic.min_n):
        with pytest.raises(ValueError, match=r"needs|whitening"):
            case.function(torch.randn(n, *case.shape[1:]))


def test_what_is_no_sample_is_refused():
    check, check_rows = (inspect.unwrap(f) for f in (univariate_sample, multivariate_sample))
    for refuse in (check, check_rows):  # unwrapped: the test run checks annotations before them
        with pytest.raises(TypeError, match="must be floating point"):
            refuse(torch.ones(3, 3, dtype=torch.long))
    for refuse, shape in ((check, ()), (check_rows, (3,)), (check_rows, (3, 0))):
        with pytest.raises(ValueError, match="at least 1, got shape"):
            refuse(torch.ones(shape))


@every
def test_fewest_samples_suffice(case):
    to_standardise = 2 if len(case.shape) == 1 else D + 1
    n = max(case.statistic.min_n, to_standardise)
    assert case.function(sample(n, *case.shape[1:])).isfinite()


@univariate
def test_gradient_of_an_outlier_is_bounded_as_declared(name):
    x = sample(N)

    def gradient(position):
        outlying = torch.cat([x, x.new_tensor([position])]).requires_grad_()
        UNIVARIATE[name].function(outlying).backward()
        return outlying.grad[-1].abs().item()

    near = max(gradient(position) for position in torch.linspace(-20.03, 20, 60).tolist())
    assert (gradient(1e5) <= near) == UNIVARIATE[name].bounded


@multivariate
def test_gradient_of_a_multivariate_outlier_is_bounded(name):
    z = sample(N, D)

    def gradient(position):
        outlying = torch.cat([z, z.new_full((1, D), position)]).requires_grad_()
        MULTIVARIATE[name].function(outlying).backward()
        return outlying.grad[-1].norm().item()

    near = max(gradient(position) for position in torch.linspace(-20.03, 20, 40).tolist())
    assert (gradient(1e5) <= 1.01 * near) == MULTIVARIATE[name].bounded


@univariate
def test_sparse_gradients_pass_through_one_sample(name):
    x = sample(N).requires_grad_()
    UNIVARIATE[name].function(x).backward()
    assert (x.grad.count_nonzero() == 1) == (UNIVARIATE[name].gradient == "sparse")


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
@pytest.mark.parametrize("null", ["simple", "composite"])
def test_rotation(name, null):
    z = sample(N, D)
    rotation = torch.linalg.qr(sample(D, D, seed=2)).Q
    function = MULTIVARIATE[name].under(null)
    torch.testing.assert_close(function(z @ rotation), function(z), rtol=1e-9, atol=1e-11)


@multivariate
def test_composite_ignores_affine_maps(name):
    z = sample(N, D)
    affine = sample(D, D, seed=2)
    composite, simple = MULTIVARIATE[name].under("composite"), MULTIVARIATE[name].under("simple")
    torch.testing.assert_close(composite(1 + z @ affine), composite(z), rtol=1e-9, atol=1e-11)
    assert (simple(1 + z @ affine) - simple(z)).abs() > 1e-3


@univariate
def test_rotation_of_a_slice_and_its_directions(name):
    z, directions = sample(N, D), random_directions(D, 5, seed=0).double()
    rotation = torch.linalg.qr(sample(D, D, seed=2)).Q
    rotated = sliced(z @ rotation, rotation.T @ directions, name)
    torch.testing.assert_close(rotated, sliced(z, directions, name), rtol=1e-9, atol=1e-11)


@univariate
def test_slices_reduce_to_mean_and_to_most_extreme(name):
    z, directions = sample(N, D), random_directions(D, 5, seed=0).double()
    each = UNIVARIATE[name].under("simple")((z @ directions).mT)
    torch.testing.assert_close(sliced(z, directions, name), each.mean())
    if UNIVARIATE[name].tail == "both":
        with pytest.raises(ValueError, match="two tails"):
            sliced(z, directions, name, "max")
    else:
        extreme = each.max() if UNIVARIATE[name].tail == "large" else each.min()
        torch.testing.assert_close(sliced(z, directions, name, "max"), extreme)


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
