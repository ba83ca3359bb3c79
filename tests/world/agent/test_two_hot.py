"""Two-hot numbers against their closed form."""

import numpy as np
import pytest
import torch

from isojepa.world.agent.two_hot import TwoHot, symexp, symlog

NUMBERS = torch.tensor([-350.0, -3.0, -1.0, -0.01, 0.0, 0.3, 1.0, 7.5, 100.0, 400.0])


def test_symlog_is_undone_by_symexp() -> None:
    assert torch.allclose(symexp(symlog(NUMBERS)), NUMBERS, rtol=1e-5)
    assert symlog(torch.tensor([np.e - 1])).item() == pytest.approx(1.0)


def test_weights_are_those_of_linear_interpolation() -> None:
    two_hot = TwoHot(bins=41, reach=6.0)
    weights, at = two_hot.encode(NUMBERS), two_hot.at.numpy()
    for x, row in zip(symlog(NUMBERS).numpy(), weights.numpy()):
        expected = np.zeros(41)
        right = min(int(np.searchsorted(at, x, side="right")), 40)
        left = right - 1
        share = (x - at[left]) / (at[right] - at[left])
        expected[left], expected[right] = 1 - share, share
        assert np.allclose(row, expected, atol=1e-5)
    assert torch.allclose(weights.sum(-1), torch.ones(len(NUMBERS)))


def test_what_is_encoded_is_decoded() -> None:
    two_hot = TwoHot()
    logits = two_hot.encode(NUMBERS).clamp(min=1e-30).log()
    assert torch.allclose(two_hot.decode(logits), NUMBERS, rtol=1e-3, atol=1e-4)


def test_beyond_the_outer_bins_is_cut() -> None:
    two_hot = TwoHot(bins=11, reach=2.0)
    weights = two_hot.encode(torch.tensor([-1e9, 1e9]))
    assert weights[0, 0] == 1
    assert weights[1, -1] == 1


def test_the_loss_is_the_cross_entropy_and_least_at_the_number_itself() -> None:
    two_hot, x = TwoHot(bins=31), torch.tensor([2.5, -0.7])
    logits = torch.randn(2, 31, generator=torch.Generator().manual_seed(0), requires_grad=True)
    by_torch = torch.nn.functional.cross_entropy(logits, two_hot.encode(x), reduction="none")
    assert torch.allclose(two_hot.loss(logits, x), by_torch)
    best = two_hot.loss(two_hot.encode(x).clamp(min=1e-30).log(), x)
    assert (best < two_hot.loss(logits, x)).all()
    two_hot.loss(logits, x).sum().backward()
    assert torch.allclose(logits.grad, logits.softmax(-1) - two_hot.encode(x), atol=1e-6)
