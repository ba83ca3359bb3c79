"""Pre-training beside its limit and a peer: images per second on a processor, in turns.

A folder of JPEGs of 320 x 240 pixels, 2 global and 4 local views, 64 images an update, float32:

- pretrain: as `isojepa pretrain` trains; reading, views, projector, objective, optimiser, metrics;
- encoder: forward and backward passes of our encoder on views that are ready, the limit;
- timm: the same with timm's own forward pass, which computes what a class token does not need;
- lightly: its DINO transforms, torch's data loader with a worker a core, its LeJEPALoss, the same
  projector and AdamW.

Each side has a process of its own; ratios are taken turn by turn. Resident memory is its peak.
With two global views of 96 px local ones have 48, with 224 they have 96.

Cost: 25 minutes on two cores for the four cases, 10 with --quick.
Run: `python benchmarks/pretrain.py [--quick] [--cases resnet18@96 ...]`, alone on the machine, with
the extra `bench`.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

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
from isojepa.machine import cores
from isojepa.training.memory import kept_memory
from isojepa.training.optimise import adamw

GLOBAL, LOCAL, BATCH = 2, 4, 64
LOCAL_SIZES = {96: 48, 224: 96}
MEAN, STD = [0.5] * 3, [0.25] * 3
CASES = ("resnet18@96", "vit_tiny_patch16_224@96", "convnext_atto@96", "vit_tiny_patch16_224@224")
Side = Literal["pretrain", "encoder", "timm", "lightly", "parts"]
RATES: tuple[Side, ...] = ("pretrain", "encoder", "timm", "lightly")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    cases: tuple[str, ...] = CASES
    """timm models, each with the side of its global views in pixels: MODEL@96 or MODEL@224."""
    quick: bool = False
    """Fewer updates and turns."""
    threads: int | None = None
    """Of torch. Default: torch's own choice."""
    side: Side | None = None
    """Time this of the first case alone and print it as JSON: what the benchmark's processes do."""
    photos: Path | None = None
    """Folder of images. Default: random ones, made and removed."""


class Case(NamedTuple):
    """A network and the size of its global views."""

    model: str
    size: int


def case_of(text: str) -> Case:
    """Read MODEL@SIZE."""
    model, _, size = text.partition("@")
    return Case(model, int(size))


def write_photos(folder: Path, n: int = 256) -> None:
    """JPEGs of smooth noise, which compress as photographs do."""
    rng = np.random.default_rng(0)
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8))
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(folder / f"{i:04}.jpg")


def pretrain_rate(case: Case, photos: Path, updates: int) -> float:
    """Images per second of `pretrain` after its first updates."""
    with tempfile.TemporaryDirectory() as out:
        run = PretrainConfig(
            data=photos, out=Path(out) / "run", model=case.model, image_size=case.size,
            recipe="photo", global_views=GLOBAL, local_views=LOCAL, batch_size=BATCH,
            steps=updates, log_every=2, device="cpu", precision="32-true", tensorboard=False,
            evaluate=False,
        )  # fmt: skip
        pretrain.train_encoder(run)
        lines = (run.out / "metrics.jsonl").read_text().splitlines()
    return statistics.median(json.loads(line)["images_per_second"] for line in lines[2:])


def build(case: Case) -> JEPA:
    """The network as `pretrain` has it."""
    spec = EncoderSpec(
        model=case.model, image_size=case.size, channels=3, mean=MEAN, std=STD,
        side=case.size * 5 // 4,
    )  # fmt: skip
    return JEPA(Encoder(spec), 2048, 64).to(memory_format=torch.channels_last).train()


def ready(case: Case) -> tuple[JEPA, Tensor, Views]:
    """The network, a batch of squares and their views."""
    jepa = build(case)
    side = jepa.encoder.spec.side
    squares = torch.randint(0, 256, (BATCH, 3, side, side), dtype=torch.uint8)
    return jepa, squares, views_of(squares, case)


def views_of(squares: Tensor, case: Case) -> Views:
    """The views of one update, parameters included."""
    recipe = photo(case.size, GLOBAL, LOCAL)
    assert recipe.local_size == LOCAL_SIZES[case.size]
    aspects = torch.full((BATCH,), 4 / 3)
    parameters = draw_parameters(recipe, aspects, seed=0, step=0, first=0, total=BATCH)
    return make_views(squares, parameters, recipe, MEAN, STD)


