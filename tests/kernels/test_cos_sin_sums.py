"""Every kernel equals the float64 reference in value and gradient."""

import pytest
import torch

from isojepa import kernels
from isojepa.kernels import recurrence, reference

KERNELS = {"recurrence": recurrence.cos_sin_sums, "chosen": kernels.cos_sin_sums}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(50, 7), (3, 20, 5), (2, 3, 11, 4), (1, 1)])
@pytest.mark.parametrize("name", KERNELS)
def test_value_and_gradient_equal_the_reference(
    name: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = (2 * torch.randn(shape, generator=generator, dtype=torch.float64)).requires_grad_()
    y = x.detach().to(dtype).requires_grad_()
    expected = torch.stack(reference.cos_sin_sums(x, 17, 3 / 16))
    actual = torch.stack(KERNELS[name](y, 17, 3 / 16))
    weights = torch.randn(expected.shape, generator=generator, dtype=torch.float64)
    (expected * weights).sum().backward()
    (actual * weights.to(dtype)).sum().backward()
    scale = shape[-2]
    torch.testing.assert_close(actual.double(), expected, atol=TOLERANCE[dtype] * scale, rtol=0)
    torch.testing.assert_close(y.grad.double(), x.grad, atol=100 * TOLERANCE[dtype], rtol=1e-4)


def test_gradcheck() -> None:
    x = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: kernels.cos_sin_sums(x, 5, 0.7), (x,))


@pytest.mark.parametrize("knots", [2, 3, 33])
def test_number_of_knots(knots: int) -> None:
    x = torch.randn(10, 2, dtype=torch.float64)
    torch.testing.assert_close(
        kernels.cos_sin_sums(x, knots, 0.2), reference.cos_sin_sums(x, knots, 0.2)
    )
