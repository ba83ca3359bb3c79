"""Training throughput of a world model, side by side: isojepa and the platform's LeWM.

The same architecture, episodes, batch size and objective (1,024 slices), in turns of two processes,
one for either side, of which one works at a time; the ratio is taken turn by turn. The platform's
side is its HDF5 data set through a DataLoader with the published transforms, its model on a Hugging
Face ViT (or on our convolutional encoder), its SIGReg, and AdamW; ours is `clip_batches`,
`WorldModel`, `LeWMLoss` and AdamW in one kernel, in the kept memory in which `world train` runs on
a CPU. "step" leaves the data out (the batch is in memory); "data" leaves the step out. A turn
begins when the platform's workers have read ahead and rest, and is many updates long, so that
either side pays for its own data. --bf16 is the published script's precision.

Cost: 3 to 10 minutes on two cores, 1 to 2 with --quick. Run:
`python benchmarks/world_training.py [--quick]`, with the extras `bench` and `world` installed.
"""

import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torchvision.transforms import v2

from isojepa import LeWMLoss
from isojepa.training.memory import kept_memory
from isojepa.training.optimise import adamw
from isojepa.world import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PRESETS,
    ActionScale,
    Clips,
    WorldModel,
    WorldModelSpec,
    clip_batches,
    clip_index,
    fit_action_scale,
    open_trajectories,
)

EPISODES, STEPS, SKIP, FRAMES = 12, 60, 5, 4
LAMBD, SLICES = 0.09, 1024
SIDES, JOBS = ("isojepa", "platform"), ("", " step", " data")
AHEAD = 3  # batches that each of the platform's workers reads ahead, as published
Jobs = dict[str, Callable[[], Any]]  # what is timed


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    quick: bool = False
    """The models of 64 pixels only, and fewer turns."""
    workers: int = 2
    """Of the platform's DataLoader."""
    bf16: bool = False
    """Autocast both sides to bfloat16, as the published script does."""
    device: str = "cpu"
    """Where both train."""


def write_episodes(path: Path, size: int) -> None:
    """Random walks of a square over noise, in the platform's HDF5 layout."""
    import h5py

    rng = np.random.default_rng(0)
    n = EPISODES * STEPS
    frames = rng.integers(0, 60, (n, size, size, 3), np.uint8)
    for i, (y, x) in enumerate(rng.integers(0, size - size // 8, (n, 2))):
        frames[i, y : y + size // 8, x : x + size // 8] = 255
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=frames, chunks=(1, size, size, 3))
        file.create_dataset("action", data=rng.normal(size=(n, 2)).astype(np.float32))
        file["ep_len"] = np.full(EPISODES, STEPS, np.int32)
        file["ep_offset"] = np.arange(EPISODES) * STEPS


class LikeViT(nn.Module):
    """Our convolutional encoder behind the interface that the platform's LeWM expects."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixels: Tensor, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self.encoder(pixels)[:, None])


def platform_model(spec: WorldModelSpec) -> Any:
    """The platform's LeWM of these sizes, on its ViT or on our convolutional encoder."""
    from stable_worldmodel.wm.lewm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor
    from transformers import ViTConfig, ViTModel

    options = {"patch_size": 14, "embed_dim": 192, "depth": 12, "num_heads": 3}
    options |= spec.encoder_options
    d, hidden = spec.embedding_dim, spec.projector_hidden
    encoder: nn.Module
    if spec.encoder == "lewm_vit":
        width = options["embed_dim"]
        vit = ViTConfig(
            hidden_size=width,
            num_hidden_layers=options["depth"],
            num_attention_heads=options["num_heads"],
            intermediate_size=4 * width,
            image_size=spec.frame_size,
            patch_size=options["patch_size"],
        )
        encoder = ViTModel(vit, add_pooling_layer=False)
    else:
        ours = WorldModel(spec).encoder
        encoder, width = LikeViT(ours), ours.features
    predictor = Predictor(
        num_frames=spec.history,
        depth=spec.depth,
        heads=spec.heads,
        mlp_dim=spec.mlp,
        input_dim=d,
        hidden_dim=spec.width,
        output_dim=d,
        dim_head=spec.head_width,
        dropout=spec.dropout,
    )
    return LeWM(
        encoder,
        predictor,
        Embedder(2 * SKIP, 2 * SKIP, d),
        MLP(width, hidden, d, norm_fn=nn.BatchNorm1d),
        MLP(d, hidden, d, norm_fn=nn.BatchNorm1d),
    )


def platform_batches(
    path: Path, size: int, batch: int, scale: ActionScale, workers: int
) -> Iterator[dict]:
    """The published data path: read, standardise and resize each clip, collate."""
    from stable_worldmodel.data.formats.hdf5 import HDF5Dataset
    from torch.utils.data import DataLoader

    pixels = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            v2.Resize(size),
        ]
    )

    def transform(clip: dict) -> dict:
        clip["pixels"] = pixels(clip["pixels"])
        clip["action"] = scale.normalise(clip["action"])
        return clip

    data = HDF5Dataset(
        path=str(path),
        frameskip=SKIP,
        num_steps=FRAMES,
        keys_to_load=["pixels", "action"],
        transform=transform,
    )
    loader = DataLoader(
        data,
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
        persistent_workers=workers > 0,
        prefetch_factor=AHEAD if workers else None,
    )
    while True:
        yield from loader


