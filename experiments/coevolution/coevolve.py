"""Does a representation that grows with reward, value and policy need SIGReg, or miss it?

    python experiments/coevolution/coevolve.py                  # all of it, resumable
    python experiments/coevolution/coevolve.py --tasks two-room-8 --seeds 1 --arms B C
    python experiments/coevolution/coevolve.py --quick          # minutes, of no meaning
    python experiments/coevolution/coevolve.py --page           # only tables, plots and the page

Runs lie in OUT/TASK/ARM/seed-N; what is finished is kept, what was stopped goes on. The numbers are
written to OUT/results.csv as each cell ends; tables, plots and the page follow from that file.

Cost: a run makes 4,000 updates of 32 windows of 6 frames, some 8 minutes of one core alone, arm A
as long in two halves, a transfer half as long. The whole grid, 3 tasks x 5 arms x 5 seeds, takes
some 15 core-hours; two cells at a time with --jobs 2.
"""

import csv
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import tyro
from arms import ARMS, Cell
from figures import write_page
from measuring import measure

from isojepa.world import LearnConfig, learn

COLUMNS = ("task", "arm", "seed", "env_steps", "metric", "value")
RESULTS = "results.csv"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Which cells to run."""

    out: Path = Path("coevolution-runs")
    """Where runs and results lie."""
    tasks: tuple[str, ...] = ("two-room-8", "two-room-64", "reacher-64")
    """Some of those in arms.py."""
    arms: tuple[str, ...] = tuple(ARMS)
    seeds: int = 5
    jobs: int = 1
    """Cells at a time, a core each."""
    rows: int = 2000
    """Of the random walk that probes read."""
    quick: bool = False
    """As small as can be: that it runs, and nothing more."""
    page: bool = False
    """Make tables, plots and the page of what is there."""
    docs: Path = Path("docs")
    """Where the page goes."""


def main(grid: Grid) -> None:
    """Run what is left of the grid, then write the page."""
    if not grid.page:
        cells = [
            Cell(task=task, arm=arm, seed=seed, quick=grid.quick)
            for seed, task, arm in product(range(grid.seeds), grid.tasks, grid.arms)
        ]
        left = [cell for cell in cells if not done(cell, grid.out)]
        print(f"{len(cells) - len(left)} of {len(cells)} cells are done")
        each = [(cell, grid.out, grid.rows if not grid.quick else 60) for cell in left]
        if grid.jobs == 1:
            for cell in each:
                run_cell(*cell)
        else:
            with ProcessPoolExecutor(grid.jobs, get_context("spawn")) as pool:
                list(pool.map(run_cell, *zip(*each, strict=True)))
        gather(cells, grid.out)
    write_page(grid.out / RESULTS, grid.docs)


def done(cell: Cell, out: Path) -> bool:
    """Whether a cell has all its numbers."""
    return (cell.folder(out) / RESULTS).is_file()


def run_cell(cell: Cell, out: Path, rows: int) -> None:
    """Run a cell, or what is left of it, and write its numbers."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for config in (cell.first(out), cell.main(out), cell.transfer(out)):
        if config is not None:
            go_on(config)
    write_rows(cell.folder(out) / RESULTS, measure(cell, out, rows))


def go_on(config: LearnConfig) -> None:
    """A run from where it is: finished, stopped or not begun."""
    from dataclasses import replace

    if (config.out / "agent" / "config.json").is_file():
        return
    begun = (config.out / "config.json").is_file()
    learn(replace(config, resume=True) if begun else config)


def gather(cells: list[Cell], out: Path) -> None:
    """All cells' numbers in one file."""
    rows = []
    for cell in cells:
        with (cell.folder(out) / RESULTS).open() as file:
            rows += list(csv.DictReader(file))
    write_rows(out / RESULTS, rows)


def write_rows(path: Path, rows: list[dict[str, object]]) -> None:
    """A CSV file, whole or not at all."""
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


if __name__ == "__main__":
    main(tyro.cli(Grid))
