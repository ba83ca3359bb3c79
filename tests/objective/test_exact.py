"""exact_sigreg against SciPy's hypergeometric function, against many slices, and in blocks."""

from math import pi, sqrt

import numpy as np
import pytest
import scipy.special
import torch
from jaxtyping import TypeCheckError

from isojepa import SIGReg, exact_sigreg
from isojepa.normality import pairwise
from isojepa.normality.univariate import epps_pulley_whole_line
from isojepa.objective.sigreg import sliced_epps_pulley

DIMENSIONS = [1, 2, 3, 15, 16, 64, 1024, 8192]


def sample(n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(d)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64) + shift / sqrt(d)


def by_scipy(z: torch.Tensor) -> tuple[float, np.ndarray]:
    """Value and gradient by the closed form as it stands, over all pairs."""
    x = z.numpy()
    n, d = x.shape
    differences = x[:, None] - x
    r2, norms = (differences**2).sum(-1), (x**2).sum(-1)
    f = scipy.special.hyp1f1
    value = sqrt(2 * pi) * f(0.5, d / 2, -r2 / 2).mean()
    value -= 2 * sqrt(pi) * f(0.5, d / 2, -norms / 4).mean()
    pairs = -sqrt(2 * pi) / d * f(1.5, d / 2 + 1, -r2 / 2)  # twice the derivative in r2
    single = -sqrt(pi) / (2 * d) * f(1.5, d / 2 + 1, -norms / 4)  # likewise
    gradient = 2 / n * np.einsum("ij,ijd->id", pairs, differences) - 2 * single[:, None] * x
    return n * (value + sqrt(2 * pi / 3)), gradient


@pytest.mark.parametrize("d", DIMENSIONS)
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-3, 2.0), (2.0, 1.0)])
def test_value_and_gradient_equal_scipy(d: int, scale: float, shift: float) -> None:
    z = sample(24, d, scale, shift)
    value, gradient = by_scipy(z)
    for dtype, tolerance in ((torch.float64, 1e-8), (torch.float32, 1e-4)):
        leaf = z.detach().clone().to(dtype).requires_grad_()
        ours = exact_sigreg(leaf)
        ours.backward()
        assert ours.dtype == dtype
        assert ours.item() == pytest.approx(value, rel=tolerance)
        error = np.linalg.norm(leaf.grad.double().numpy() - gradient)
        assert error < tolerance * np.linalg.norm(gradient)


@pytest.mark.parametrize("d", [2, 16, 256])
def test_float32_keeps_its_precision_at_a_thousand_samples(d: int) -> None:
    z = sample(1000, d)
    wide, narrow = z.clone().requires_grad_(), z.float().requires_grad_()
    expected, value = exact_sigreg(wide), exact_sigreg(narrow)
    (expected + value).backward()
    assert value.item() == pytest.approx(expected.item(), rel=2e-5)
    assert (narrow.grad - wide.grad).norm() < 1e-4 * wide.grad.norm()


@pytest.mark.parametrize("d", [1, 3, 20])
def test_gradcheck(d: int) -> None:
    z = sample(5, d).unsqueeze(0).repeat(2, 1, 1).requires_grad_()
    assert torch.autograd.gradcheck(exact_sigreg, (z,))


def test_it_is_the_limit_of_many_slices_and_knots() -> None:
    z = sample(40, 6) ** 3
    directions = torch.randn(6, 40_000, generator=torch.Generator().manual_seed(0)).double()
    values = sliced_epps_pulley(z, directions / directions.norm(dim=0), knots=101, t_max=8.0)
    error = 4 * values.std() / sqrt(values.numel())
    assert abs(values.mean() - exact_sigreg(z)) < error


def test_one_dimension_has_one_direction() -> None:
    x = sample(30, 1)
    torch.testing.assert_close(exact_sigreg(x), epps_pulley_whole_line(x[:, 0]))


def test_it_does_not_depend_on_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    z = sample(6 * 21, 5).reshape(2, 3, 21, 5)
    one_by_one = torch.stack([exact_sigreg(x) for x in z.flatten(0, 1)]).mean()
    leaf = z.clone().requires_grad_()
    exact_sigreg(leaf).backward()
    for together in ([slice(0, 6)], [slice(i, i + 4) for i in (0, 4)]):
        for rows in (21, 8, 1):
            blocks = [(s, slice(i, i + rows)) for s in together for i in range(0, 21, rows)]
            monkeypatch.setattr(pairwise, "_blocks", lambda *_, blocks=blocks: iter(blocks))
            again = z.clone().requires_grad_()
            value = exact_sigreg(again)
            value.backward()
            torch.testing.assert_close(value, one_by_one)
            torch.testing.assert_close(again.grad, leaf.grad)


def test_blocks_cover_every_pair_once_and_stay_small() -> None:
    for count, r, n in ((1, 5000, 5000), (3, 10, 7), (1000, 20, 20), (2, 0, 5)):
        seen = torch.zeros(count, r)
        for samples, rows in pairwise._blocks(count, r, n, torch.device("cpu")):
            block = seen[samples, rows]
            assert block.numel() * n <= max(2**17, n)
            block += 1
        assert (seen == 1).all()


def test_invariances() -> None:
    z = sample(50, 7)
    rotation = torch.linalg.qr(sample(7, 7)).Q
    torch.testing.assert_close(exact_sigreg(z @ rotation), exact_sigreg(z))
    torch.testing.assert_close(exact_sigreg(z.flip(0)), exact_sigreg(z))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast(dtype: torch.dtype) -> None:
    z = sample(64, 16).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = exact_sigreg(z)
    value.backward()
    assert z.grad.dtype == dtype
    assert value.item() == exact_sigreg(z.detach().float()).item()


def test_sigreg_calls_it() -> None:
    z = sample(30, 8).float()
    sigreg = SIGReg(directions="exact", slices=3)
    assert sigreg(z) == sigreg(z) == exact_sigreg(z)
    assert sigreg.floor == pytest.approx(sqrt(2 * pi) - sqrt(2 * pi / 3))


def test_its_mean_under_the_null_is_the_floor() -> None:
    z = torch.randn(500, 8, 16, generator=torch.Generator().manual_seed(0))
    values = torch.stack([exact_sigreg(x) for x in z])
    floor = SIGReg(directions="exact").floor
    assert abs(values.mean() - floor) < 4 * values.std() / sqrt(len(values))


def test_wrong_shapes() -> None:
    with pytest.raises((ValueError, TypeCheckError), match=r"needs|checking"):
        exact_sigreg(torch.zeros(3))
    with pytest.raises(ValueError, match="at least one sample"):
        exact_sigreg(torch.zeros(0, 4))
