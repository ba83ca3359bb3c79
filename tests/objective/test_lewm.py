"""LeWMLoss: its terms by hand, VICReg's, targets with gradient, several processes."""

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from isojepa import SIGReg
from isojepa.objective.lewm import LeWMLoss, variance_covariance

SIZES = (7, 4)


def data() -> torch.Tensor:
    return torch.randn(11, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


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


def test_variance_and_covariance_by_numpy() -> None:
    z = data().transpose(0, 1) * 0.5 + 3
    expected = 0.0
    for step in z:
        covariance = torch.from_numpy(np.cov(step.T.numpy()))
        variance = covariance.diagonal()
        expected += (1 - (variance + 1e-4).sqrt()).relu().mean()
        expected += (covariance - variance.diag()).square().sum() / 5 / 25
    torch.testing.assert_close(variance_covariance(z), expected / 4)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def gradient_and_loss(model: nn.Module, x: torch.Tensor, regulariser: str) -> torch.Tensor:
    objective = LeWMLoss(0.3, regulariser=regulariser, slices=16, seed=5)
    z = model(x)
    terms = objective(z, z[:, :-1] * 0.5, z[:, :1] * 2)
    model.zero_grad()
    terms.loss.backward()
    values = [torch.stack(terms).detach(), *(p.grad.flatten() for p in model.parameters())]
    return torch.cat(values)


def work(rank: int, port: int, out: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    start = sum(SIZES[:rank])
    model = DistributedDataParallel(network())
    share = data()[start : start + SIZES[rank]]
    saved = {kind: gradient_and_loss(model, share, kind) for kind in ("sigreg", "vicreg")}
    torch.save(saved, f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_ranks_with_unequal_batches_equal_one_process(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(work, args=(port, str(tmp_path)), nprocs=2)
    for kind in ("sigreg", "vicreg"):
        expected = gradient_and_loss(network(), data(), kind)
        for rank in range(2):
            saved = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
            torch.testing.assert_close(saved[kind], expected, rtol=1e-9, atol=1e-12)
