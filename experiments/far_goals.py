"""Near, far and walled goals in TwoRoom: which way of acting reaches them, over training seeds?

    python experiments/far_goals.py --out far-goals

For each training seed what `isojepa world demo` trains: 400 episodes of the noisy scripted policy
at 64 pixels, `lewm-micro`, 2,000 updates; then `isojepa world direct` as it is. All play the same
frozen pairs, of 300 episodes that none was trained on: 25, 50 and 100 steps ahead, and any two
frames with the wall between. Two tables: goals reached, and that less straight search's on the same
pairs. Shares are means over the training seeds; intervals draw training seeds and episodes anew.

What is there already is used again: an interruption loses at most a part of one arm. An hour and a
half of one core with the defaults, most of it search.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from isojepa.world import (
    CollectConfig,
    DirectConfig,
    PlanConfig,
    WorldTrainConfig,
    collect,
    plan_suite,
    train,
    train_direct,
)

ENVIRONMENT = "swm/TwoRoom-v1"
ARMS: dict[str, dict[str, Any]] = {
    "direct": {"planner": "direct"},
    "search": {"planner": "icem"},
    "search, not whitened": {"planner": "icem", "distance": "euclidean"},
    "learnt steps, begun at direct": {"planner": "icem", "distance": "reach", "seeded": True},
    "learnt steps": {"planner": "icem", "distance": "reach"},
    "graph": {"planner": "icem", "distance": "geodesic"},
}
"""What acts, by name: the settings of `isojepa world plan`."""
BASELINES = ("straight line", "random", "oracle")
PARTS = ("25", "50", "100", "walled")
AGAINST = "search"
DRAWS = 4000


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train and what to play."""

    out: Path
    """Folder for data, runs and results."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of the training episodes, the model and the networks on it."""
    arms: tuple[str, ...] = tuple(ARMS)
    """Which ways of acting, in this order."""
    pairs: int = 100
    """Of each kind of goal."""
    episodes: int = 400
    """To learn from."""
    steps: int = 2000
    """Updates of the world model."""
    direct_steps: int = 3000
    """Updates of the networks on its embeddings."""


def main(config: Config) -> None:
    """Make what is missing, print both tables and write OUT/results.json."""
    test = config.out / "test.h5"
    if not test.exists():
        collect(
            CollectConfig(
                env=ENVIRONMENT, out=test, episodes=300, steps=250, seed=1000, resume=True
            )
        )
    for seed in config.seeds:
        train_on(config, seed)
    for arm in config.arms:
        for seed in config.seeds:
            play(config, arm, seed, test)
    show(config)


def train_on(config: Config, seed: int) -> None:
    """The data, the model and the networks of one training seed."""
    train_run(
        run_of(config, seed), config.out / f"episodes-{seed}.h5", episodes=config.episodes,
        steps=config.steps, direct_steps=config.direct_steps, seed=seed,
    )  # fmt: skip


def train_run(
    run: Path, data: Path, *, episodes: int, steps: int, direct_steps: int, seed: int,
    vary: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """What is missing of the episodes, of the model on them, and of the networks on it."""
    if not (run / "world_model").is_dir():
        collect(
            CollectConfig(
                env=ENVIRONMENT, out=data, episodes=episodes, seed=seed, resume=True, vary=vary
            )
        )
        train(
            WorldTrainConfig(
                data=data, out=run, preset="lewm-micro", steps=steps, seed=seed,
                resume=(run / "config.json").is_file(),
            )
        )  # fmt: skip
    if not (run / "direct" / "direct.safetensors").is_file():
        train_direct(
            DirectConfig(
                run=run, steps=direct_steps, seed=seed,
                resume=(run / "direct" / "config.json").is_file(),
            )
        )  # fmt: skip


def play(config: Config, arm: str, seed: int, test: Path) -> None:
    """The suite by one way of acting; the baselines, which no model changes, only once."""
    out = config.out / "played" / f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}.json"
    if all(part_of(config, arm, seed, part).is_file() for part in PARTS):
        return
    first = arm == config.arms[0] and seed == config.seeds[0]
    plan_suite(
        PlanConfig(
            run=run_of(config, seed), data=test, suite=True, pairs=config.pairs, films=0,
            manifest=config.out / "pairs.json", baselines=first, out=out, **ARMS[arm],
        )
    )  # fmt: skip


