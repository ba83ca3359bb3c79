"""The demo's scores over seeds: mean and range, as README quotes them.

Cost: about half a minute a seed on two cores. Run: `python experiments/demo_seeds.py --out DIR`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from isojepa.demos.images import DemoConfig, image_demo
from isojepa.encoders import Scores


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which seeds to run, and where."""

    out: Path
    """Folder for the runs, one sub-folder a seed."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the split, the weights, the views and the directions."""


def row(name: str, scores: list[Scores]) -> str:
    """Mean [lowest, highest] of each score over the seeds, in per cent."""
    columns = {n: [getattr(one, n) for one in scores] for n in ("linear", "knn", "kernel")}
    for n in scores[0].shots:
        columns[f"{n}-shot"] = [few.mean for few in (one.shots[n] for one in scores) if few]
    cells = []
    for column, values in columns.items():
        low, mean, high = 100 * np.array([min(values), np.mean(values), max(values)])
        cells.append(f"{column} {mean:.1f} [{low:.1f}, {high:.1f}]")
    return "   ".join([f"{name:10}", *cells])


def main(config: Config) -> None:
    """Run the demo for every seed and print a row for each representation."""
    runs = [image_demo(DemoConfig(out=config.out / str(seed), seed=seed)) for seed in config.seeds]
    for name in runs[0]:
        print(row(name, [scores[name] for scores in runs]))


if __name__ == "__main__":
    main(tyro.cli(Config))
