"""LeWMLoss: its terms by hand, targets with gradient."""

import pytest
import torch

from isojepa import SIGReg
from isojepa.objective.automatic import START, AutomaticWeight
from isojepa.objective.lewm import LeWMLoss


def test_terms_by_hand() -> None:
    z, predicted = torch.randn(2, 16, 4, 6, dtype=torch.float64)
    predicted, rolled = predicted[:, :3], torch.randn(16, 2, 6, dtype=torch.float64)
    loss, prediction, sigreg, rollout = LeWMLoss(0.1, slices=8)(z, predicted, rolled)
    torch.testing.assert_close(prediction, ((predicted - z[:, 1:]) ** 2).mean())
    torch.testing.assert_close(rollout, ((rolled - z[:, 2:]) ** 2).mean())
    torch.testing.assert_close(sigreg, SIGReg(slices=8)(z.transpose(0, 1)))
    torch.testing.assert_close(loss, prediction + rollout + 0.1 * sigreg)


def test_targets_keep_their_gradient() -> None:
    z = torch.randn(8, 3, 4, requires_grad=True)
    LeWMLoss(0.0)(z, torch.zeros(8, 2, 4)).loss.backward()
    torch.testing.assert_close(z.grad[:, 1:], z.detach()[:, 1:] / (8 * 2 * 4 / 2))
    assert z.grad[:, 0].abs().max() == 0


def test_without_weight_there_is_no_regulariser() -> None:
    terms = LeWMLoss(0.0)(torch.randn(8, 3, 4), torch.randn(8, 2, 4))
    assert terms.sigreg == 0
    assert terms.loss == terms.prediction
    with pytest.raises(ValueError, match="negative"):
        LeWMLoss(-1.0)


def test_an_automatic_weight_is_followed_in_training_only() -> None:
    z, weight = torch.randn(32, 3, 6), AutomaticWeight(32, 100)
    objective = LeWMLoss(weight, slices=16)
    terms = objective(z, z[:, 1:], step=0)
    torch.testing.assert_close(terms.loss, START * terms.sigreg)
    assert weight() != START
    found = weight()
    objective.eval()
    assert objective(z, z[:, 1:], step=1).loss == pytest.approx(
        found * objective.sigreg(z.transpose(0, 1), step=1)
    )
    assert weight() == found
