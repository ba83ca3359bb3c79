"""SIGReg's directions and its decoupled scale: what each promises, and their common contract."""

import copy
from math import sqrt

import pytest
import torch
from jaxtyping import TypeCheckError

from isojepa import LeJEPALoss, SIGReg
from isojepa.objective.decoupled import decoupled_statistic, slice_moments
from isojepa.objective.directions import orthogonal_directions

OPTIONS = {
    "random": {},
    "orthogonal": {"directions": "orthogonal"},
    "fixed": {"directions": "fixed"},
    "exact": {"directions": "exact"},
    "decoupled": {"scale": "decoupled"},
    "decoupled wasserstein": {"scale": "decoupled", "shape": "wasserstein"},
    "decoupled orthogonal": {"scale": "decoupled", "directions": "orthogonal"},
}


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(params=OPTIONS, ids=str)
def sigreg(request: pytest.FixtureRequest) -> SIGReg:
    return SIGReg(slices=24, **OPTIONS[request.param])


def test_gradcheck(sigreg: SIGReg) -> None:
    sigreg = SIGReg(
        slices=4, directions=sigreg.directions, scale=sigreg.scale, shape=sigreg.shape
    ).eval()
    z = seeded(2, 7, 3)
    if sigreg.scale == "joint":
        assert torch.autograd.gradcheck(sigreg, (z.requires_grad_(),))
        return
    # Mean and std of the standardisation count as constants: hold them in the finite difference.
    directions = torch.linalg.qr(seeded(3, 3)).Q
    moments = slice_moments(z @ directions)
    leaf = z.clone().requires_grad_()
    decoupled_statistic(leaf, directions, shape=sigreg.shape).sum().backward()

    def held(z: torch.Tensor) -> torch.Tensor:
        x = z @ directions
        y = (x - moments.mean.unsqueeze(-2)) / moments.std.unsqueeze(-2)
        if sigreg.shape == "wasserstein":
            levels = torch.arange(1, 8, dtype=torch.float64) / 8
            shape = (y.sort(-2).values - torch.special.ndtri(levels)[:, None]).square().sum(-2)
        else:
            t = torch.linspace(0, 3, 17, dtype=torch.float64)
            weights = torch.full_like(t, 3 / 8) * torch.exp(-t.square() / 2)
            weights[[0, -1]] /= 2
            angles = y.unsqueeze(-1) * t
            real = angles.cos().mean(-3) - torch.exp(-t.square() / 2)
            shape = 7 * ((real.square() + angles.sin().mean(-3).square()) * weights).sum(-1)
        std = x.std(-2, correction=0)
        return (shape + 7 * (x.mean(-2).square() + (1 - std).square())).sum()

    again = z.clone().requires_grad_()
    held(again).backward()
    torch.testing.assert_close(leaf.grad, again.grad)
    torch.testing.assert_close(
        decoupled_statistic(z, directions, shape=sigreg.shape).sum(), held(z)
    )


def test_contract(sigreg: SIGReg) -> None:
    z = seeded(3, 40, 6)
    first, second = sigreg(z), sigreg(z)
    changes = sigreg.directions in {"random", "orthogonal"}
    assert (first != second) == changes
    assert sigreg.step == 2
    resumed = copy.deepcopy(sigreg)
    resumed.step = 0
    resumed.load_state_dict(copy.deepcopy(sigreg.state_dict()))
    assert resumed(z) == sigreg(z)
    sigreg.eval()
    assert sigreg(z) == sigreg(z)
    assert sigreg.step == 3
    again = copy.deepcopy(sigreg)
    one_by_one = torch.stack([again(x) for x in z]).mean()
    torch.testing.assert_close(sigreg(z), one_by_one)