def platform_step(model: Any, spec: WorldModelSpec, device: str) -> Callable[[dict, bool], Tensor]:
    """The published loss and update, written from the script's description."""
    from stable_worldmodel.wm.loss import SIGReg

    sigreg = SIGReg(knots=17, num_proj=SLICES).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=1e-3)
    history = spec.history

    def step(batch: dict, bf16: bool) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            batch = {name: x.to(device) for name, x in batch.items()}
            batch["action"] = torch.nan_to_num(batch["action"])
            out = model.encode(dict(batch))
            z = out["emb"]
            predicted = model.predict(z[:, :history], out["act_emb"][:, :history])
            loss = (predicted - z[:, 1:]).square().mean() + LAMBD * sigreg(z.transpose(0, 1))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        return loss.detach()

    return step


def our_step(model: nn.Module, device: str) -> Callable[[Clips, bool], Tensor]:
    """One update of `isojepa.world.train`."""
    objective = LeWMLoss(LAMBD, slices=SLICES)
    optimiser = adamw(model, lr=5e-5, weight_decay=1e-3)

    def step(clips: Clips, bf16: bool) -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            predictions = model(clips.frames.to(device), clips.actions.to(device))
        loss = objective(*predictions).loss
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        return loss.detach()

    return step


def serve(
    side: str, spec: WorldModelSpec, batch: int, path: Path, config: Config, pipe: Connection
) -> None:
    """Be one side: time what the other end of the pipe asks for, until it asks for nothing."""
    torch.manual_seed(0)
    ours = side == "isojepa"
    jobs, parameters = (our_jobs if ours else platform_jobs)(spec, batch, path, config)
    with kept_memory() if ours and config.device == "cpu" else nullcontext():
        for job in jobs.values():
            job()
        pipe.send(parameters)
        while request := pipe.recv():
            name, times = request
            pipe.send(seconds(jobs[name], times))


def our_jobs(spec: WorldModelSpec, batch: int, path: Path, config: Config) -> tuple[Jobs, int]:
    """Our update with and without its data, and the data alone; and the number of parameters."""
    model = WorldModel(spec).to(config.device).train()
    model = model.to(memory_format=torch.channels_last)
    step = our_step(model, config.device)
    trajectories = open_trajectories(path, cache=path.parent / "cache")
    episodes = np.arange(EPISODES)
    index = clip_index(trajectories, episodes, frames=FRAMES, frame_skip=SKIP)
    scale = fit_action_scale(trajectories, episodes)
    data = clip_batches(
        trajectories, index, frames=FRAMES, frame_skip=SKIP, scale=scale, batch=batch, seed=0
    )
    ready = next(data)
    jobs: Jobs = {
        "": lambda: step(next(data), config.bf16),
        " step": lambda: step(ready, config.bf16),
        " data": lambda: next(data),
    }
    return jobs, sum(p.numel() for p in model.parameters())


