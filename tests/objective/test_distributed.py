"""Real processes: the loss is the global batch's, and DDP's mean gradient one process's."""

import os
import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from isojepa import LeJEPALoss

SIZES = {2: (10, 6), 3: (5, 8, 3)}


def data() -> torch.Tensor:
    return torch.randn(3, 16, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def objective() -> LeJEPALoss:
    return LeJEPALoss(n_global=2, lambd=0.3, slices=16, seed=5)


def work(rank: int, sizes: tuple[int, ...], port: int, out: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=len(sizes))
    model, loss = DistributedDataParallel(network()), objective()
    start = sum(sizes[:rank])
    values = []
    for _ in range(2):  # the second step draws other directions, the same on every rank
        model.zero_grad()
        terms = loss(model(data()[:, start : start + sizes[rank]]))
        terms.loss.backward()
        values.append(torch.stack([term.detach() for term in terms]))
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    torch.save({"values": torch.stack(values), "gradient": gradient}, f"{out}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_with_unequal_batches_equal_one_process(world: int, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sizes = tuple(s for s in SIZES[world])
    mp.spawn(work, args=(sizes, port, str(tmp_path)), nprocs=world)

    model, loss = network(), objective()
    values = []
    for _ in range(2):
        model.zero_grad()
        terms = loss(model(data()))
        terms.loss.backward()
        values.append(torch.stack([term.detach() for term in terms]))
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    for rank in range(world):
        saved = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        torch.testing.assert_close(saved["values"], torch.stack(values), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(saved["gradient"], gradient, rtol=1e-10, atol=1e-12)
