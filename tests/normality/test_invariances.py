"""Every statistic against the properties it declares, and the invariances all of them share."""

import inspect

import pytest
import torch

from isojepa.normality.multivariate import MULTIVARIATE, random_directions, sliced
from isojepa.normality.samples import multivariate_sample, univariate_sample
from isojepa.normality.univariate import UNIVARIATE
from tests.normality.cases import D, N, every, multivariate, sample, univariate

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


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


@multivariate
@pytest.mark.parametrize("null", ["simple", "composite"])
def test_rotation(name, null):
    z = sample(N, D)
    rotation = torch.linalg.qr(sample(D, D, seed=2)).Q
    function = MULTIVARIATE[name].under(null)
    torch.testing.assert_close(function(z @ rotation), function(z), rtol=1e-9, atol=1e-11)


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