def platform_jobs(spec: WorldModelSpec, batch: int, path: Path, config: Config) -> tuple[Jobs, int]:
    """The platform's likewise."""
    model = platform_model(spec).to(config.device).train()
    step = platform_step(model, spec, config.device)
    trajectories = open_trajectories(path, cache=path.parent / "actions")
    scale = fit_action_scale(trajectories, np.arange(EPISODES))
    data = platform_batches(path, spec.frame_size, batch, scale, config.workers)
    ready = next(data)
    jobs: Jobs = {
        "": lambda: step(next(data), config.bf16),
        " step": lambda: step(dict(ready), config.bf16),
        " data": lambda: next(data),
    }
    return jobs, sum(p.numel() for p in model.parameters())


def seconds(run: Callable[[], Any], times: int) -> float:
    """Wall time of one of several calls."""
    start = time.perf_counter()
    for _ in range(times):
        run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def compare(
    spec: WorldModelSpec, batch: int, turns: int, per_turn: int, config: Config
) -> dict[str, list[float]]:
    """Seconds per update of either side, with and without the data, turn by turn."""
    processes = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    running: list[BaseProcess] = []
    sizes: set[int] = set()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as pipes:
        path = Path(folder) / "episodes.h5"
        write_episodes(path, spec.frame_size)
        for side in SIDES:
            sides[side], other = processes.Pipe()
            pipes.enter_context(sides[side])  # closed, it ends its process
            args = (side, spec, batch, path, config, other)
            running.append(processes.Process(target=serve, args=args))
            running[-1].start()
            other.close()
            sizes.add(sides[side].recv())
        if len(sizes) > 1:
            raise RuntimeError(f"two architectures, of {sizes} parameters")

        def ask(side: str, name: str, count: int) -> float:
            sides[side].send((name, count))
            return sides[side].recv()

        times: dict[str, list[float]] = {side + name: [] for name in JOBS for side in SIDES}
        ahead = AHEAD * config.workers
        rest = 2 * ahead * ask("platform", " data", 2 * ahead)
        for _ in range(turns):
            for name in JOBS:
                for side in SIDES:
                    time.sleep(rest)  # until the workers have read ahead, and are still
                    times[side + name].append(ask(side, name, per_turn))
        for side in SIDES:
            sides[side].send(None)
        for process in running:
            process.join()
        return times


def main(config: Config) -> None:
    """Time the models and print the table and the line of JSON."""
    published, small = PRESETS["lewm"].spec, PRESETS["lewm-small"].spec
    micro = replace(PRESETS["lewm-micro"].spec, history=3)  # the platform's loss needs the window
    turns = 3 if config.quick else 7
    cases = {
        "lewm-micro, 64 px": (micro, 64, turns, 30),
        "lewm-small, 64 px": (small, 32, turns, 6),
    }
    if not config.quick:
        cases["lewm, 224 px"] = (published, 8, 5, 4)
    table = Table(title=f"Clips per second, {torch.get_num_threads()} threads")
    for column in ("model", "batch", "isojepa", "platform", "ratio", "step alone", "data alone"):
        table.add_column(column, justify="right")
    ratios: dict[str, float] = {}
    for label, (spec, batch, turns, per_turn) in cases.items():
        spec = replace(spec, action_dim=2 * SKIP)
        times = compare(spec, batch, turns, per_turn, config)
        rates = {name: batch / statistics.median(values) for name, values in times.items()}
        for suffix in ("", " step", " data"):
            pairs = zip(times[f"platform{suffix}"], times[f"isojepa{suffix}"])
            ratios[label + suffix] = round(statistics.median(a / b for a, b in pairs), 2)
        table.add_row(
            label,
            str(batch),
            f"{rates['isojepa']:.1f}",
            f"{rates['platform']:.1f}",
            f"{ratios[label]:.2f}",
            f"{ratios[label + ' step']:.2f}",
            f"{ratios[label + ' data']:.2f}",
        )
    Console().print(table)
    print(json.dumps({"benchmark": "world_training", "ratios": ratios}))


if __name__ == "__main__":
    main(tyro.cli(Config))
