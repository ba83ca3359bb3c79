"""The demo's scores over seeds: mean and range, as README quotes them.

Cost: about 85 s a seed on two cores. Run: `python experiments/demo_seeds.py --out DIR`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from isojepa.demos.images import DemoConfig, run


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which seeds to run, and where."""

    out: Path
    """Folder for the runs, one sub-folder a seed."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the split, the weights, the views and the directions."""


def main(config: Config) -> None:
    """Run the demo for every seed and print mean [lowest, highest] of each score, in per cent."""
    runs = [run(DemoConfig(out=config.out / str(seed), seed=seed)) for seed in config.seeds]
    for name in runs[0]:
        cells = []
        rows = [scores[name] for scores in runs]
        columns = {key: [getattr(row, key) for row in rows] for key in ("linear", "knn", "kernel")}
        columns |= {str(n): [row.shots[n].mean for row in rows] for n in (1, 5, 10)}
        for column, values in columns.items():
            low, mean, high = 100 * np.array([min(values), np.mean(values), max(values)])
            cells.append(f"{column} {mean:.1f} [{low:.1f}, {high:.1f}]")
        print(f"{name:10}", "   ".join(cells))


if __name__ == "__main__":
    main(tyro.cli(Config))