def test_a_given_step_chooses_the_directions_and_leaves_the_counter(sigreg: SIGReg) -> None:
    z = seeded(3, 40, 6)
    values = [sigreg(z) for _ in range(3)]  # the counter's steps 0, 1 and 2
    for step in (2, 0, 1):
        assert sigreg(z, step=step) == values[step]
    assert sigreg.step == 3
    sigreg.eval()
    assert sigreg(z, step=1) == values[1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_float32_at_least_and_autocast_without_effect(sigreg: SIGReg, dtype: torch.dtype) -> None:
    sigreg.eval()
    z = seeded(128, 16).to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = sigreg(z)
    value.backward()
    assert value.dtype == torch.float32
    assert z.grad.dtype == dtype
    assert value.item() == sigreg(z.detach()).item()
    assert value.item() == pytest.approx(sigreg(z.detach().double()).item(), rel=1e-4)


def test_floor_is_the_mean_under_the_null() -> None:
    z = seeded(150, 200, 16)
    for name, options in OPTIONS.items():
        sigreg = SIGReg(slices=24, **options).eval()
        if sigreg.shape == "wasserstein":
            assert sigreg.floor != sigreg.floor  # grows with n: not a number
            continue
        values = torch.stack([sigreg(x) for x in z])
        error = 4 * values.std() / sqrt(len(values))
        assert abs(values.mean() - sigreg.floor) < error + 0.01, name


def test_orthogonal_directions() -> None:
    drawn = orthogonal_directions(10, 34, seed=1, step=2)
    assert drawn.shape == (10, 34)
    for i in range(0, 34, 10):
        block = drawn[:, i : i + 10]
        torch.testing.assert_close(block.mT @ block, torch.eye(block.shape[1]), atol=1e-5, rtol=0)
    assert torch.equal(drawn, orthogonal_directions(10, 34, seed=1, step=2))
    assert not torch.equal(drawn, orthogonal_directions(10, 34, seed=1, step=3))
    few = orthogonal_directions(50, 7, seed=0)
    torch.testing.assert_close(few.mT @ few, torch.eye(7), atol=1e-5, rtol=0)


def test_orthogonal_directions_are_uniform() -> None:
    many = torch.cat([orthogonal_directions(4, 4, seed=0, step=s) for s in range(5000)], 1)
    m = many.shape[1]
    assert (many.mean(1).abs() < 4 / sqrt(4 * m)).all()
    # Fourth moment of a coordinate on the sphere: 3 / (d (d + 2)); the sign convention leaves it,
    # but QR's own would not leave the mean.
    torch.testing.assert_close(many.pow(4).mean(1), torch.full((4,), 3 / 24), atol=5e-3, rtol=0)


def test_fixed_directions_are_the_random_ones_of_step_0() -> None:
    z = seeded(30, 5)
    fixed = SIGReg(slices=8, seed=4, directions="fixed")
    assert SIGReg(slices=8, seed=4)(z) == fixed(z) == fixed(z)


@pytest.mark.parametrize("shape", ["epps_pulley", "wasserstein"])
@pytest.mark.parametrize("start", ["point", "line", "diagonal"])
def test_decoupled_scale_leaves_collapsed_states(shape: str, start: str) -> None:
    """Plain SIGReg stays where it is; on the diagonal every dimension has mean 0 and std 1."""
    n, d = 128, 32
    along = seeded(n, 1).float()
    z0 = {
        "point": 1e-4 * seeded(n, d, seed=1).float(),
        "line": 1e-4 * along + 1e-8 * seeded(n, d, seed=1).float(),
        "diagonal": along + 1e-4 * seeded(n, d, seed=1).float(),
    }[start]

    def spectrum_after(sigreg: SIGReg) -> torch.Tensor:
        z = z0.clone().requires_grad_()
        for _ in range(12 if start == "point" else 60):
            (gradient,) = torch.autograd.grad(sigreg(z), z)
            z = (z - 2 * gradient).detach().requires_grad_()
        return torch.linalg.svdvals(z.detach() - z.detach().mean(0)) / sqrt(n)

    free = spectrum_after(SIGReg(slices=256, scale="decoupled", shape=shape))
    stuck = spectrum_after(SIGReg(slices=256))
    assert free[2] > 0.3
    assert stuck[2] < 0.5 * free[2]


def test_decoupled_gradient_at_collapse_is_bounded_and_does_not_vanish() -> None:
    for std in (1e-4, 1e-2, 0.5):
        z = (std * seeded(256, 64)).float().requires_grad_()
        SIGReg(slices=256, scale="decoupled")(z).backward()
        assert 1 < z.grad.norm() < 15


def test_lejepa_passes_the_options_on() -> None:
    z = seeded(2, 30, 5)
    for options in OPTIONS.values():
        terms = LeJEPALoss(slices=8, **options)(z)
        assert terms.sigreg == SIGReg(slices=8, **options)(z)


def test_wrong_options() -> None:
    for options, message in (
        ({"directions": "all"}, "directions"),
        ({"scale": "both"}, "scale"),
        ({"scale": "decoupled", "shape": "energy"}, "shape"),
        ({"scale": "decoupled", "directions": "exact"}, "slices"),
        ({"shape": "wasserstein"}, "needs scale='decoupled'"),
    ):
        with pytest.raises((ValueError, TypeCheckError), match=message):
            SIGReg(**options)
