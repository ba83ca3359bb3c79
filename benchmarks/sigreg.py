"""SIGReg's speed and memory, forward plus backward, beside the published implementations.

    python benchmarks/sigreg.py --quick                  # under a minute
    python benchmarks/sigreg.py                          # some four minutes on two cores
    python benchmarks/sigreg.py --device cuda            # one minute

In one process and in turns: ours with its compiled kernel and with plain PyTorch, lightly's and
stable-worldmodel's (each where it is installed), and the matrix product that projects the samples
on the directions, with its gradient, which nothing can do without. All in float32 with 17 knots
on the same samples; each call draws new directions, except for the product. Times are minima, and
those calls whose angles, some six arrays of n x m x knots numbers, would not fit in 8 GB are left
out. Memory is the peak beyond what was in use before the call: of the process's resident
set, or of CUDA's allocator.

Needs the extra `bench`. Prints a table, the growth of the times with n, d and m, and one line of
JSON: how many times faster than each peer ours is, and the time of ours relative to the product.
"""

import ctypes
import importlib
import itertools
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isojepa import SIGReg
from isojepa.kernels import chosen_kernel, use_kernel
from isojepa.normality import random_directions

KNOTS = 17
OURS, PLAIN, PRODUCT = "isojepa", "plain PyTorch", "product"
PEERS = {
    "lightly": ("lightly.loss.lejepa_loss", "num_vectors"),
    "stable-worldmodel": ("stable_worldmodel.wm.loss", "num_proj"),
}
PEER_ARRAYS, PEER_BYTES = 6, 8e9


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time, and where."""

    quick: bool = False
    """A few small sizes, to see that it runs."""
    threads: int = 2
    """Threads of torch, on the CPU."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the embeddings are."""
    seconds: float = 4.0
    """Time to spend on each size."""
    out: Path | None = None
    """Markdown file to write the tables to."""


class Size(NamedTuple):
    """Samples, dimensions, directions."""

    n: int
    d: int
    m: int

    def __str__(self) -> str:
        return f"{self.n} x {self.d} x {self.m}"


class Measured(NamedTuple):
    """Milliseconds and MiB of one call."""

    time: float
    memory: float


Call = Callable[[], None]
Results = dict[Size, dict[str, Measured]]


def sizes(config: Config) -> list[Size]:
    """The grid."""
    if config.quick:
        return [Size(*s) for s in itertools.product((256, 1024), (64, 128), (64, 256))]
    n = (256, 1024, 4096) if config.device == "cpu" else (256, 1024, 4096, 16384)
    return [Size(*s) for s in itertools.product(n, (64, 128, 512), (64, 256, 1024))]


def calls(size: Size, device: str) -> dict[str, Call]:
    """One forward and backward of each implementation, on the same samples."""
    z = torch.randn(size.n, size.d, device=device, requires_grad=True)

    def with_gradient(loss: Callable[[Tensor], Tensor]) -> Call:
        def call() -> None:
            z.grad = None
            loss(z).backward()

        return call

    def in_plain_pytorch() -> None:
        with use_kernel("recurrence"):
            ours()

    directions = random_directions(size.d, size.m, seed=0).to(device)
    weights = torch.randn(size.n, size.m, device=device)

    def product() -> None:
        z.grad = None
        (z @ directions).backward(weights)

    ours = with_gradient(SIGReg(size.m, KNOTS).to(device))
    made = {PRODUCT: product, OURS: ours, PLAIN: in_plain_pytorch}
    if PEER_ARRAYS * 4 * size.n * size.m * KNOTS <= PEER_BYTES:
        for name, (module, slices) in PEERS.items():
            if (loss := peer_loss(module)) is not None:
                made[name] = with_gradient(loss(knots=KNOTS, **{slices: size.m}).to(device))
    return made


def peer_loss(module: str) -> Callable | None:
    """The peer's SIGReg, where the peer is installed."""
    try:
        return importlib.import_module(module).SIGReg
    except ImportError:
        return None


def uses_processor_time(config: Config) -> bool:
    """On one thread, because other programs disturb it less than wall time."""
    return config.device == "cpu" and config.threads == 1


def milliseconds(made: dict[str, Call], config: Config) -> dict[str, float]:
    """Minimum over turns; in each turn every call is repeated for about the same time."""
    finish = torch.cuda.synchronize if config.device == "cuda" else lambda: None
    now = time.process_time if uses_processor_time(config) else time.perf_counter
    budget = config.seconds / (8 if config.quick else 1)

    def once(call: Call) -> float:
        start = now()
        call()
        finish()
        return now() - start

    best = {name: min(once(call), once(call)) for name, call in made.items()}
    turn = max(0.02, min(max(best.values()), budget / 10))
    end = time.perf_counter() + budget
    turns = 0
    while turns < 3 or time.perf_counter() < end:
        for name, call in made.items():
            repeats = max(1, round(turn / len(made) / best[name]))
            best[name] = min(best[name], *(once(call) for _ in range(repeats)))
        turns += 1
    return {name: 1000 * seconds for name, seconds in best.items()}


