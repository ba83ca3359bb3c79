"""Real processes: the loss is the global batch's, and the mean gradient one process's."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from isojepa import LeJEPALoss, LeWMLoss, SIGReg, backward_in_parts
from isojepa.objective.automatic import AutomaticWeight
from isojepa.objective.lewm import LeWMTerms
from isojepa.objective.regularisers import make_regulariser

SIZES = [(10, 6), (5, 8, 3), (9, 0, 7)]
FAULTS = ["out of step", "other settings", "missing", "missing, exact"]


class OfClips(nn.Module):
    """A world model's loss of the views as time steps, with predictions made of them."""

    def __init__(self, regulariser: str) -> None:
        super().__init__()
        self.loss = LeWMLoss(0.3, regulariser=regulariser, slices=16, seed=5)

    def forward(self, z: torch.Tensor) -> LeWMTerms:
        z = z.transpose(0, 1)
        return self.loss(z, z[:, :-1] * 0.5, z[:, :1] * 2)


OBJECTIVES: dict[str, Callable[[], nn.Module]] = {
    "random": lambda: SIGReg(slices=16, seed=5),
    "orthogonal": lambda: SIGReg(slices=16, seed=5, directions="orthogonal"),
    "fixed": lambda: SIGReg(slices=16, seed=5, directions="fixed"),
    "exact": lambda: SIGReg(directions="exact"),
    "decoupled": lambda: SIGReg(slices=16, seed=5, scale="decoupled"),
    "wasserstein": lambda: SIGReg(slices=16, seed=5, scale="decoupled", shape="wasserstein"),
    "lejepa": lambda: LeJEPALoss(n_global=2, lambd=0.3, slices=16, seed=5),
    "lewm": lambda: OfClips("sigreg"),
    "lewm vicreg": lambda: OfClips("vicreg"),
    "lejepa auto": lambda: LeJEPALoss(n_global=2, lambd=AutomaticWeight(16, 10), slices=16, seed=5),
    "visreg": lambda: make_regulariser("visreg", slices=16, seed=5),
    "vicreg": lambda: make_regulariser("vicreg"),
    "ksd": lambda: make_regulariser("ksd"),
    "lejepa exact": lambda: LeJEPALoss(n_global=2, lambd=0.3, directions="exact"),
}


def data() -> torch.Tensor:
    return torch.randn(3, 16, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def flat(terms: torch.Tensor | tuple) -> torch.Tensor:
    return torch.stack([t.detach() for t in (terms if isinstance(terms, tuple) else (terms,))])


def two_steps(model: nn.Module, objective: nn.Module, x: torch.Tensor, parts: int = 0) -> dict:
    """Values of two steps, which draw other directions, and the gradient of the second."""
    values = []
    for _ in range(2):
        model.zero_grad()
        if parts:
            terms = backward_in_parts(model, x.tensor_split(parts, 1), objective)
        else:
            terms = objective(model(x))
            (terms if isinstance(terms, torch.Tensor) else terms.loss).backward()
        values.append(flat(terms))
    gradients = [p.grad.full_tensor() if isinstance(p.grad, DTensor) else p.grad
                 for p in model.parameters()]  # fmt: skip
    return {"values": torch.stack(values), "gradient": torch.cat([g.flatten() for g in gradients])}


def sharded() -> nn.Module:
    model = network()
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer)
    return fully_shard(model)


def work(rank: int, sizes: tuple[int, ...]) -> dict[str, dict]:
    first = sum(sizes[:rank])
    share = data()[:, first : first + sizes[rank]]
    found = {}
    for name, objective in OBJECTIVES.items():
        found[f"{name}, DDP"] = two_steps(DistributedDataParallel(network()), objective(), share)
        found[f"{name}, FSDP2"] = two_steps(sharded(), objective(), share)
    for name in ("random", "exact", "lejepa"):
        model = DistributedDataParallel(network())
        found[f"{name}, in parts"] = two_steps(model, OBJECTIVES[name](), share, parts=3)
    return found


def misbehave(rank: int, what: str) -> str:
    z = data()[0]
    sigreg = SIGReg(slices=16, directions="exact" if what == "missing, exact" else "random")
    if what == "out of step":
        sigreg.step = rank
    if what == "other settings":
        sigreg.seed = rank
    try:
        if rank == 0 or not what.startswith("missing"):
            sigreg(z)
    except RuntimeError as error:
        return str(error)
    return ""


def do_all(rank: int, out: str) -> None:
    """Every case in turn: processes are slow to start, groups of them are not."""
    torch.set_num_threads(1)
    cases = [(work, sizes, len(sizes)) for sizes in SIZES]
    for function, case, world in [*cases, *((misbehave, what, 2) for what in FAULTS)]:
        if rank >= world:
            continue
        place = f"{out}/{case}"
        dist.init_process_group(
            "gloo",
            init_method=f"file://{place}.store",
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=120),
        )
        dist.barrier()  # a rank that has nothing to do must not leave while another still connects
        torch.save(function(rank, case), f"{place}.{rank}.pt")
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Callable[[object, int], list]:
    """What each rank found in a case."""
    out = tmp_path_factory.mktemp("ranks")
    mp.spawn(do_all, args=(str(out),), nprocs=3)
    return lambda case, world: [
        torch.load(out / f"{case}.{rank}.pt", weights_only=True) for rank in range(world)
    ]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_ranks_with_unequal_batches_equal_one_process(
    sizes: tuple[int, ...], results: Callable[[object, int], list]
) -> None:
    saved = results(sizes, len(sizes))
    for case in saved[0]:
        expected = two_steps(network(), OBJECTIVES[case.split(", ")[0]](), data())
        for found in saved:
            for part in ("values", "gradient"):
                torch.testing.assert_close(
                    found[case][part], expected[part], rtol=1e-8, atol=1e-10, msg=f"{case} {part}"
                )
            assert torch.equal(found[case]["values"], saved[0][case]["values"])


@pytest.mark.parametrize("what", FAULTS)
def test_ranks_that_do_not_play_along_are_named(
    what: str, results: Callable[[object, int], list]
) -> None:
    said = results(what, 2)
    if what.startswith("missing"):
        assert "SIGReg on rank 0 of 2 could not reach the other ranks" in said[0]
    else:
        assert all(f"rank {i} is at" in words for i, words in enumerate(said))
