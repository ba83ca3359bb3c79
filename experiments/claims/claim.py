"""What every script of this folder is: a claim, how to measure it, how to judge and draw it.

A script holds one `Claim` and ends in `main(CLAIM)`. Running it measures seed after seed (each is
kept in a CSV file as soon as it is done, so that an interrupted run goes on), judges the rows and
draws the figure from that file alone:

    python experiments/claims/probes.py           # a full run, into experiments/claims/results
    python experiments/claims/probes.py --quick   # as small as the tests', into claims-quick
    python experiments/claims/run.py              # all of them, and the page of results
"""

import csv
import importlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
import tyro
from scipy import stats

from isojepa.jobs import Engine, run_jobs

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure as Picture

Verdict = Literal["holds", "holds with conditions", "does not hold here"]
Row = dict[str, Any]
RESULTS = Path(__file__).parent / "results"
QUICK = Path("claims-quick")


@dataclass(frozen=True)
class Number:
    """A figure that carries the verdict, with its 95 % interval over seeds."""

    what: str
    value: float
    low: float
    high: float
    published: str = ""
    """The paper's own figure, where it gives one."""

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Judgement:
    """What the rows say of the claim."""

    verdict: Verdict
    says: str
    """One or two sentences for a practitioner."""
    numbers: tuple[Number, ...]


@dataclass(frozen=True)
class Claim:
    """A claim of the papers, as an experiment."""

    name: str
    number: int
    """In the order of the claims."""
    statement: str
    source: str
    measure: Callable[[int, bool], Iterable[Row]]
    """(seed, quick) -> rows; quick ones are small enough for the tests."""
    judge: Callable[[list[Row]], Judgement]
    draw: Callable[[list[Row], Picture], None]
    seeds: int = 10
    size: tuple[float, float] = (8.0, 3.2)
    """Of the picture, in inches."""


@dataclass(frozen=True)
class Result:
    """A claim's outcome, as it is kept in results/NAME.json."""

    name: str
    number: int
    statement: str
    source: str
    command: str
    seeds: int
    seconds: float
    judgement: Judgement

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "Result":
        values = json.loads(text)
        judged = values.pop("judgement")
        numbers = tuple(Number(**number) for number in judged.pop("numbers"))
        return Result(**values, judgement=Judgement(**judged, numbers=numbers))


@dataclass(frozen=True, kw_only=True)
class Config:
    """Measure one claim."""

    out: Path | None = None
    """Folder for NAME.csv, NAME.json and NAME.png. Default: experiments/claims/results, or
    claims-quick with --quick."""
    quick: bool = False
    """Two seeds of the smallest size: shows that the script runs, not that the claim holds."""
    seeds: int | None = None
    """Independent repetitions. Default: the claim's own number."""
    engine: Engine = "here"
    """What runs them: here, processes, slurm or ray (`isojepa.jobs`); the last two need this folder
    on PYTHONPATH."""
    workers: int = 1
    """Repetitions at a time."""

    @property
    def folder(self) -> Path:
        return self.out or (QUICK if self.quick else RESULTS)


def main(claim: Claim) -> None:
    """Run one claim from the command line."""
    result = run(claim, tyro.cli(Config, description=claim.statement))
    print(f"{result.judgement.verdict}: {result.judgement.says}")
    for number in result.judgement.numbers:
        said = f" (published: {number.published})" if number.published else ""
        print(f"  {number.what}: {number}{said}")


def run(claim: Claim, config: Config) -> Result:
    """Measure what is missing, judge everything and draw it."""
    seeds = config.seeds or (2 if config.quick else claim.seeds)
    config.folder.mkdir(parents=True, exist_ok=True)
    file = config.folder / f"{claim.name}.csv"
    _measure(claim, file, config, seeds)
    rows = [row for row in read_rows(file) if row["seed"] < seeds]
    result = Result(
        claim.name,
        claim.number,
        claim.statement,
        claim.source,
        f"python experiments/claims/{claim.name}.py",
        seeds,
        round(sum(row["seconds"] for row in rows), 1),
        claim.judge(rows),
    )
    file.with_suffix(".json").write_text(result.to_json())
    with pyplot.style.context(STYLE):
        picture = pyplot.figure(figsize=claim.size, layout="constrained")
        claim.draw(rows, picture)
        picture.savefig(file.with_suffix(".png"), dpi=150)
        pyplot.close(picture)
    return result


def _measure(claim: Claim, file: Path, config: Config, seeds: int) -> None:
    """Add to the file the seeds that it lacks."""
    rows = read_rows(file) if file.is_file() else []
    if any(row["quick"] != config.quick for row in rows):
        rows = []  # a quick run's rows are no part of a full one, nor the reverse
    done, kind = {row["seed"] for row in rows}, "-quick" if config.quick else ""
    jobs = {
        f"{claim.name}{kind}-{seed}": partial(measure_seed, claim.name, seed, config.quick)
        for seed in range(seeds)
        if seed not in done
    }
    place = config.folder / "jobs"
    for ended in run_jobs(jobs, place, engine=config.engine, workers=config.workers):
        if ended.error is not None:
            raise RuntimeError(ended.error)
        rows = sorted([*rows, *ended.result], key=lambda row: row["seed"])
        _write_rows(file, rows)
        (place / f"{ended.name}.json").unlink()
    with suppress(OSError):
        place.rmdir()


def measure_seed(name: str, seed: int, quick: bool) -> list[Row]:
    """The rows of one repetition of the claim in NAME.py, with the seconds that each took."""
    claim: Claim = importlib.import_module(name).CLAIM
    start = time.perf_counter()
    fresh = [{"seed": seed, "quick": quick, **row} for row in claim.measure(seed, quick)]
    share = (time.perf_counter() - start) / len(fresh)
    rows = [{**row, "seconds": round(share, 4)} for row in fresh]
    return [{k: x.item() if isinstance(x, np.generic) else x for k, x in r.items()} for r in rows]


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file, numbers as numbers."""
    with path.open(newline="") as file:
        return [{name: _value(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def _value(cell: str) -> Any:
    if cell in ("True", "False"):
        return cell == "True"
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def _write_rows(path: Path, rows: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    part = path.with_suffix(".part")
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(path)


def where(rows: list[Row], **values: Any) -> list[Row]:
    """The rows with these values."""
    return [row for row in rows if all(row.get(name) == value for name, value in values.items())]


def column(rows: list[Row], name: str) -> np.ndarray:
    """One column of the rows."""
    return np.array([row[name] for row in rows], float)


def over_seeds(what: str, values: Sequence[float], published: str = "") -> Number:
    """The mean over seeds with Student's 95 % interval."""
    x = np.asarray(values, float)
    half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5 if len(x) > 1 else np.inf
    return Number(what, float(x.mean()), float(x.mean() - half), float(x.mean() + half), published)


STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}
COLOURS = ("#3d74b8", "#d0743c", "#4a9a63", "#8a5fa8", "#777777", "#b8433d")
