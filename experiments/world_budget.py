"""How much training does planning need? Success against updates, beside random actions.

    python experiments/world_budget.py --out push-t --picture docs/images/push-t-budget.png

At reduced scale, on a CPU: episodes of the platform's scripted policy at 64 pixels, `lewm-micro`
trained anew for each number of updates, and image goals 25 steps ahead from held-out episodes, none
of them reached at the start (the strict protocol). One table, one picture, results in
OUT/results.json. PushT with the defaults: 15 minutes to collect on two cores,
25 to train, 5 to play.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from isojepa.world import CollectConfig, PlanConfig, WorldTrainConfig, collect, plan, train


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train and how often to try it."""

    out: Path
    """Folder for the data, the runs and results.json; what is there already is used again."""
    env: str = "swm/PushT-v1"
    """Id of the environment."""
    policy: str = "scripted"
    """Of the episodes: scripted or random."""
    episodes: int = 1500
    """To learn from."""
    updates: tuple[int, ...] = (1, 1000, 4000, 16000)
    """Trained anew for each."""
    pairs: int = 100
    """Start and goal pairs."""
    protocol: Literal["strict", "published"] = "strict"
    """strict or published."""
    budget: int = 50
    """Environment steps allowed."""
    seed: int = 0
    """Of everything."""
    picture: Path | None = None
    """PNG file to draw."""


def results_of(config: Config) -> list[dict[str, Any]]:
    """One entry per number of updates: what control.json holds, and the updates."""
    data = config.out / "episodes.h5"
    if not data.exists():
        collect(
            CollectConfig(
                env=config.env, out=data, episodes=config.episodes, policy=config.policy,
                seed=config.seed,
            )
        )  # fmt: skip
    results = []
    for updates in config.updates:
        run = config.out / f"{updates}"
        if not (run / "control.json").is_file():
            train(
                WorldTrainConfig(
                    data=data, out=run, preset="lewm-micro", steps=updates, seed=config.seed,
                    resume=(run / "config.json").is_file(),
                )
            )  # fmt: skip
            plan(
                PlanConfig(
                    run=run, pairs=config.pairs, protocol=config.protocol, budget=config.budget,
                    seed=config.seed, films=0, baselines=updates == config.updates[0],
                )
            )  # fmt: skip
        results.append(json.loads((run / "control.json").read_text()) | {"updates": updates})
    return results


def draw(results: list[dict[str, Any]], config: Config, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), dpi=120, layout="constrained")
    updates = [r["updates"] for r in results]
    success = [100 * r["success"] for r in results]
    low, high = ([100 * r["interval"][i] for r in results] for i in (0, 1))
    axes.fill_between(updates, low, high, color="#3d74b8", alpha=0.18, linewidth=0)
    axes.plot(updates, success, "o-", color="#3d74b8", label="planning with the model")
    for name, colour in (
        ("random", "#d0743c"),
        ("straight line", "#8a6bb1"),
        ("oracle", "#4c9a6a"),
    ):
        share = results[0].get("baselines", {}).get(name)
        if share is not None:
            axes.axhline(100 * share["success"], color=colour, linestyle="--", label=name)
    axes.set(xlabel="updates", ylabel="goals reached, %", xlim=(0, None), ylim=(0, 102))
    axes.set_title(f"{config.env}, {config.protocol} protocol, {config.pairs} pairs", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def main(config: Config) -> None:
    results = results_of(config)
    (config.out / "results.json").write_text(json.dumps(results, indent=2))
    table = Table("updates", "goals reached, %", title=f"{config.env}, {config.protocol} protocol")
    rows = [(f"{r['updates']:,}", r) for r in results]
    rows += list(results[0].get("baselines", {}).items())
    for name, share in rows:
        low, high = share["interval"]
        table.add_row(name, f"{100 * share['success']:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    Console().print(table)
    if config.picture is not None:
        draw(results, config, config.picture)


if __name__ == "__main__":
    main(tyro.cli(Config))