def run_of(config: Config, seed: int) -> Path:
    return config.out / f"run-{seed}"


def part_of(config: Config, arm: str, seed: int, part: str) -> Path:
    name = arm.replace(", ", "-").replace(" ", "-")
    return config.out / "played" / f"{name}-{seed}-{part}.json"


def outcomes(
    config: Config, arm: str, part: str, rule: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Whether each pair was reached (seeds, n), by rule 0 or the strict rule 2, and its episode."""
    policy = arm if arm in BASELINES else "plan"
    of = (config.arms[0], config.seeds[:1]) if arm in BASELINES else (arm, config.seeds)
    files = [part_of(config, of[0], seed, part) for seed in of[1]]
    if not all(file.is_file() for file in files):
        return None
    found = [json.loads(file.read_text()) for file in files]
    episodes = np.array([pair[1] for pair in found[0]["played"]])
    return np.array([[one[rule] for one in x["outcomes"][policy]] for x in found], float), episodes


def interval(values: np.ndarray, episodes: np.ndarray) -> tuple[float, float]:
    """95 % of the mean of values (seeds, n), with seeds and episodes drawn anew."""
    random, (_, of) = np.random.default_rng(0), np.unique(episodes, return_inverse=True)
    sums = np.stack([np.bincount(of, row) for row in values])
    sizes, means = np.bincount(of), []
    for _ in range(DRAWS):
        rows = random.integers(len(sums), size=len(sums))
        drawn = random.integers(len(sizes), size=len(sizes))
        means.append(sums[rows][:, drawn].sum() / (len(rows) * sizes[drawn].sum()))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def one_result(config: Config, arm: str, part: str, rule: int) -> dict[str, Any]:
    """An arm's share and its interval, and less what it is compared with; {} if not played."""
    found, other = (outcomes(config, x, part, rule) for x in (arm, AGAINST))
    if found is None:
        return {}
    values, episodes = found
    result = {
        "success": [values.mean(), *interval(values, episodes)],
        "seeds": values.mean(1).tolist(),
        "pairs": values.shape[1],
        "episodes": len(set(episodes.tolist())),
    }
    if other is not None and arm != AGAINST:
        gap = values - other[0]
        result["less"] = [gap.mean(), *interval(gap, episodes)]
    return result


def cell(share: list[float] | None, seeds: tuple[float, ...] = ()) -> str:
    if share is None:
        return ""
    mean, low, high = (100 * x for x in share)
    each = f" ({', '.join(f'{100 * x:.0f}' for x in seeds)})" if len(seeds) > 1 else ""
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]{each}"


def show(config: Config) -> None:
    """Both tables, for both rules."""
    results = []
    for rule, words in ((0, "the environment's rule"), (2, "the strict rule")):
        reached = Table("", *PARTS, title=f"goals reached by {words}, %: mean [95 %] (by seed)")
        against = Table("", *PARTS, title=f"less {AGAINST}'s on the same pairs, points [95 %]")
        for arm in (*config.arms, *BASELINES):
            each = [one_result(config, arm, part, rule) for part in PARTS]
            results += [{"rule": words, "arm": arm, "part": p} | x for p, x in zip(PARTS, each)]
            reached.add_row(arm, *(cell(x.get("success"), tuple(x.get("seeds", ()))) for x in each))
            against.add_row(arm, *(cell(x.get("less")) for x in each))
        Console(width=180).print(reached)
        Console(width=180).print(against)
    (config.out / "results.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(tyro.cli(Config))