def lightly_rate(case: Case, photos: Path, updates: int) -> float:
    """Images per second of lightly's pipeline, after its first updates."""
    from lightly.data import LightlyDataset
    from lightly.loss.lejepa_loss import LeJEPALoss as PeerLoss
    from lightly.transforms.dino_transform import DINOTransform

    transform = DINOTransform(
        global_crop_size=case.size, local_crop_size=LOCAL_SIZES[case.size], n_local_views=LOCAL
    )
    loader = torch.utils.data.DataLoader(
        LightlyDataset(str(photos), transform=transform), BATCH, shuffle=True, drop_last=True,
        num_workers=cores(), persistent_workers=True,
    )  # fmt: skip
    jepa, loss = build(case), PeerLoss()
    optimiser = torch.optim.AdamW(jepa.parameters(), lr=1e-4, weight_decay=0.05)
    ends: list[float] = []
    while len(ends) < updates:
        for views, *_ in loader:
            large = jepa.projector(timm_features(jepa, torch.cat(views[:GLOBAL])))
            small = jepa.projector(timm_features(jepa, torch.cat(views[GLOBAL:])))
            value = loss(
                global_proj=large.unflatten(0, (GLOBAL, -1)),
                local_proj=small.unflatten(0, (LOCAL, -1)),
            )
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            ends.append(time.perf_counter())
    first = min(4, len(ends) // 3)  # workers start and read ahead
    return BATCH * (len(ends) - 1 - first) / (ends[-1] - ends[first])


def timm_features(jepa: JEPA, images: Tensor) -> Tensor:
    """As wide as our encoder's embedding, by timm's own forward pass."""
    encoder: Any = jepa.encoder
    features = encoder.backbone(images)
    return features.repeat(1, encoder.embedding_dim // features.shape[1])


def seconds(work: Callable[[], object], times: int) -> float:
    """Median wall time of one call, after one that is not counted."""
    work()
    measured = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        measured.append(time.perf_counter() - start)
    return statistics.median(measured)


def encoder_pass(jepa: JEPA, views: Views, embed: Callable[[Tensor], Tensor]) -> None:
    """Forward and backward through the encoder, either size in one pass as in training."""
    jepa.zero_grad(set_to_none=True)
    total = embed(views.large.flatten(0, 1)).square().mean()
    if views.small is not None:
        total = total + embed(views.small.flatten(0, 1)).square().mean()
    total.backward()


def parts(case: Case, updates: int) -> dict[str, float]:
    """Seconds that the parts of an update take, each timed by itself."""
    jepa, squares, views = ready(case)
    objective = LeJEPALoss(GLOBAL)
    optimiser = adamw(jepa, lr=1e-4, weight_decay=0.05)
    n = (GLOBAL + LOCAL) * BATCH
    embeddings = torch.randn(n, jepa.encoder.embedding_dim, requires_grad=True)
    projections = torch.randn(GLOBAL + LOCAL, BATCH, 64, requires_grad=True)
    flat = views.large.flatten(0, 1), cast("Tensor", views.small).flatten(0, 1)

    def forward() -> None:
        for images in flat:
            jepa.encoder(images)

    def clip_and_step() -> None:
        torch.nn.utils.clip_grad_norm_(jepa.parameters(), 1.0)
        optimiser.step()

    with kept_memory():
        whole = seconds(lambda: encoder_pass(jepa, views, jepa.encoder), updates)
        ahead = seconds(forward, updates)
        return {
            "views": seconds(lambda: views_of(squares, case), updates),
            "encoder, forward": ahead,
            "encoder, backward": whole - ahead,
            "projector": seconds(lambda: jepa.projector(embeddings).mean().backward(), updates),
            "objective": seconds(lambda: objective(projections).loss.backward(), updates),
            "clip and AdamW": seconds(clip_and_step, updates),
        }


def one_side(config: Config, photos: Path, updates: int) -> dict[str, float]:
    """Time what this process is for, and its peak of memory in MiB."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    case = case_of(config.cases[0])
    if config.side == "parts":
        return parts(case, updates)
    if config.side == "pretrain":
        rate = pretrain_rate(case, photos, updates + 4)
    elif config.side == "lightly":
        rate = lightly_rate(case, photos, updates + 4)
    else:
        jepa, _, views = ready(case)
        encoder: Any = jepa.encoder
        embed = encoder if config.side == "encoder" else encoder.backbone
        with kept_memory():
            rate = BATCH / seconds(lambda: encoder_pass(jepa, views, embed), updates)
    return {"rate": rate, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def measured(config: Config, case: str, photos: Path, side: Side) -> dict[str, float]:
    """What a process of its own prints for one side."""
    command = [sys.executable, __file__, "--side", side, "--photos", str(photos)]
    command += ["--cases", case, *(["--quick"] if config.quick else [])]
    command += [] if config.threads is None else ["--threads", str(config.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(config: Config, case: str, photos: Path, turns: int) -> dict[str, float]:
    """Time one case, print its table and return its ratios."""
    made = [{s: measured(config, case, photos, s) for s in RATES} for _ in range(turns)]
    times = measured(config, case, photos, "parts")
    ratio = {
        s: statistics.median(turn["pretrain"]["rate"] / turn[s]["rate"] for turn in made)
        for s in RATES
    }
    table = Table(title=f"{case} px: medians of {turns} turns")
    for column in ("", "images/s", "seconds an update", "pretrain over it", "MiB"):
        table.add_column(column, justify="right")
    for side in RATES:
        rate = statistics.median(turn[side]["rate"] for turn in made)
        memory = statistics.median(turn[side]["memory"] for turn in made)
        cells = (f"{rate:.1f}", f"{BATCH / rate:.2f}", f"{ratio[side]:.2f}", f"{memory:.0f}")
        table.add_row(side, *cells)
    table.add_section()
    whole = BATCH / statistics.median(turn["pretrain"]["rate"] for turn in made)
    for part, taken in (times | {"waiting, metrics, rest": whole - sum(times.values())}).items():
        table.add_row(part, "", f"{taken:.3f}")
    Console().print(table)
    memory = statistics.median(t["pretrain"]["memory"] / t["encoder"]["memory"] for t in made)
    return {f"{case} over {s}": round(r, 2) for s, r in ratio.items() if s != "pretrain"} | {
        f"{case} memory over encoder": round(memory, 2)
    }


def main(config: Config) -> None:
    """Time all sides in turns and print the tables and the line of JSON."""
    turns, updates = (2, 6) if config.quick else (5, 16)
    if config.side is not None:
        print(json.dumps(one_side(config, config.photos or Path(), updates)))
        return
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        photos = config.photos or Path(made)
        if config.photos is None:
            write_photos(photos)
        for case in config.cases:
            ratios |= compare(config, case, photos, turns)
    print(json.dumps({"benchmark": "pretrain", "ratios": ratios}))


if __name__ == "__main__":
    main(tyro.cli(Config))
