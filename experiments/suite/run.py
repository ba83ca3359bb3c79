"""Ours by default, what needs no learning, and lightly's methods, on every set: one honest table.

    python experiments/suite/run.py --quick                    # minutes: tiny sets, seconds each
    python experiments/suite/run.py --minutes 20 --seeds 3     # nights on two cores; resumable
    python experiments/suite/run.py --table-only               # from the cells that are there

Every cell, a set x a method x minutes x a seed, is a JSON file below --out, written when it is
done, so that an interrupted run goes on. All methods train the network that `isojepa pretrain`
settles, at its image size, for as many minutes; what a network gives goes through the map that the
product's encoders end in (`isojepa.encoders.whitening`), whoever trained it, and all features are
read by the same readers. Needs the extras `suite` and `bench`.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

import measures
import table
from isojepa import PretrainConfig, load_encoder, pretrain
from isojepa.encoders import Encoder
from sets import SETS, made

OURS, LIGHTLY = "isojepa", ("lejepa", "simclr", "vicreg", "dino")
UNLEARNT = ("pixels", "pca", "untrained")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to measure."""

    out: Path = Path("suite-run")
    """Folder of the cells, the table and the figure."""
    home: Path = Path("sets")
    """Where the sets are, or are made."""
    only: tuple[str, ...] = tuple(SETS)
    methods: tuple[str, ...] = (*UNLEARNT, OURS, *LIGHTLY)
    minutes: tuple[float, ...] = (20.0,)
    """Each is measured."""
    seeds: int = 1
    """0, 1, ... of whatever is trained."""
    quick: bool = False
    """Sets of a fiftieth and a few seconds of training: that it runs."""
    table_only: bool = False


def main() -> None:
    config = tyro.cli(Config)
    if config.quick:
        config = replace(config, minutes=(0.05,), seeds=1, out=config.out.with_name("suite-quick"))
    if not config.table_only:
        for name, method, minutes, seed in cells(config):
            file = config.out / "cells" / f"{name}-{method}-{minutes:g}-{seed}.json"
            if file.is_file():
                continue
            cell = measure(config, name, method, minutes, seed)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(cell))
            part.rename(file)
            print(json.dumps(cell), flush=True)
    table.write(config.out)


def cells(config: Config) -> Iterator[tuple[str, str, float, int]]:
    """All that there is to measure; what is not trained does not depend on minutes and seeds."""
    for name in config.only:
        for method in config.methods:
            still = method in {"pixels", "pca"}
            untrained = method == "untrained"
            for minutes in (0.0,) if still or untrained else config.minutes:
                for seed in range(1 if still else config.seeds):
                    yield name, method, minutes, seed


def measure(config: Config, name: str, method: str, minutes: float, seed: int) -> dict[str, Any]:
    """One cell."""
    folder = made(name, config.home, 0.02 if config.quick else 1.0)
    train, test = measures.read(folder)
    torch.manual_seed(seed)
    started = time.monotonic()
    more: dict[str, Any] = {}
    if method == "pixels":
        features = measures.pixels(train), measures.pixels(test)
    elif method == "pca":
        features = measures.principal(measures.pixels(train), measures.pixels(test))
    elif method == OURS:
        run = pretrain(settings(config, folder, name, minutes, seed))
        more = _curve(run)
        encoder = load_encoder(run)
        features = tuple(measures.embed(encoder, encoder.preprocess, s) for s in (train, test))
    else:
        features, more = _same_network(config, folder, name, method, minutes, seed, (train, test))
    seconds = time.monotonic() - started
    found = measures.scores(*features, train, test)
    return {
        "set": name, "method": method, "minutes": minutes, "seed": seed, "seconds": seconds,
        "n_train": len(train.paths), "n_test": len(test.paths), **more, **found,
    }  # fmt: skip


def settings(
    config: Config, folder: Path, name: str, minutes: float, seed: int, **more: Any
) -> PretrainConfig:
    """Ours by default: nothing is said but minutes and seed."""
    return PretrainConfig(
        data=folder, out=config.out / "runs" / f"{name}-{minutes:g}-{seed}", minutes=minutes,
        seed=seed, evaluate=False, tensorboard=False, overwrite=True, **more,
    )  # fmt: skip


def _same_network(
    config: Config,
    folder: Path,
    name: str,
    method: str,
    minutes: float,
    seed: int,
    splits: tuple[measures.Images, measures.Images],
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """The network that ours settles, untrained or trained by one of lightly's methods."""
    place = config.out / "runs" / f"{name}-settled"
    if not (place / "encoder").is_dir():
        pretrain(replace(settings(config, folder, name, 1.0, 0), out=place, minutes=None, steps=1))
    spec = load_encoder(place).spec
    spec = replace(spec, whitened=False)
    if method in LIGHTLY and spec.channels == 1:
        spec = replace(spec, channels=3, mean=spec.mean * 3, std=spec.std * 3)
    torch.manual_seed(seed)
    network = Encoder(spec).to(memory_format=torch.channels_last)
    made_updates = 0
    if method in LIGHTLY:
        import peers

        d, size = network.embedding_dim, spec.image_size
        made_updates = peers.train(method, network, d, size, splits[0], minutes, seed)
    network.eval()
    plain = [measures.embed(network, network.preprocess, s) for s in splits]
    return measures.white(*plain), {"updates": made_updates}


def _curve(run: Path) -> dict[str, Any]:
    """What the run's online k-NN was at which minute, for the time to beat pixels."""
    lines = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    steps = json.loads((run / "config.json").read_text())["config"]["steps"]
    spent = json.loads((run / "config.json").read_text())["seconds"]
    curve = [(spent * x["step"] / steps / 60, 100 * x["knn_accuracy"])
             for x in lines if "knn_accuracy" in x]  # fmt: skip
    return {"updates": steps, "curve": curve}


if __name__ == "__main__":
    main()
