"""Spread and agreement of a batch: closed forms, invariances, and what does not vary."""

import math

import numpy as np
import pytest
import torch

from isojepa.embeddings.vitals import disagreement, spread_of


def test_spread_by_numpy() -> None:
    for n, d in ((40, 6), (6, 40)):
        z = torch.randn(n, d, generator=torch.Generator().manual_seed(0)) * 0.5 + 2
        values = np.linalg.eigvalsh(np.cov(z.numpy().T, bias=True))
        found = spread_of(z)
        assert found.dimension == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)
        assert found.deviation == pytest.approx(math.sqrt(values.sum() / d), rel=1e-4)
        assert found.share == pytest.approx(values.sum() / d / z.square().mean().item(), rel=1e-4)


def test_a_point_a_line_and_all_directions() -> None:
    z = torch.randn(500, 5, generator=torch.Generator().manual_seed(0))
    assert spread_of(z).dimension == pytest.approx(5, rel=0.05)
    assert spread_of(z[:, :1].expand(-1, 5)).dimension == pytest.approx(1)
    point = spread_of(torch.full((8, 5), 3.7))
    assert (point.dimension, point.share) == (0, 0)
    assert point.deviation == pytest.approx(0, abs=1e-6)


def test_views_by_chance_and_views_that_agree() -> None:
    views = torch.randn(5, 500, 64, generator=torch.Generator().manual_seed(0))
    for n_global in (2, 5):
        assert disagreement(views, n_global) == pytest.approx(1, rel=0.03)
    same = views[:1].expand(4, -1, -1)
    assert disagreement(same, 2) == 0
    assert disagreement(7 * views + 1, 2) == pytest.approx(disagreement(views, 2), rel=1e-4)
    assert math.isnan(disagreement(torch.ones(2, 8, 3), 2))
