"""What pre-training adds to its encoder: images per second of `pretrain` over the encoder's alone.

A folder of JPEGs of 320 x 240 pixels; 2 global views of 96 px and 4 local ones of 48 px, 64 images
an update. Ours trains as `isojepa pretrain` does: reading, views, projector, objective, optimiser
and metrics included. The encoder alone makes forward and backward passes of views that are ready.
Either side has a process of its own, in turns; the ratio is taken turn by turn.

Cost: 5 minutes on two cores. Run: `python benchmarks/pretrain.py [--quick]`, alone on the machine.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor

from isojepa import LeJEPALoss, PretrainConfig
from isojepa.encoders import (
    JEPA,
    Encoder,
    EncoderSpec,
    Views,
    draw_parameters,
    make_views,
    photo,
    pretrain,
)
from isojepa.training.memory import kept_memory
from isojepa.training.optimise import adamw

GLOBAL, LOCAL, SIZE, BATCH = 2, 4, 96, 64
MEAN, STD = [0.5] * 3, [0.25] * 3


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    model: str = "vit_tiny_patch16_224"
    """Any timm model name."""
    quick: bool = False
    """Fewer updates and turns."""
    threads: int | None = None
    """Of torch. Default: torch's own choice."""
    side: Literal["pretrain", "encoder", "parts"] | None = None
    """Time this alone and print it as JSON: what the processes of the benchmark do."""
    photos: Path | None = None
    """Folder of images. Default: random ones, made and removed."""


def write_photos(folder: Path, n: int = 256) -> None:
    """JPEGs of smooth noise, which compress as photographs do."""
    rng = np.random.default_rng(0)
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{i:04}.jpg")


def pretrain_rate(config: Config, photos: Path, updates: int) -> float:
    """Images per second of `pretrain` after its first updates."""
    with tempfile.TemporaryDirectory() as out:
        run = PretrainConfig(
            data=photos, out=Path(out) / "run", model=config.model, image_size=SIZE,
            recipe="photo", global_views=GLOBAL, local_views=LOCAL, batch_size=BATCH,
            steps=updates, log_every=2, device="cpu", tensorboard=False, evaluate=False,
        )  # fmt: skip
        pretrain.run(run)
        lines = (run.out / "metrics.jsonl").read_text().splitlines()
    return statistics.median(json.loads(line)["images_per_second"] for line in lines[2:])


def ready(config: Config) -> tuple[JEPA, Tensor, Views]:
    """The network as `pretrain` has it, a batch of squares and their views."""
    spec = EncoderSpec(
        model=config.model, image_size=SIZE, channels=3, mean=MEAN, std=STD, side=SIZE * 5 // 4
    )
    jepa = JEPA(Encoder(spec), 2048, 64).to(memory_format=torch.channels_last).train()
    squares = torch.randint(0, 256, (BATCH, 3, spec.side, spec.side), dtype=torch.uint8)
    return jepa, squares, views_of(squares)


def views_of(squares: Tensor) -> Views:
    """The views of one update, parameters included."""
    recipe = photo(SIZE, GLOBAL, LOCAL)
    aspects = torch.full((BATCH,), 4 / 3)
    parameters = draw_parameters(recipe, aspects, seed=0, step=0, first=0, total=BATCH)
    return make_views(squares, parameters, recipe, MEAN, STD)


def seconds(work: Callable[[], object], times: int) -> float:
    """Median wall time of one call, after one that is not counted."""
    work()
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        measured.append(time.perf_counter() - start)
    return statistics.median(measured)


def encoder_pass(jepa: JEPA, views: Views) -> None:
    """Forward and backward through the encoder, either size in one pass as in training."""
    jepa.zero_grad(set_to_none=True)
    total = jepa.encoder(views.large.flatten(0, 1)).square().mean()
    if views.small is not None:
        total = total + jepa.encoder(views.small.flatten(0, 1)).square().mean()
    total.backward()


def parts(config: Config, updates: int) -> dict[str, float]:
    """Seconds that the parts of an update take, each timed by itself."""
    jepa, squares, views = ready(config)
    objective = LeJEPALoss(GLOBAL)
    optimiser = adamw(jepa, lr=1e-4, weight_decay=0.05)
    n = (GLOBAL + LOCAL) * BATCH
    embeddings = torch.randn(n, jepa.encoder.embedding_dim, requires_grad=True)
    projections = torch.randn(GLOBAL + LOCAL, BATCH, 64, requires_grad=True)

    def clip_and_step() -> None:
        torch.nn.utils.clip_grad_norm_(jepa.parameters(), 1.0)
        optimiser.step()

    with kept_memory():
        return {
            "encoder": seconds(lambda: encoder_pass(jepa, views), updates),
            "projector": seconds(lambda: jepa.projector(embeddings).mean().backward(), updates),
            "objective": seconds(lambda: objective(projections).loss.backward(), updates),
            "clip and AdamW": seconds(clip_and_step, updates),
            "views": seconds(lambda: views_of(squares), updates),
        }


def measured(config: Config, photos: Path, side: str) -> dict[str, float]:
    """What a process of its own prints for one side."""
    command = [sys.executable, __file__, "--side", side, "--photos", str(photos)]
    command += ["--model", config.model, *(["--quick"] if config.quick else [])]
    command += [] if config.threads is None else ["--threads", str(config.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def one_side(config: Config, photos: Path, updates: int) -> dict[str, float]:
    """Time what this process is for."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if config.side == "parts":
        return parts(config, updates)
    if config.side == "pretrain":
        return {"rate": pretrain_rate(config, photos, updates + 4)}
    jepa, _, views = ready(config)
    with kept_memory():
        return {"rate": BATCH / seconds(lambda: encoder_pass(jepa, views), updates)}


def main(config: Config) -> None:
    """Time both sides in turns and print the table and the line of JSON."""
    turns, updates = (2, 6) if config.quick else (5, 16)
    if config.side is not None:
        print(json.dumps(one_side(config, config.photos or Path(), updates)))
        return
    with tempfile.TemporaryDirectory() as made:
        photos = config.photos or Path(made)
        if config.photos is None:
            write_photos(photos)
        rates = [
            {s: measured(config, photos, s)["rate"] for s in ("pretrain", "encoder")}
            for _ in range(turns)
        ]
        times = measured(config, photos, "parts")
    table = Table(title=f"{config.model} at {SIZE} px: images per second, median of {turns} turns")
    for column in ("", "images/s", "seconds an update"):
        table.add_column(column, justify="right")
    for side in ("pretrain", "encoder"):
        rate = statistics.median(turn[side] for turn in rates)
        table.add_row(side, f"{rate:.1f}", f"{BATCH / rate:.2f}")
    table.add_section()
    for part, taken in times.items():
        table.add_row(part, "", f"{taken:.3f}")
    Console().print(table)
    ratio = statistics.median(turn["pretrain"] / turn["encoder"] for turn in rates)
    label = f"over encoder alone, {config.model} {SIZE} px"
    print(json.dumps({"benchmark": "pretrain", "ratios": {label: round(ratio, 2)}}))


if __name__ == "__main__":
    main(tyro.cli(Config))
