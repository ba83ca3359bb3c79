"""Is it the planner? Goals 25 steps ahead under each setting of the search.

    python experiments/control_limits/planner.py --out control-limits --pictures docs/images

The published planner, and ours, taken apart: how much of a plan is executed, which of its steps is
judged, and whether each search begins at what is left of the last plan.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from isojepa.world import Control, PlanConfig, draw_pairs, open_control
from play import Ways, attempt, in_words
from two_room import Config, Results, answer, models

SETTINGS: dict[str, dict[str, Any]] = {
    "published": {"recipe": "published"},
    "published, replanning, last step": {"recipe": "published", "execute": 1},
    "published, replanning from scratch, last step": {
        "recipe": "published", "execute": 1, "warm_start": False,
    },
    "published, replanning, any step": {"recipe": "published", "execute": 1, "cost": "any"},
    "ours, last step": {"cost": "last"},
    "ours": {},
}  # fmt: skip
SETTING_COLOURS = {
    "published": "#777777", "published, replanning, last step": "#d0743c",
    "published, replanning from scratch, last step": "#a03c20",
    "published, replanning, any step": "#4c9a6a", "ours, last step": "#7fa8d8", "ours": "#3d74b8",
    "euclidean": "#3d74b8", "geodesic": "#8a5fb0",
}  # fmt: skip


def measure(config: Config, results: Results) -> None:
    """The goals that each model reaches: one under all settings, the others under two."""
    for name, run in models(config, results):
        for setting in SETTINGS if name == "d=64" else ("published", "ours"):
            results.note("near", f"{name}: {setting}", partial(near, run, setting, config))


def near(run: Path, setting: str, config: Config) -> dict[str, Any]:
    options = dict(SETTINGS[setting])
    warm_start = options.pop("warm_start", True)
    control = open_control(PlanConfig(run=run, device="cpu", **options))
    ways = near_pairs(control, config)
    return attempt(control, ways, budget=50, seed=config.seed, warm_start=warm_start)


def near_pairs(control: Control, config: Config) -> Ways:
    """The pairs of the strict protocol."""
    data, known = control.trajectories, control.known
    pairs = draw_pairs(
        data, control.episodes, count=config.pairs, offset=25, seed=config.seed,
        distance=known.distance, solved=known.solved,
    )  # fmt: skip
    return Ways(pairs.rows(data, goal=False), pairs.rows(data, goal=True))


def show(results: Results) -> None:
    """The goals reached."""
    table = Table("model: setting", "all, %", "CPU seconds", title="goals 25 steps ahead")
    for name, found in results["near"].items():
        table.add_row(name, in_words(found), f"{found['cpu_seconds']:.0f}")
    Console(width=140).print(table)


def draw(results: Results, pyplot: Any) -> Any:
    """Success with its intervals, at far goals too; and for one model what is left every block."""
    rows = [(kind, name) for kind in ("near", "far") for name in results[kind]]
    figure = pyplot.figure(figsize=(8.0, 8.0), dpi=120, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    upper, lower = above.subplots(), below.subplots()
    for y, (kind, name) in enumerate(rows):
        found, colour = results[kind][name], SETTING_COLOURS[name.split(": ")[1]]
        low, high = (100 * v for v in found["interval"])
        upper.plot([low, high], [y, y], color=colour, linewidth=2, alpha=0.5)
        upper.plot(100 * found["success"], y, "o", color=colour)
    far = "{}, 60 px and more"
    upper.set_yticks(range(len(rows)), [far.format(n) if k == "far" else n for k, n in rows])
    upper.axhline(len(results["near"]) - 0.5, color="#cccccc", linewidth=1)
    upper.invert_yaxis()
    upper.set(xlabel="goals reached, %, with 95 % intervals", xlim=(40, 101))
    upper.grid(axis="x", alpha=0.25)
    for setting in SETTINGS:
        trace = np.array(results["near"][f"d=64: {setting}"]["left"])
        steps = 50 // trace.shape[1] * np.arange(trace.shape[1])
        colour = SETTING_COLOURS[setting]
        lower.plot(steps, 100 * (trace > 0).mean(0), "o-", color=colour, label=setting)
    lower.set(xlabel="environment steps", ylabel="not yet reached, %", ylim=(0, 102))
    lower.set_title("d=64, goals 25 steps ahead", fontsize=10)
    below.legend(loc="outside right center", frameon=False, fontsize=8.5)
    return figure


def main(config: Config) -> None:
    answer(config, measure, show, draw, "control-success.png")


if __name__ == "__main__":
    main(tyro.cli(Config))
