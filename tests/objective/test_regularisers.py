"""Regularisers by name: independent references, invariances, their optimum, and wrong input."""

from typing import get_args

import numpy as np
import pytest
import torch
from lightly.loss import visreg_loss

from isojepa import LeJEPALoss, LeWMLoss
from isojepa.normality.multivariate import random_directions
from isojepa.objective.regularisers import (
    TITLES,
    Regulariser,
    RegulariserName,
    floor_of,
    make_regulariser,
)
from isojepa.objective.stein import stein_discrepancy
from isojepa.objective.vicreg import variance_covariance
from isojepa.objective.visreg import VISReg

NAMES = get_args(RegulariserName)


def data(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


# Against independent references


def stein_kernel_by_autograd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """s(x).s(y) k + s(x).grad_y k + s(y).grad_x k + tr grad_x grad_y k, for one pair."""
    d = len(x)
    x, y = (v.detach().clone().requires_grad_() for v in (x, y))
    k = (1 + (x - y).square().sum() / d) ** -0.5
    by_x, by_y = torch.autograd.grad(k, (x, y), create_graph=True)
    trace = sum(torch.autograd.grad(by_x[i], y, retain_graph=True)[0][i] for i in range(d))
    return ((x @ y) * k - x @ by_y - y @ by_x + trace).detach()


def test_stein_discrepancy_by_autograd_pair_by_pair() -> None:
    z = data(9, 4) * 1.3 + 0.2
    total = sum(stein_kernel_by_autograd(z[i], z[j])
                for i in range(9) for j in range(9) if i != j)  # fmt: skip
    torch.testing.assert_close(stein_discrepancy(z), total / 8)


def test_the_gradient_of_the_stein_discrepancy_is_that_of_its_value() -> None:
    z = data(7, 3) + 0.4
    leaf = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(stein_discrepancy(leaf), leaf)
    for place in ((0, 0), (3, 2), (6, 1)):
        step = torch.zeros_like(z)
        step[place] = 1e-6
        slope = (stein_discrepancy(z + step) - stein_discrepancy(z - step)) / 2e-6
        torch.testing.assert_close(gradient[place], slope, rtol=1e-5, atol=1e-8)


def test_stein_discrepancy_has_mean_0_under_its_null() -> None:
    values = torch.stack([stein_discrepancy(data(32, 6, seed=i)) for i in range(600)])
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5
    assert stein_discrepancy(torch.zeros(32, 6)).item() == pytest.approx(32)


def test_visreg_equals_lightlys() -> None:
    z, slices = data(48, 6) * 1.7 + 0.4, 20_000
    ours = VISReg(slices, seed=3)(z, step=5)
    torch.manual_seed(0)
    theirs = (
        visreg_loss.visreg_center_loss(z)
        + visreg_loss.visreg_scale_loss(z)
        + visreg_loss.visreg_shape_loss(z, slices)
    )
    torch.testing.assert_close(ours, theirs, rtol=2e-3, atol=0)


def test_visreg_by_numpy() -> None:
    z = data(2, 16, 5) * 0.6 - 1
    directions = random_directions(5, 7, seed=3, step=5).double().numpy()
    quantiles = torch.special.ndtri(torch.arange(1, 17).double() / 17).numpy()
    expected = 0.0
    for view in z.numpy():
        mean, std = view.mean(0), view.std(0)
        shape = np.sort((view - mean) / (std + 1e-4) @ directions, 0) - quantiles[:, None]
        expected += (mean**2).mean() + ((1 - std) ** 2).mean() + (shape**2).mean()
    assert VISReg(7, seed=3)(z, step=5).item() == pytest.approx(expected / 2, rel=1e-10)


def test_the_pull_of_visreg_does_not_vanish_at_collapse() -> None:
    norms = {}
    for name in ("sigreg", "visreg", "decoupled"):
        z = (1e-4 * data(64, 8)).requires_grad_()
        n = 64 if name == "visreg" else 1  # its value is without the factor n
        (gradient,) = torch.autograd.grad(n * make_regulariser(name, slices=64)(z, step=0), z)
        norms[name] = gradient.norm()
    assert norms["visreg"] > 100 * norms["sigreg"]
    assert norms["decoupled"] > 100 * norms["sigreg"]


def test_variance_and_covariance_by_numpy() -> None:
    z = data(4, 11, 5) * 0.5 + 3
    expected = 0.0
    for step in z:
        covariance = torch.from_numpy(np.cov(step.T.numpy()))
        variance = covariance.diagonal()
        expected += (1 - (variance + 1e-4).sqrt()).relu().mean()
        expected += (covariance - variance.diag()).square().sum() / 5 / 25
    torch.testing.assert_close(variance_covariance(z), expected / 4)


# What all of them share


@pytest.mark.parametrize("name", NAMES)
def test_contract(name: RegulariserName) -> None:
    loss = make_regulariser(name, slices=32)
    assert isinstance(loss, Regulariser)
    assert name in TITLES
    assert floor_of(name) == pytest.approx(loss.floor, nan_ok=True)
    z = data(3, 24, 5) * 1.5 + 0.3
    value = loss(z, step=4)
    assert value.shape == ()
    torch.testing.assert_close(loss(z[:, torch.randperm(24)], step=4), value)
    each = torch.stack([loss(view, step=4) for view in z])
    torch.testing.assert_close(value, each.mean())  # leading axes are averaged
    narrow = loss(z.float(), step=4)
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.double(), value, rtol=1e-3, atol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(z.float(), step=4), narrow)


