"""Embeddings made isotropic: the covariance, what lies below the floor, and what a run keeps."""

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.world.control.planning import open_policy
from isojepa.world.learning.trained import open_trained
from isojepa.world.learning.whitening import FILE, FLOOR, fit_whitening, load_whitening, whitening
from isojepa.world.planners.distances import Euclidean, Whitened
from tests.world.studied import studied_run


def anisotropic(values: list[float], n: int = 4000) -> torch.Tensor:
    """Samples of the given covariance eigenvalues along random axes, around 3."""
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(n, len(values), generator=rng, dtype=torch.float64)
    axes = torch.linalg.qr(torch.randn(len(values), len(values), generator=rng).double())[0]
    return z * torch.tensor(values).double().sqrt() @ axes + 3


def test_covariance_becomes_the_identity() -> None:
    z = anisotropic([5.0, 1.0, 0.1, 0.02])
    assert torch.cov((z @ whitening(z).double()).T).numpy() == pytest.approx(np.eye(4), abs=1e-4)


def test_what_is_all_but_missing_stays_small() -> None:
    z = anisotropic([5.0, 1.0, 1e-5, 0.0])
    found = np.linalg.eigvalsh(torch.cov((z @ whitening(z).double()).T))
    assert found[2:] == pytest.approx([1, 1], abs=1e-4)
    assert found[1] == pytest.approx(1e-5 / (5 * FLOOR), rel=0.1)
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert whitening(torch.ones(10, 3)).isfinite().all()


def test_a_run_keeps_that_of_its_training_frames() -> None:
    run = studied_run()
    trained = open_trained(run, device="cpu")
    model = trained.model.for_planning()
    again = fit_whitening(model, trained.trajectories, trained.split.train, seed=0)
    kept = load_whitening(run)
    assert kept is not None
    torch.testing.assert_close(kept, again, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(load_whitening(run / "world_model"), kept)


def test_a_policy_plans_by_it_and_says_so_where_it_cannot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = load_whitening(studied_run())
    model = copytree(studied_run() / "world_model", tmp_path / "model")
    assert isinstance(by(model), Whitened)
    torch.testing.assert_close(by(model).matrix, kept)
    (model / FILE).write_bytes(b"none")
    with pytest.raises(UserError, match=r"whitening\.safetensors"):
        by(model)
    (model / FILE).unlink()
    assert isinstance(by(model), Euclidean)
    assert "planning by the Euclidean distance" in caplog.text


def by(model: Path) -> Any:
    """The distance that the default policy of a model plans by."""
    policy = open_policy(model, low=[-1, -1], high=[1, 1], device="cpu")
    return policy.objective(torch.zeros(1, 16))[0][1].by
