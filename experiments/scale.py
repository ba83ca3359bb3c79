"""What N GPUs exchange, hold and wait for: a model of one LeJEPA update, and its check.

    python experiments/scale.py                           # the table of docs/explanation/scale.md
    python experiments/scale.py --images-per-second 2000  # with the speed of your own GPU
    python experiments/scale.py --check                   # two processes here: counted against it

What is exchanged is counted exactly (`tests/experiments/test_scale.py` compares it with what two
processes hand to torch.distributed). Speeds of GPUs and networks are assumptions that you give:
nothing of it has been timed on more than one GPU.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import tyro
from torch.multiprocessing.spawn import spawn

from isojepa import LeJEPALoss

FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    """One update on so many GPUs."""

    parameters: float = 22e6 + 7e6
    """Of the encoder and the projector; a ViT-S/16 with MLP 768-2048-2048-64 by default."""
    images_per_second: float = 1000.0
    """That one GPU trains on, alone: measure it with `isojepa pretrain` on one. An assumption."""
    batch_per_gpu: int = 64
    """Images."""
    views: int = 8
    projection: int = 64
    """Dimensions of the projections."""
    slices: int = 1024
    knots: int = 17
    exact: bool = False
    """The closed form, which gathers the projections."""
    gpus_per_node: int = 8
    inside: float = 200e9
    """Bytes per second of a GPU's links inside a node. An assumption; likewise `between`."""
    between: float = 25e9
    """Of a GPU's share of the network between nodes."""
    latency: float = 20e-6
    """Seconds of a collective, for each doubling of the GPUs."""
    gpus: tuple[int, ...] = (1, 8, 64, 1024)
    check: bool = False
    """Count what two processes exchange here, in place of the table."""


class Payload(NamedTuple):
    """Bytes that each rank hands to collectives in one update, forwards and backwards."""

    reduced: int
    gathered: int
    """The rank's own part of what all ranks then hold."""
    collectives: int


def objective_payload(
    *, views: int, n: int, d: int, slices: int, knots: int, exact: bool
) -> Payload:
    """Of LeJEPA's loss, for n samples on each rank.

    The disagreement of views takes its sum and its count. Slices take a cosine and a sine sum for
    each slice, knot and view, and the count of samples; the closed form gathers the samples and
    sums one number a view. A fingerprint of one number travels with the regulariser's sum. The
    gradient passes each sum once more, and no gathering.
    """
    disagreement = 2
    regulariser = views + 1 if exact else 2 * knots * slices * views + 2
    reduced = 2 * FLOAT * (disagreement + regulariser)
    gathered = FLOAT * views * n * d + 8 if exact else 0  # and the counts, in 8 bytes
    return Payload(reduced, gathered, 6 if exact else 4)


class Cost(NamedTuple):
    """Of one update, on each GPU."""

    gpus: int
    compute: float
    """Seconds; likewise below."""
    gradients: float
    """DDP's all-reduce, which overlaps with the backward pass."""
    objective: float
    """What all wait for: the loss depends on it."""
    efficiency: float
    """Of N GPUs, over N times one: without overlap at all, the worst."""
    memory: float
    """Bytes of weights, gradients and AdamW's two moments; activations come on top."""


def cost(config: ScaleConfig, gpus: int) -> Cost:
    """The model: compute as on one GPU, and rings at the slowest link's speed."""
    n = config.batch_per_gpu
    speed = config.inside if gpus <= config.gpus_per_node else config.between
    wait = config.latency * max(0, (gpus - 1).bit_length())
    ring = (gpus - 1) / gpus
    payload = objective_payload(
        views=config.views,
        n=n,
        d=config.projection,
        slices=config.slices,
        knots=config.knots,
        exact=config.exact,
    )
    gathered = payload.gathered * (gpus - 1)
    compute = n / config.images_per_second
    gradients = 2 * ring * FLOAT * config.parameters / speed + wait
    objective = (2 * ring * payload.reduced + gathered) / speed + payload.collectives * wait
    whole = compute + (gradients if gpus > 1 else 0) + objective
    return Cost(gpus, compute, gradients, objective, compute / whole, 16 * config.parameters)


def table(config: ScaleConfig) -> str:
    """A row per number of GPUs."""
    lines = [
        "| GPUs | global batch | compute | gradients | SIGReg | at least this share of N GPUs |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for gpus in config.gpus:
        c = cost(config, gpus)
        times = " | ".join(f"{1e3 * t:.2f} ms" for t in (c.compute, c.gradients, c.objective))
        if gpus == 1:
            times = f"{1e3 * c.compute:.2f} ms | – | –"
        batch = gpus * config.batch_per_gpu
        lines.append(f"| {gpus:,} | {batch:,} | {times} | {c.efficiency:.0%} |")
    return "\n".join(lines)


def counted(*, world: int, views: int, n: int, d: int, **settings: Any) -> list[Payload]:
    """What real processes hand to torch.distributed in one forward and backward pass."""
    with tempfile.TemporaryDirectory() as folder:  # spawned: autograd's threads survive no fork
        spawn(_count, (world, folder, (views, n, d), settings), nprocs=world)
        found = [json.loads((Path(folder) / f"{rank}.json").read_text()) for rank in range(world)]
    return [Payload(*one) for one in found]


def _count(
    rank: int, world: int, folder: str, shape: tuple[int, ...], settings: dict[str, Any]
) -> None:
    place = Path(folder) / "store"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=world)
    reduced = gathered = collectives = 0
    all_reduce, all_gather = dist.all_reduce, dist.all_gather

    def reduce(x: torch.Tensor, *rest: Any, **more: Any) -> Any:
        nonlocal reduced, collectives
        reduced, collectives = reduced + x.numel() * x.element_size(), collectives + 1
        return all_reduce(x, *rest, **more)

    def gather(to: list[torch.Tensor], x: torch.Tensor, *rest: Any, **more: Any) -> Any:
        nonlocal gathered, collectives
        gathered, collectives = gathered + x.numel() * x.element_size(), collectives + 1
        return all_gather(to, x, *rest, **more)

    dist.all_reduce, dist.all_gather = reduce, gather  # type: ignore[assignment]
    z = torch.randn(shape, requires_grad=True)
    LeJEPALoss(n_global=2, **settings)(z, step=0).loss.backward()
    made = json.dumps([reduced, gathered, collectives])
    (Path(folder) / f"{rank}.json").write_text(made)
    dist.barrier()
    dist.destroy_process_group()


def main(config: ScaleConfig) -> None:
    if not config.check:
        print(table(config))
        return
    n, d = config.batch_per_gpu, config.projection
    common = {"slices": config.slices, "knots": config.knots}
    directions = "exact" if config.exact else "random"
    seen = counted(world=2, views=config.views, n=n, d=d, directions=directions, **common)
    expected = objective_payload(views=config.views, n=n, d=d, exact=config.exact, **common)
    print(f"expected {expected}\ncounted  {seen[0]}")
    if any(one != expected for one in seen):
        raise SystemExit("the model is wrong")


if __name__ == "__main__":
    main(tyro.cli(ScaleConfig))
