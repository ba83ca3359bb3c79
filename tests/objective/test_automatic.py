"""Automatic lambda: its scale in closed form, its direction, its guard-rails and its state."""

import pytest
import torch

from isojepa import LeJEPALoss, SIGReg
from isojepa.objective.automatic import (
    HIGHEST,
    LOWEST,
    START,
    AutomaticWeight,
    at_a_point,
    at_guard_rail,
)


def test_a_point_has_departure_1_and_the_floor_0() -> None:
    assert SIGReg(slices=3)(torch.zeros(40, 5)).item() == pytest.approx(at_a_point(40), rel=1e-5)
    weight = AutomaticWeight(40, 100)
    weight.advance(torch.tensor(at_a_point(40)))
    assert weight.departure.item() == pytest.approx(1)
    weight = AutomaticWeight(40, 100)
    weight.advance(torch.tensor(SIGReg().floor))
    assert weight.departure.item() == pytest.approx(0, abs=1e-6)


def test_the_departure_does_not_depend_on_the_batch() -> None:
    """That of N(0, 0.5^2) is the same for 64 and for 1,024 samples, to the noise of the draws."""
    found = []
    for n in (64, 1024):
        z = 0.5 * torch.randn(4096 // n, n, 8, generator=torch.Generator().manual_seed(0))
        weight = AutomaticWeight(n, 100)
        weight.advance(SIGReg(slices=64)(z))
        found.append(weight.departure.item())
    assert found[0] == pytest.approx(found[1], rel=0.15)


@pytest.mark.parametrize(("share", "sign"), [(0.5, 1), (0.01, -1)])
def test_it_rises_far_from_gaussian_and_falls_near(share: float, sign: int) -> None:
    weight = AutomaticWeight(128, 100, hold=3)
    value = torch.tensor(weight.floor + share * (weight.point - weight.floor))
    held = []
    for _ in range(200):
        weight.advance(value)
        held.append(weight().item())
    assert held[:3] == [pytest.approx(START)] * 3
    assert sign * (held[10] - START) > 0
    assert held[-1] == pytest.approx(HIGHEST if sign > 0 else LOWEST)
    assert at_guard_rail(held[-1])
    assert not at_guard_rail(START)


def test_it_settles_where_the_departure_is_the_target() -> None:
    """SIGReg that answers to lambda as in small runs: its excess falls as 1 / lambda."""
    weight = AutomaticWeight(128, 400)
    for _ in range(400):
        departure = 0.001 / weight().item()
        weight.advance(torch.tensor(weight.floor + departure * (weight.point - weight.floor)))
    assert weight.departure.item() == pytest.approx(weight.target, rel=0.02)


@pytest.mark.parametrize("steps", [60, 300])
def test_it_does_not_rise_while_the_departure_falls(steps: int) -> None:
    """From a point towards the floor, as training begins, and then no further."""
    weight, held, falls = AutomaticWeight(128, steps, hold=6), [], 40
    for i in range(400):
        departure = 0.96 ** min(i, falls)
        weight.advance(torch.tensor(weight.floor + departure * (weight.point - weight.floor)))
        held.append(weight().item())
    assert held[falls] == pytest.approx(START)
    assert held[-1] > 2 * START


def test_the_loss_takes_it_and_counts_in_training_only() -> None:
    z = torch.randn(2, 32, 6)
    weight = AutomaticWeight(32, 100)
    loss = LeJEPALoss(lambd=weight, slices=16)
    terms = loss(z, step=0)
    torch.testing.assert_close(terms.loss, (1 - START) * terms.invariance + START * terms.sigreg)
    assert weight.seen == 1
    assert weight() != START
    loss.eval()
    loss(z, step=1)
    assert weight.seen == 1


def test_its_state_goes_on_exactly() -> None:
    values = torch.rand(20, generator=torch.Generator().manual_seed(0)) * 20
    whole, first, second = (AutomaticWeight(64, 30, hold=2) for _ in range(3))
    for value in values:
        whole.advance(value)
    for value in values[:9]:
        first.advance(value)
    second.load_state_dict(first.state_dict())
    for value in values[9:]:
        second.advance(value)
    assert all(torch.equal(a, b) for a, b in zip(whole.buffers(), second.buffers()))


def test_wrong_input() -> None:
    with pytest.raises(ValueError, match="too small"):
        AutomaticWeight(4, 100)
    with pytest.raises(ValueError, match="target"):
        AutomaticWeight(64, 100, target=1.0)
