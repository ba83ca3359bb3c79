"""Goals in TwoRoom under colours that the model was not trained on: what helps?

    python experiments/changed_colours.py --out changed-colours

Two data sets of 400 episodes of the noisy scripted policy: all in the usual colours, and each in
colours of its own (`world collect --vary colours`). On each, per training seed, what `isojepa world
demo` trains, `lewm-micro` for 2,000 updates, and `isojepa world direct` as it is. The direct policy
and search play the same frozen pairs of new episodes, goals behind the wall, in the usual colours
and with all colours drawn anew for each pair. Shares are means over training seeds; intervals draw
seeds and episodes anew.

What is there already is used again. Some 20 minutes of one core for each training seed.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from far_goals import ENVIRONMENT, cell, interval, train_run
from rich.console import Console
from rich.table import Table

from isojepa.world import CollectConfig, PlanConfig, collect, plan

TRAINED = {"usual colours": (), "varied colours": ("colours",)}
"""What the training episodes vary."""
PLAYED = TRAINED
ARMS = {"direct": "direct", "search": "icem"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train and what to play."""

    out: Path
    """Folder for data, runs and results."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the training episodes, the model and the networks on it."""
    pairs: int = 100
    """Of start and goal."""
    episodes: int = 400
    """To learn from."""
    steps: int = 2000
    """Updates of the world model."""
    direct_steps: int = 3000
    """Updates of the networks on its embeddings."""


def main(config: Config) -> None:
    """Make what is missing, print the table and write OUT/results.json."""
    test = config.out / "test.h5"
    if not test.exists():
        collect(CollectConfig(env=ENVIRONMENT, out=test, episodes=150, seed=1000, resume=True))
    for seed in config.seeds:
        for colours in TRAINED:
            run = run_of(config, colours, seed)
            train_run(
                run, run.with_suffix(".h5"), episodes=config.episodes, steps=config.steps,
                direct_steps=config.direct_steps, seed=seed, vary=TRAINED[colours],
            )  # fmt: skip
            for played in PLAYED:
                for arm in ARMS:
                    play(config, colours, seed, played, arm, test)
    show(config)


def play(config: Config, colours: str, seed: int, played: str, arm: str, test: Path) -> None:
    """The frozen pairs in some colours, by one way of acting."""
    out = outcome_of(config, colours, seed, played, arm)
    if not out.is_file():
        plan(
            PlanConfig(
                run=run_of(config, colours, seed), data=test, goals="walled", budget=100,
                pairs=config.pairs, films=0, baselines=False, out=out, planner=ARMS[arm],
                manifest=config.out / "pairs.json", vary=PLAYED[played],
            )
        )  # fmt: skip


def run_of(config: Config, colours: str, seed: int) -> Path:
    return config.out / f"{colours.split()[0]}-{seed}"


def outcome_of(config: Config, colours: str, seed: int, played: str, arm: str) -> Path:
    name = f"{colours.split()[0]}-in-{played.split()[0]}-{arm}-{seed}.json"
    return config.out / "played" / name


def show(config: Config) -> None:
    """Goals reached, for each way of training, acting and playing."""
    table = Table("trained on", "acts", *(f"in {played}" for played in PLAYED),
                  title="goals behind the wall reached, %: mean [95 %] (by seed)")  # fmt: skip
    results = []
    for colours in TRAINED:
        for arm in ARMS:
            cells = []
            for played in PLAYED:
                files = [outcome_of(config, colours, s, played, arm) for s in config.seeds]
                found = [json.loads(file.read_text()) for file in files]
                episodes = np.array([pair[1] for pair in found[0]["played"]])
                x = np.array([[one[0] for one in f["outcomes"]["plan"]] for f in found], float)
                share, each = [x.mean(), *interval(x, episodes)], x.mean(1).tolist()
                results.append({"trained": colours, "acts": arm, "played": played,
                                "success": share, "seeds": each})  # fmt: skip
                cells.append(cell(share, tuple(each)))
            table.add_row(colours, arm, *cells)
    Console(width=140).print(table)
    (config.out / "results.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(tyro.cli(Config))
