"""LeJEPALoss: its terms by hand, its weight, its errors."""

import pytest
import torch

from isojepa import LeJEPALoss, SIGReg


def test_terms_by_hand() -> None:
    z = torch.randn(4, 32, 6, dtype=torch.float64)
    loss, invariance, sigreg = LeJEPALoss(n_global=2, lambd=0.1, slices=16)(z)
    centre = (z[0] + z[1]) / 2
    expected = sum(((centre - view) ** 2).mean() for view in z) / 4
    torch.testing.assert_close(invariance, expected)
    torch.testing.assert_close(sigreg, SIGReg(slices=16)(z))
    torch.testing.assert_close(loss, 0.9 * invariance + 0.1 * sigreg)


def test_identical_views_have_no_invariance_loss() -> None:
    z = torch.randn(1, 32, 6).expand(3, 32, 6)
    assert LeJEPALoss(slices=8)(z).invariance.item() == pytest.approx(0, abs=1e-12)


def test_views_of_any_number_count_as_global_by_default() -> None:
    z = torch.randn(5, 16, 3)
    default, explicit = LeJEPALoss(slices=8), LeJEPALoss(n_global=5, slices=8)
    assert default(z).loss == explicit(z).loss


def test_autocast_keeps_float32() -> None:
    z = torch.randn(2, 64, 8).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = LeJEPALoss(slices=8)(z)
    assert {term.dtype for term in terms} == {torch.float32}


@pytest.mark.parametrize("lambd", [-0.1, 1.1])
def test_lambda_out_of_range(lambd: float) -> None:
    with pytest.raises(ValueError, match="lambd"):
        LeJEPALoss(lambd=lambd)


def test_more_global_views_than_views() -> None:
    with pytest.raises(ValueError, match="3 but z holds 2"):
        LeJEPALoss(n_global=3)(torch.randn(2, 8, 4))
