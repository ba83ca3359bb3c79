"""The optimiser and the schedule of an update."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from isojepa.training.optimise import adamw, cosine_schedule, parameter_groups


def test_no_fused_kernel_where_gradients_are_scaled() -> None:
    """Fabric refuses to clip what an optimiser unscales by itself."""
    for precision, fused in (("auto", True), ("bf16-mixed", True), ("16-mixed", False)):
        optimiser = adamw(nn.Linear(2, 2), lr=0.1, weight_decay=0.01, precision=precision)
        assert bool(getattr(optimiser, "_step_supports_amp_scaling", False)) is fused


def test_one_kernel_takes_the_steps_of_the_definition() -> None:
    """AdamW as published, in float64, by hand."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2).double()
    weight, bias = (p.detach().clone() for p in model.parameters())
    optimiser = adamw(model, lr=0.01, weight_decay=0.1)
    m, v = torch.zeros_like(weight), torch.zeros_like(weight)
    for step in range(1, 4):
        gradient = torch.randn_like(weight)
        model.weight.grad, model.bias.grad = gradient.clone(), torch.zeros_like(bias)
        optimiser.step()
        weight *= 1 - 0.01 * 0.1
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight -= 0.01 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
    torch.testing.assert_close(model.weight.detach(), weight)
    assert torch.equal(model.bias.detach(), bias)  # vectors do not decay


def test_only_matrices_decay() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2, bias=False))
    model[2].weight.requires_grad_(False)
    decayed, free = parameter_groups(model, 0.05)
    assert [tuple(p.shape) for p in decayed["params"]] == [(4, 3)]
    assert [tuple(p.shape) for p in free["params"]] == [(4,), (4,), (4,)]
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.05, 0.0)


def test_the_schedule_warms_up_and_ends_at_a_thousandth() -> None:
    rates = [cosine_schedule(s, peak=2.0, warmup=4, steps=20) for s in range(21)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4] == pytest.approx(2.0)
    assert rates[12] == pytest.approx(2 * (0.001 + 0.999 * 0.5))
    assert rates[20] == pytest.approx(0.002)
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert math.isclose(cosine_schedule(99, peak=2.0, warmup=4, steps=20), 0.002)
