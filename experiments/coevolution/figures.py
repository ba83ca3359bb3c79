"""Tables, plots and the page of the co-evolution experiment, from its CSV file alone.

Interquartile means over seeds with 95 % bootstrap intervals (SciPy's BCa, percentile where that is
undefined); differences between arms are paired by seed.
"""

import csv
import warnings
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from arms import ARMS, PAIRS, TASKS
from scipy import stats

matplotlib.use("Agg")
from matplotlib import pyplot

MARKS = "<!-- results -->", "<!-- /results -->"
LAST = {
    "test_return": "return at the end", "test_success": "success", "changed_return":
    "return with other distractors", "transfer_return": "return on the second task",
    "probe_state": "state read (R²)", "probe_distractors": "distractors read (R²)",
    "probe_reward": "reward read (R²)", "effective_rank": "effective rank",
    "dormant": "dormant units", "gaussianity_p": "p of N(0, I)",
}  # fmt: skip
OVER_TIME = ("test_return", "effective_rank", "probe_state_over_time",
             "probe_distractors_over_time")  # fmt: skip
Table = dict[tuple[str, str, str], dict[int, list[tuple[int, float]]]]
"""(task, arm, metric) -> seed -> (environment steps, value), in order."""


class Estimate(NamedTuple):
    """An interquartile mean and its interval."""

    value: float
    low: float
    high: float
    seeds: int

    def __str__(self) -> str:
        if self.seeds < 3:
            return f"{self.value:.3g} ({self.seeds} seeds)"
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def iqm(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half."""
    return np.asarray(stats.trim_mean(x, 0.25, axis=axis))


def estimate(values: list[float]) -> Estimate:
    """Of one value per seed; no interval below three."""
    x = np.array(values, float)
    value = float(iqm(x))
    if len(x) < 3 or np.ptp(x) == 0:
        return Estimate(value, value, value, len(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"vectorized": True, "rng": np.random.default_rng(0)}
        found = stats.bootstrap((x,), iqm, method="BCa", **options).confidence_interval
        if not np.isfinite(found).all():
            found = stats.bootstrap((x,), iqm, method="percentile", **options).confidence_interval
    return Estimate(value, float(found.low), float(found.high), len(x))


def read(path: Path) -> Table:
    """The CSV file."""
    table: Table = defaultdict(lambda: defaultdict(list))
    with path.open() as file:
        for row in csv.DictReader(file):
            key = row["task"], row["arm"], row["metric"]
            table[key][int(row["seed"])].append((int(row["env_steps"]), float(row["value"])))
    for seeds in table.values():
        for points in seeds.values():
            points.sort()
    return table


def at_the_end(table: Table, task: str, arm: str, metric: str) -> dict[int, float]:
    """The last value of each seed."""
    return {seed: points[-1][1] for seed, points in table.get((task, arm, metric), {}).items()}


def tables(table: Table) -> str:
    """What the arms came to, and their differences, as Markdown."""
    lines: list[str] = []
    for task in [name for name in TASKS if any(key[0] == name for key in table)]:
        arms = [arm for arm in ARMS if any(key[:2] == (task, arm) for key in table)]
        lines += [f"### {task}", "", "| | " + " | ".join(arms) + " |"]
        lines += ["|---|" + "---|" * len(arms)]
        for metric, name in LAST.items():
            ends = [at_the_end(table, task, arm, metric) for arm in arms]
            if any(ends):
                cells = [str(estimate(list(end.values()))) if end else "" for end in ends]
                lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines += ["", "| difference, paired by seed | return at the end |", "|---|---|"]
        for name, (one, other) in PAIRS.items():
            x, y = (at_the_end(table, task, arm, "test_return") for arm in (one, other))
            both = sorted(x.keys() & y.keys())
            if both:
                lines.append(f"| {name} | {estimate([x[seed] - y[seed] for seed in both])} |")
        lines += ["", f"![{task}](images/coevolution/{task}.png)", ""]
    return "\n".join(lines)


def draw(table: Table, task: str, path: Path) -> None:
    """Curves over environment steps, an arm each: the mean of the middle half, and all seeds."""
    figure, axes = pyplot.subplots(1, len(OVER_TIME), figsize=(4 * len(OVER_TIME), 3.2))
    for axis, metric in zip(axes, OVER_TIME, strict=True):
        for i, arm in enumerate(ARMS):
            seeds = table.get((task, arm, metric), {})
            for points in seeds.values():
                axis.plot(*zip(*points, strict=True), color=f"C{i}", alpha=0.25, lw=0.8)
            shared = {len(points) for points in seeds.values()}
            if len(shared) == 1:
                curves = np.array([[y for _, y in points] for points in seeds.values()])
                steps = [x for x, _ in next(iter(seeds.values()))]
                axis.plot(steps, iqm(curves, axis=0), color=f"C{i}", lw=2, label=arm)
        axis.set(title=metric.removesuffix("_over_time").replace("_", " "), xlabel="steps")
    axes[0].legend(frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def write_page(results: Path, docs: Path) -> None:
    """Put tables between the marks of coevolution.md, and the plots beside it."""
    table = read(results)
    for task in {key[0] for key in table}:
        draw(table, task, docs / "images" / "coevolution" / f"{task}.png")
    page = docs / "coevolution.md"
    text = page.read_text() if page.is_file() else "\n".join(MARKS)
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(f"{before}{MARKS[0]}\n{tables(table)}\n{MARKS[1]}{after}")
    print(f"{page}: {len(table)} series")
