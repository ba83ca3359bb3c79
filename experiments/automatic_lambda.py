"""A lambda found while training against the best of nine fixed ones.

    python experiments/automatic_lambda.py --out automatic-lambda --sets digits mnist

LeJEPA with the encoder resnet_nano on small real sets, with each of nine fixed lambdas over three
decades and with `AutomaticWeight`, at every seed. The best fixed lambda is chosen with labels and
after the fact, which is what nobody can do: it is the mark to come near to. Beside it stands a
lambda held at the 95 % quantile of SIGReg's null distribution, the rule that was tried first.

Results are kept in OUT/runs.jsonl: what is there is not made again.
"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from isojepa import LeJEPALoss, SIGReg
from isojepa.objective.automatic import AutomaticWeight

sys.path.insert(0, str(Path(__file__).parent / "claims"))
import images
from images import Row

LAMBDAS = tuple(float(f"{x:.3g}") for x in np.geomspace(5e-4, 0.5, 9))
AUTO, QUANTILE = "auto", "null quantile"
BATCH, DIM, SLICES = 128, 32, 256


@dataclass(frozen=True, kw_only=True)
class Config:
    """Compare automatic and fixed lambdas."""

    out: Path = Path("automatic-lambda")
    """Folder of the results."""
    sets: tuple[str, ...] = ("digits",)
    """digits, mnist, or both."""
    seeds: int = 3
    """Runs of each."""
    steps: int = 300
    """Updates of 128 images, two views."""
    quick: bool = False
    """A few updates of a few lambdas, to see that it runs."""


def wanted(config: Config) -> Iterator[Row]:
    choices = (*(LAMBDAS[::4] if config.quick else LAMBDAS), AUTO, QUANTILE)
    for data, seed, lambd in product(config.sets, range(config.seeds), choices):
        yield {"set": data, "lambd": lambd, "seed": seed, "steps": config.steps}


def null_target() -> float:
    """The departure at the 95 % quantile of SIGReg's null distribution, by simulation."""
    sigreg, weight = SIGReg(SLICES), AutomaticWeight(BATCH, 1)
    generator = torch.Generator().manual_seed(0)
    values = torch.stack(
        [sigreg(torch.randn(BATCH, DIM, generator=generator), step=i) for i in range(200)]
    )
    return float((values.quantile(0.95) - weight.floor) / (weight.point - weight.floor))


def weight_of(settings: Row) -> float | AutomaticWeight:
    lambd, steps = settings["lambd"], int(str(settings["steps"]))
    if lambd == AUTO:
        return AutomaticWeight(BATCH, steps, hold=steps // 10)
    if lambd == QUANTILE:
        return AutomaticWeight(BATCH, steps, hold=steps // 10, target=null_target())
    return float(str(lambd))


def trained(settings: Row) -> Row:
    """One run: linear accuracy, where SIGReg and lambda ended, and processor time."""
    data, seed = images.read(str(settings["set"])), int(str(settings["seed"]))
    jepa, weight = images.build(data.side, seed, dim=DIM), weight_of(settings)
    objective = LeJEPALoss(lambd=weight, slices=SLICES, seed=seed)
    start = time.process_time()
    steps = int(str(settings["steps"]))
    terms = np.array(images.train(jepa, data, objective, seed, steps, batch=BATCH))
    seconds = time.process_time() - start
    return settings | {
        "accuracy": images.linear_accuracy(jepa, data),
        "sigreg": float(terms[-max(1, steps // 10) :, 1].mean()),
        "end": float(objective.weight()),
        "seconds": seconds,
    }


def show(rows: list[Row]) -> None:
    table = Table("set", "lambda", "at the end", "SIGReg", "linear, %", "seeds")
    for data, lambd in dict.fromkeys((r["set"], r["lambd"]) for r in rows):
        some = [r for r in rows if (r["set"], r["lambd"]) == (data, lambd)]
        columns = {k: [float(str(r[k])) for r in some] for k in ("end", "sigreg", "accuracy")}
        accuracy = [100 * x for x in columns["accuracy"]]
        table.add_row(
            str(data),
            str(lambd),
            f"{np.mean(columns['end']):.3g}",
            f"{np.mean(columns['sigreg']):.2f}",
            f"{np.mean(accuracy):.1f} [{min(accuracy):.1f}, {max(accuracy):.1f}]",
            str(len(some)),
        )
    Console(width=100).print(table)
    for data in dict.fromkeys(r["set"] for r in rows):
        gaps = behind([r for r in rows if r["set"] == data])
        for rule, gap in gaps.items():
            print(f"{data}, {rule}: {gap:+.1f} points against the best fixed lambda")


def behind(rows: list[Row]) -> dict[str, float]:
    """Mean accuracy of each rule less that of the best fixed lambda, in points."""
    by = {lambd: [float(str(r["accuracy"])) for r in rows if r["lambd"] == lambd]
          for lambd in dict.fromkeys(r["lambd"] for r in rows)}  # fmt: skip
    means = {lambd: float(np.mean(values)) for lambd, values in by.items()}
    best = max(mean for lambd, mean in means.items() if not isinstance(lambd, str))
    return {rule: 100 * (means[rule] - best) for rule in (AUTO, QUANTILE)}


def main(config: Config) -> list[Row]:
    torch.set_num_threads(1)
    if config.quick:
        config = Config(out=config.out, sets=config.sets, seeds=1, steps=3, quick=True)
    rows = images.made_once(config.out / "runs.jsonl", wanted(config), trained)
    show(rows)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
