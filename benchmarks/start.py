"""Seconds until the first update: of the first run on a folder, the second, and without a cache.

Each is `isojepa pretrain` in a process of its own, watched from outside until metrics.jsonl has its
first line, which is written after the first update; starting Python and importing count. Processor
seconds are those of all its threads until then, by the system's count (Linux only). The images are
JPEGs of 320 x 240; the second run has another network and another seed. Of 1,000 updates the first
is not probed: an online probe embeds 6,000 images.

Cost: one to some minutes on two cores, and 0.4 GB of disk. Run: `python benchmarks/start.py
[--quick] [--images 10000]`.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

TICKS = os.sysconf("SC_CLK_TCK")
CASES = {
    "without a cache": ["--no-cache", "--model", "resnet_micro"],
    "first run": ["--model", "resnet_micro"],
    "second run": ["--model", "resnet_nano", "--seed", "1"],
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    images: int = 10_000
    """How many there are."""
    quick: bool = False
    """Only 500."""


def write_images(folder: Path, n: int) -> None:
    """JPEGs with as much detail as photographs have, from coarse and fine noise."""
    for i in range(n):
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize((320, 240))
        fine = rng.integers(-12, 12, (240, 320, 1), np.int16)
        pixels = (np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8)
        place = folder / f"class{i % 10}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i}.jpg", quality=85)


def until_first_update(data: Path, out: Path, words: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of processors until a run's first update."""
    command = [
        sys.executable,
        "-m",
        "isojepa.cli",
        "pretrain",
        "--data",
        str(data),
        "--out",
        str(out),
    ]
    command += ["--image-size", "64", "--batch-size", "64", "--steps", "1000", "--log-every", "1"]
    command += ["--device", "cpu", "--no-tensorboard", "--no-evaluate", *words]
    began = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        metrics = out / "metrics.jsonl"
        while not (metrics.is_file() and metrics.stat().st_size):
            if run.poll() is not None:
                raise SystemExit(run.stderr.read() if run.stderr else "the run ended")
            time.sleep(0.01)
        clock = time.monotonic() - began
        fields = Path(f"/proc/{run.pid}/stat").read_text().rpartition(")")[2].split()
        run.kill()
    return clock, (int(fields[11]) + int(fields[12])) / TICKS


def main(config: Config) -> None:
    """Time the cases, print the table and the line of JSON."""
    n = 500 if config.quick else config.images
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_images(place / "data", n)
        os.environ["ISOJEPA_CACHE"] = str(place / "cache")
        for name, words in CASES.items():
            found[name] = until_first_update(place / "data", place / name.replace(" ", "-"), words)
    table = Table(title=f"Until the first update, {n:,} images of 320 x 240")
    for head in ("", "seconds", "processor seconds"):
        table.add_column(head, justify="right" if head else "left")
    for name, (clock, processor) in found.items():
        table.add_row(name, f"{clock:.1f}", f"{processor:.1f}")
    Console().print(table)
    first = found["first run"]
    ratios = {name: first[0] / clock for name, (clock, _) in found.items()}
    print(json.dumps({"benchmark": "start", "images": n, "ratios": ratios, "seconds": found}))


if __name__ == "__main__":
    main(tyro.cli(Config))