@pytest.mark.parametrize("name", NAMES)
def test_descent_spreads_what_has_shrunk(name: RegulariserName) -> None:
    loss = make_regulariser(name, slices=64)
    z = (0.3 * data(128, 4)).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.02)
    for step in range(150):
        value = loss(z, step=step)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    covariance = torch.cov(z.detach().T)
    deviations = covariance.diagonal().sqrt()
    assert deviations.min() > 0.88
    if name != "vicreg":  # whose hinge lets momentum carry them beyond 1
        assert deviations.max() < 1.12
    assert (covariance - covariance.diagonal().diag()).abs().max() < 0.12


@pytest.mark.parametrize("name", NAMES)
def test_losses_take_it(name: RegulariserName) -> None:
    z = data(3, 24, 5)
    loss = make_regulariser(name, slices=16)
    terms = LeJEPALoss(lambd=0.2, regulariser=loss)(z, step=3)
    torch.testing.assert_close(terms.sigreg, loss(z, step=3))
    torch.testing.assert_close(terms.loss, 0.8 * terms.invariance + 0.2 * terms.sigreg)
    clips = z.transpose(0, 1)
    world = LeWMLoss(0.2, regulariser=name, slices=16)(clips, clips[:, :-1], step=3)
    torch.testing.assert_close(world.sigreg, loss(z, step=3))


@pytest.mark.parametrize("name", ["sigreg", "decoupled", "visreg"])
def test_directions_follow_the_step_and_the_counter(name: RegulariserName) -> None:
    loss, z = make_regulariser(name, slices=4, seed=2), data(24, 5) * 2
    assert loss(z, step=1) != loss(z, step=2)
    first, second = loss(z), loss(z)
    assert (first, second) == (loss(z, step=0), loss(z, step=1))
    again = make_regulariser(name, slices=4, seed=2)
    again.load_state_dict(loss.state_dict())
    assert again(z) == loss(z, step=2)
    loss.eval()
    assert loss(z) == loss(z)


# Wrong input


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="slices"):
        make_regulariser("visreg", slices=0)
    with pytest.raises(ValueError, match="two samples"):
        make_regulariser("ksd")(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="cannot be 'exact'"):
        make_regulariser("decoupled", directions="exact")
