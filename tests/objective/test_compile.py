"""torch.compile of a model with the loss inside equals eager, forwards and backwards."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from isojepa import LeJEPALoss, SIGReg


class WithLoss(nn.Module):
    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 4))
        self.loss = loss

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        terms = self.loss(self.net(x))
        return terms if isinstance(terms, torch.Tensor) else terms.loss


LOSSES: dict[str, Callable[[], nn.Module]] = {
    "lejepa": lambda: LeJEPALoss(slices=16),
    "exact": lambda: SIGReg(directions="exact"),
    "decoupled": lambda: SIGReg(slices=16, directions="orthogonal", scale="decoupled"),
    "wasserstein": lambda: SIGReg(slices=16, scale="decoupled", shape="wasserstein"),
}


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LOSSES)
def test_compiled_equals_eager(name: str, backend: str) -> None:
    torch._dynamo.reset()
    make = LOSSES[name]
    x = torch.randn(2, 32, 6, generator=torch.Generator().manual_seed(1))
    eager, original = WithLoss(make()), WithLoss(make())
    compiled = torch.compile(original, backend=backend)
    for _ in range(2):  # other directions at each step, without compiling again
        expected, value = eager(x), compiled(x)
        eager.zero_grad()
        original.zero_grad()
        expected.backward()
        value.backward()
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        for a, b in zip(original.parameters(), eager.parameters()):
            torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6)
    sigreg = original.loss if isinstance(original.loss, SIGReg) else original.loss.sigreg
    assert sigreg.step == 2
