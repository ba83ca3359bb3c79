"""backward_in_parts equals one large batch: gradients, random draws, running statistics."""

import copy
from typing import NamedTuple

import pytest
import torch
from torch import nn

from isojepa import LeJEPALoss, SIGReg, backward_in_parts


def network(*extra: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), *extra, nn.Linear(16, 4)).double()


def gradients(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.fixture
def views() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 20, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("sizes", [(20,), (10, 10), (8, 8, 4), (1,) * 20])
@pytest.mark.parametrize("directions", ["random", "exact"])
def test_lejepa_equals_the_large_batch(
    views: torch.Tensor, sizes: tuple[int, ...], directions: str
) -> None:
    whole, in_parts = network(), network()
    terms = LeJEPALoss(2, 0.3, slices=16, directions=directions)(whole(views))
    terms.loss.backward()
    objective = LeJEPALoss(2, 0.3, slices=16, directions=directions)
    ours = backward_in_parts(in_parts, views.split(sizes, 1), objective)
    for a, b in zip(ours, terms):
        torch.testing.assert_close(a, b.detach(), rtol=1e-12, atol=0)
        assert not a.requires_grad
    torch.testing.assert_close(gradients(in_parts), gradients(whole), rtol=1e-9, atol=1e-12)
    assert objective.sigreg.step == 1
    backward_in_parts(in_parts, views.split(sizes, 1), objective)  # gradients add up
    if directions == "exact":
        torch.testing.assert_close(gradients(in_parts), 2 * gradients(whole))


def test_sigreg_alone(views: torch.Tensor) -> None:
    whole, in_parts = network(), network()
    loss = SIGReg(slices=16)(whole(views[0]))
    loss.backward()
    ours = backward_in_parts(in_parts, views[0].split(7), SIGReg(slices=16))
    torch.testing.assert_close(ours, loss.detach())
    torch.testing.assert_close(gradients(in_parts), gradients(whole))


def test_adding_up_small_losses_is_another_loss(views: torch.Tensor) -> None:
    whole, small = network(), network()
    SIGReg(slices=16)(whole(views[0])).backward()
    sigreg = SIGReg(slices=16).eval()
    (sum(sigreg(small(part)) for part in views[0].split(5)) / 4).backward()
    assert (gradients(small) - gradients(whole)).norm() > 0.1 * gradients(whole).norm()


def test_dropout_draws_the_same_masks_twice_and_the_stream_goes_on(views: torch.Tensor) -> None:
    model = network(nn.Dropout(0.5))
    parts = views[0].split(5)
    torch.manual_seed(7)
    backward_in_parts(model, parts, SIGReg(slices=16))
    after = torch.rand(3)
    ours = gradients(model)
    model.zero_grad()
    torch.manual_seed(7)
    SIGReg(slices=16)(torch.cat([model(part) for part in parts])).backward()
    torch.testing.assert_close(ours, gradients(model))
    assert torch.equal(after, torch.rand(3))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batchnorm_counts_each_part_once(views: torch.Tensor, momentum: float | None) -> None:
    model = network(nn.BatchNorm1d(16, momentum=momentum))
    reference = copy.deepcopy(model)
    parts = views[0].split(5)
    SIGReg(slices=16)(torch.cat([reference(part) for part in parts])).backward()
    backward_in_parts(model, parts, SIGReg(slices=16))
    for (name, ours), theirs in zip(model.state_dict().items(), reference.state_dict().values()):
        torch.testing.assert_close(ours, theirs, msg=name)
    torch.testing.assert_close(gradients(model), gradients(reference))
    assert model[2].track_running_stats


def test_autocast(views: torch.Tensor) -> None:
    models = [network().float() for _ in range(2)]
    z = views[0].float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        SIGReg(slices=16)(models[0](z)).backward()
        backward_in_parts(models[1], z.split(5), SIGReg(slices=16))
    difference = (gradients(models[0]) - gradients(models[1])).norm()
    assert difference < 0.02 * gradients(models[0]).norm()


def test_a_scaler_may_do_the_backward_pass(views: torch.Tensor) -> None:
    model, scaled = network(), network()
    backward_in_parts(model, views[0].split(5), SIGReg(slices=16))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    backward_in_parts(
        scaled, views[0].split(5), SIGReg(slices=16), backward=lambda x: scaler.scale(x).backward()
    )
    torch.testing.assert_close(gradients(scaled), 1024 * gradients(model))


class Item(NamedTuple):
    pixels: torch.Tensor
    label: int


def test_any_kind_of_part(views: torch.Tensor) -> None:
    model = network()
    parts = [Item(part, 0) for part in views[0].split(6)]
    backward_in_parts(model, parts, SIGReg(slices=16), embed=lambda item: model(item.pixels))
    ours = gradients(model)
    model.zero_grad()
    SIGReg(slices=16)(model(views[0])).backward()
    torch.testing.assert_close(ours, gradients(model))


def test_no_parts() -> None:
    with pytest.raises(ValueError, match="no parts"):
        backward_in_parts(network(), [], SIGReg())
