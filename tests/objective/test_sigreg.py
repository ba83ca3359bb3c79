"""SIGReg against an independent quadrature, against lightly's, and its contract."""

import copy

import numpy as np
import pytest
import scipy.integrate
import torch
from lightly.loss.lejepa_loss import SIGReg as LightlySIGReg

from isojepa import SIGReg
from isojepa.normality.multivariate import random_directions
from isojepa.normality.univariate import epps_pulley, epps_pulley_floor
from isojepa.objective.sigreg import sliced_epps_pulley


def integrand(t: float, x: np.ndarray) -> float:
    empirical = np.exp(1j * t * x).mean()
    return abs(empirical - np.exp(-(t**2) / 2)) ** 2 * np.exp(-(t**2) / 2)


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_epps_pulley_equals_the_integral(shift: float) -> None:
    x = np.random.default_rng(0).standard_normal(40) + shift
    expected = 40 * 2 * scipy.integrate.quad(integrand, 0, 3, args=(x,), epsabs=1e-12)[0]
    fine = epps_pulley(torch.from_numpy(x), knots=4001)
    assert fine.item() == pytest.approx(expected, rel=1e-6)
    assert epps_pulley(torch.from_numpy(x)).item() == pytest.approx(expected, rel=0.01)


def test_sigreg_equals_a_float64_quadrature_along_each_direction() -> None:
    z = torch.randn(60, 5, dtype=torch.float64)
    sigreg = SIGReg(slices=9, seed=3)
    directions = random_directions(5, 9, seed=3, step=0).double().numpy()
    knots = np.linspace(0, 3, 17)
    expected = 0.0
    for x in (z.numpy() @ directions).T:
        values = np.array([integrand(t, x) for t in knots])
        expected += 60 * 2 * scipy.integrate.trapezoid(values, knots) / 9
    assert sigreg(z).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.01, 3.0])
def test_sigreg_equals_lightly_on_the_same_directions(
    scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    z = scale * torch.randn(64, 16)
    ours = SIGReg(slices=32)
    theirs = LightlySIGReg(num_vectors=32)
    directions = random_directions(16, 32, seed=0, step=0)
    monkeypatch.setattr(
        theirs, "_project_embeddings_to_unit_vector", lambda *_, **__: z @ directions, raising=True
    )
    torch.testing.assert_close(ours(z), theirs(z), rtol=1e-5, atol=1e-6)


def test_floor_is_the_mean_under_the_null() -> None:
    x = torch.randn(20_000, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    statistics = epps_pulley(x)
    error = statistics.std() / len(x) ** 0.5
    assert abs(statistics.mean() - epps_pulley_floor()) < 4 * error
    whole_line = np.sqrt(2 * np.pi) - np.sqrt(2 * np.pi / 3)
    assert epps_pulley_floor(1001, 12.0) == pytest.approx(whole_line, abs=1e-9)


def test_leading_axes_are_averaged() -> None:
    z = torch.randn(2, 3, 40, 8, dtype=torch.float64)
    directions = random_directions(8, 16, seed=0, step=0).double()
    one_by_one = [sliced_epps_pulley(part, directions).mean() for part in z.flatten(0, 1)]
    torch.testing.assert_close(SIGReg(slices=16)(z), torch.stack(one_by_one).mean())


def test_gradcheck_in_float64() -> None:
    sigreg = SIGReg(slices=4).eval()
    z = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(sigreg, (z,))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_computes_in_float32_at_least(dtype: torch.dtype) -> None:
    z = torch.randn(128, 16).to(dtype).requires_grad_()
    value = SIGReg(slices=64)(z)
    value.backward()
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert z.grad.dtype == dtype
    expected = SIGReg(slices=64)(z.detach().double())
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_autocast_changes_nothing() -> None:
    z = torch.randn(128, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = SIGReg(slices=64)(z)
    assert inside.item() == SIGReg(slices=64)(z).item()


def test_directions_are_unit_and_a_function_of_seed_and_step() -> None:
    first = random_directions(10, 500, seed=1, step=2)
    torch.testing.assert_close(first.norm(dim=0), torch.ones(500))
    assert torch.equal(first, random_directions(10, 500, seed=1, step=2))
    for seed, step in ((1, 3), (2, 2), (2, 1)):
        assert not torch.equal(first, random_directions(10, 500, seed=seed, step=step))
    # Uniform on the sphere: mean 0, second moment 1/d
    many = random_directions(10, 50_000, seed=0, step=0)
    torch.testing.assert_close(many @ many.T / 50_000, torch.eye(10) / 10, atol=5e-3, rtol=0)


def test_step_advances_in_training_only_and_travels_in_the_state_dict() -> None:
    z = torch.randn(32, 4)
    sigreg = SIGReg(slices=8)
    first, second = sigreg(z), sigreg(z)
    assert first != second
    assert sigreg.step == 2
    resumed = SIGReg(slices=8)
    resumed.load_state_dict(copy.deepcopy(sigreg.state_dict()))
    assert resumed(z) == sigreg(z)
    sigreg.eval()
    assert sigreg(z) == sigreg(z)
    assert sigreg.step == 3


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="slices"):
        SIGReg(slices=0)
    with pytest.raises(ValueError, match="knots"):
        SIGReg(knots=1)
    with pytest.raises(ValueError, match="t_max"):
        SIGReg(t_max=0.0)
