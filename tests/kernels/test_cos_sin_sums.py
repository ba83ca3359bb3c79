"""Every kernel equals the float64 reference in value and gradient, whatever the input is."""

import importlib.util
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import Tensor

from isojepa.kernels import chosen_kernel, cos_sin_sums, reference, use_kernel

KERNELS = ["reference", "recurrence"]
if importlib.util.find_spec("isojepa.kernels._cos_sin"):
    KERNELS.append("cpu")
SHAPES = [(1, 1), (50, 7), (32, 16), (33, 17), (1, 40), (200, 1), (3, 20, 5), (2, 3, 11, 4), (1, 0)]
DTYPES = [torch.float32, torch.float64]
STEP = 3 / 16


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest):
    with use_kernel(request.param):
        yield request.param


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def values_and_gradient(function, x: Tensor, knots: int, step: float) -> tuple[Tensor, Tensor]:
    """The sums, and the gradient of their product with fixed random numbers, in float64."""
    x = x.detach().requires_grad_()
    sums = torch.stack(function(x, knots, step))
    (sums * normal(*sums.shape, seed=1).to(sums.dtype)).sum().backward()
    return sums.detach().double(), x.grad.double()


def assert_equals_reference(x: Tensor, knots: int, step: float, tolerance: float) -> None:
    """Relative to n for the sums, and to the largest gradient that n = 1 could have."""
    expected, gradient = values_and_gradient(reference.sums, x.double(), knots, step)
    actual, actual_gradient = values_and_gradient(cos_sin_sums, x, knots, step)
    n, largest = x.shape[-2], step * knots * knots**0.5
    torch.testing.assert_close(actual, expected, atol=n * tolerance, rtol=0, equal_nan=True)
    torch.testing.assert_close(
        actual_gradient, gradient, atol=10 * largest * tolerance, rtol=0, equal_nan=True
    )


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = normal(*shape, dtype=dtype)
    assert_equals_reference(x, 17, STEP, 1e-6 if dtype == torch.float32 else 1e-14)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("knots", [2, 3, 4, 6, 8, 9, 17, 33])
def test_knots_and_steps(knots: int, dtype: torch.dtype) -> None:
    x = normal(40, 20, dtype=dtype)
    tolerance = 2e-6 if dtype == torch.float32 else 1e-14
    assert_equals_reference(x, knots, STEP, tolerance)
    assert_equals_reference(x, knots, 0.2, tolerance)  # not exact in binary


@pytest.mark.usefixtures("kernel")
def test_average_over_many_samples_is_exact_to_one_in_ten_million() -> None:
    x = normal(5000, 8, dtype=torch.float32)
    expected, _ = reference.sums(x.double(), 17, STEP)
    actual, _ = cos_sin_sums(x, 17, STEP)
    assert (actual - expected).abs().max() / 5000 < 1.5e-7


@pytest.mark.usefixtures("kernel")
def test_collapsed_samples() -> None:
    for scale in (0.0, 1e-30, 1e-4):
        assert_equals_reference(scale * normal(64, 16, dtype=torch.float32), 17, STEP, 1e-6)


def test_large_numbers(kernel: str) -> None:
    """A float32 angle t x of 1e4 is off by 5e-4; the compiled code reduces x to high precision."""
    tolerance = {"cpu": 1e-6, "recurrence": 2e-3, "reference": 2e-3}[kernel]
    for scale in (1e2, 1e4):
        assert_equals_reference(scale * normal(100, 20, dtype=torch.float32), 17, STEP, tolerance)
    assert_equals_reference(1e4 * normal(100, 20), 17, STEP, 1e-11)


@pytest.mark.skipif("cpu" not in KERNELS, reason="no compiled kernel")
def test_compiled_code_takes_any_finite_number() -> None:
    for x in (1e8 * normal(50, 20), 1e30 * normal(50, 20, dtype=torch.float32)):
        with use_kernel("cpu"):
            sums, gradient = values_and_gradient(cos_sin_sums, x, 17, STEP)
        assert sums.abs().max() <= 50.0001
        assert gradient.isfinite().all()


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_not_a_number_spoils_its_column_only(bad: float) -> None:
    x = normal(40, 20, dtype=torch.float32)
    x[5, 3] = bad
    assert_equals_reference(x, 17, STEP, 1e-6)


@pytest.mark.usefixtures("kernel")
def test_any_strides() -> None:
    base = normal(20, 30, 4, dtype=torch.float32)
    for x in (base.mT, base.transpose(0, 1), base[:, ::2], base[..., :1].expand(20, 30, 4)):
        assert_equals_reference(x, 17, STEP, 1e-6)
    x = normal(30, 5)[:, ::2].requires_grad_()
    cosines, sines = cos_sin_sums(x, 3, STEP)  # gradients of sum() have stride 0
    (gradient,) = torch.autograd.grad(cosines.sum() + sines.sum(), x)
    angles = STEP * x
    torch.testing.assert_close(
        gradient,
        STEP * (angles.cos() - angles.sin() + 2 * ((2 * angles).cos() - (2 * angles).sin())),
    )


@pytest.mark.usefixtures("kernel")
def test_gradcheck() -> None:
    x = normal(6, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cos_sin_sums(x, 9, 0.7), (x,))


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x = normal(100, 8).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums, gradient = values_and_gradient(cos_sin_sums, x, 17, STEP)
        assert cos_sin_sums(x, 17, STEP)[0].dtype == torch.float32
    expected, expected_gradient = values_and_gradient(cos_sin_sums, x.float(), 17, STEP)
    assert torch.equal(sums, expected)
    assert torch.equal(gradient, expected_gradient.to(dtype).double())


def test_unknown_kernel() -> None:
    with pytest.raises(ImportError), use_kernel("nonsense"):
        pass
    assert chosen_kernel(torch.device("meta")) == "recurrence"


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # opcheck's
def test_fake_tensors_have_the_shapes_and_dtypes_of_real_ones() -> None:
    x = normal(2, 10, 3).requires_grad_()
    torch.library.opcheck(torch.ops.isojepa.cos_sin_sums.default, (x, 5, STEP))
    half = normal(4, 3).bfloat16()
    torch.library.opcheck(torch.ops.isojepa.cos_sin_sums.default, (half, 5, STEP))


@pytest.mark.slow
def test_compiles_without_a_graph_break() -> None:
    """In its own interpreter, because the test run's checks of annotations cannot be traced."""
    script = """
        import torch
        from isojepa.kernels import cos_sin_sums

        def statistic(z):
            cosines, sines = cos_sin_sums(z @ z.mT, 5, 3 / 16)
            return (cosines.square() + sines.square()).mean()

        z = torch.randn(12, 6, requires_grad=True)
        compiled = torch.compile(statistic, fullgraph=True, backend="aot_eager")
        expected, actual = (torch.autograd.grad(f(z), z)[0] for f in (statistic, compiled))
        torch.testing.assert_close(actual, expected)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=300)