def peak_memory(call: Call, device: str) -> float:
    """MiB beyond those in use before the call."""
    if device == "cpu":
        return peak_of_resident_set(call)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def peak_of_resident_set(call: Call) -> float:
    """Of this process; nan where the system is not Linux."""
    if not (peak := Path("/proc/self/clear_refs")).exists():
        return float("nan")
    ctypes.CDLL(None).malloc_trim(0)  # else the call is served from memory freed before
    peak.write_text("5")  # proc(5): resets the peak
    before = _resident("VmRSS")
    call()
    return (_resident("VmHWM") - before) / 1024


def _resident(field: str) -> int:
    """KiB, from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure(config: Config) -> Results:
    """All sizes."""
    results: Results = {}
    progress = track(sizes(config), "sizes", console=Console(stderr=True), transient=True)
    for size in progress:
        made = calls(size, config.device)
        times = milliseconds(made, config)
        results[size] = {
            name: Measured(times[name], peak_memory(call, config.device))
            for name, call in made.items()
        }
        made.clear()
    return results


def ratios(results: Results) -> dict[str, float]:
    """Peer over ours, peer over our plain PyTorch, and ours over the product."""
    found = {}
    for size, row in results.items():
        for peer in PEERS:
            if peer in row:
                found[f"{peer} / isojepa, {size}"] = row[peer].time / row[OURS].time
                found[f"{peer} / plain PyTorch, {size}"] = row[peer].time / row[PLAIN].time
        found[f"isojepa / product, {size}"] = row[OURS].time / row[PRODUCT].time
    return {label: round(ratio, 2) for label, ratio in found.items()}


def time_rows(results: Results) -> list[list[str]]:
    """A header, and a row per size."""
    peers = [peer for peer in PEERS if any(peer in row for row in results.values())]
    names = [PRODUCT, OURS, PLAIN, *peers]
    rows = [
        [
            "n x d x m",
            *(f"{n}, ms" for n in names),
            "ours / product",
            *(f"{p} / ours" for p in peers),
        ]
    ]
    for size, row in results.items():
        ours = row[OURS].time
        rows.append(
            [
                str(size),
                *(f"{row[name].time:.2f}" if name in row else "over 8 GB" for name in names),
                f"{ours / row[PRODUCT].time:.2f}",
                *(f"{row[peer].time / ours:.1f}" if peer in row else "" for peer in peers),
            ]
        )
    return rows


def memory_rows(results: Results) -> list[list[str]]:
    """MiB, beside the n x m numbers of one projection; the widest d, where it matters least."""
    names = [PRODUCT, OURS, PLAIN, *(p for p in PEERS if any(p in row for row in results.values()))]
    rows = [["n x d x m", "n x m floats, MiB", *(f"{name}, MiB" for name in names)]]
    for size, row in results.items():
        rows.append(
            [
                str(size),
                f"{4 * size.n * size.m / 2**20:.1f}",
                *(f"{row[name].memory:.1f}" if name in row else "over 8 GB" for name in names),
            ]
        )
    return rows


def growth_rows(results: Results) -> list[list[str]]:
    """Exponents of n, d and m in a fit at large n m, where fixed costs matter least."""
    large = sorted(results, key=lambda size: size.n * size.m)[-max(8, len(results) // 2) :]
    rows = [["time grows as the power of", "n", "d", "m"]]
    for name in (PRODUCT, OURS, PLAIN, *PEERS):
        known = [size for size in large if name in results[size]]
        if not known:
            continue
        logs = np.log2([[*size, 2] for size in known])  # the last column is 1, for the constant
        times = np.log2([results[size][name].time for size in known])
        powers = np.linalg.lstsq(logs, times, rcond=None)[0]
        rows.append([name, *(f"{power:.2f}" for power in powers[:3])])
    return rows


def conditions(config: Config) -> str:
    """Where and how, in one line."""
    device = torch.device(config.device)
    where = f"{processor()}, {config.threads} threads"
    if config.device == "cuda":
        where = torch.cuda.get_device_name()
    return (
        f"{where}; torch {torch.__version__}; float32, {KNOTS} knots, forward and backward; "
        f"our kernel: {chosen_kernel(device)}; minima of "
        f"{'processor' if uses_processor_time(config) else 'wall'} time, in turns in one process"
    )


def processor() -> str:
    """Its name, where the system tells."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def markdown(tables: dict[str, list[list[str]]], config: Config) -> str:
    """The tables for a file."""
    command = f"python benchmarks/sigreg.py --device {config.device} --threads {config.threads}"
    parts = [f"# SIGReg: speed and memory\n\n`{command}`\n\n{conditions(config)}.\n"]
    for title, (header, *rows) in tables.items():
        lines = [header, ["---:"] * len(header), *rows]
        parts.append(f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def show(title: str, rows: list[list[str]]) -> None:
    """One table on the terminal."""
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, 160)
    console.print(table)


def main(config: Config) -> None:
    """Measure, print, write."""
    if config.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device here: nothing to measure")
        return
    torch.set_num_threads(config.threads)
    torch.manual_seed(0)
    results = measure(config)
    tables = {
        "Time": time_rows(results),
        "Peak memory of a call": memory_rows(results),
        "Growth": growth_rows(results),
    }
    print(conditions(config))
    for title, rows in tables.items():
        show(title, rows)
    if config.out is not None:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text(markdown(tables, config))
    print(json.dumps({"benchmark": "sigreg", "ratios": ratios(results)}))


if __name__ == "__main__":
    main(tyro.cli(Config))
