"""Time per decision of one robot: the direct policy against search, same model, same process.

A decision is what `policy.act` does when it looks: encode the frame, decide on a block. The weights
are random, so search runs to the end more often than with a trained model; give --run for one.

    python benchmarks/acting.py --preset lewm-micro
    python benchmarks/acting.py --run RUN      # with `isojepa world direct --run RUN` made before

Cost: a minute of one core. `--quick`: some seconds.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table

from isojepa.world import (
    OURS,
    PRESETS,
    PUBLISHED,
    DirectGoalPolicy,
    GoalNetworks,
    GoalSizes,
    VectorPolicy,
    WorldModel,
    load_goal_networks,
    load_world_model,
    planning_policy,
)

ACTIONS = 2  # of the robot


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    preset: str = "lewm-micro"
    """Sizes of the model with random weights."""
    run: Path | None = None
    """A trained run in its place."""
    clock: Literal["wall", "cpu"] = "wall"
    """cpu counts this process's time on all its threads, for a machine that is busy otherwise."""
    turns: int = 15
    """Decisions of each; the ratio is taken turn by turn, and its median shown."""
    quick: bool = False
    """Three turns."""


def models(config: Config) -> tuple[WorldModel, GoalNetworks]:
    """The world model and the networks on its embeddings."""
    if config.run is not None:
        model, networks = load_world_model(config.run), load_goal_networks(config.run)
        if networks is None:
            raise SystemExit(f"{config.run}: isojepa world direct --run {config.run} comes first")
        return model.for_planning(), networks
    torch.manual_seed(0)
    spec = PRESETS[config.preset].spec
    a = ACTIONS * spec.frame_skip
    ones, zeros = (1.0,) * ACTIONS, (0.0,) * ACTIONS
    model = WorldModel(replace(spec, action_dim=a, action_mean=zeros, action_std=ones)).eval()
    sizes = GoalSizes(embedding_dim=spec.embedding_dim, action_dim=a, frame_skip=spec.frame_skip)
    return model.for_planning(), GoalNetworks(sizes).eval()


def main(config: Config) -> None:
    """Print the table, and last one line of JSON."""
    torch.set_num_threads(1)
    model, networks = models(config)
    actions = model.action_dim // model.frame_skip
    low, high = -np.ones(actions, np.float32), np.ones(actions, np.float32)
    whitened = torch.eye(model.embedding_dim)  # costs what any matrix does
    policies: dict[str, VectorPolicy] = {
        "direct": DirectGoalPolicy(model, networks, low=low, high=high),
        "search, ours": planning_policy(model, OURS, low, high, whitening=whitened),
        "search, published": planning_policy(model, PUBLISHED, low, high),
    }
    clock: Callable[[], float] = time.process_time if config.clock == "cpu" else time.perf_counter
    random, side = np.random.default_rng(0), model.frame_size
    seconds: dict[str, list[float]] = {name: [] for name in policies}
    for turn in range((3 if config.quick else config.turns) + 1):
        frame, goal = random.integers(0, 256, (2, side, side, 3), np.uint8)
        for name, policy in policies.items():
            policy.reset()
            began = clock()
            policy.act(frame, goal)
            if turn:  # the first warms up
                seconds[name].append(clock() - began)
    table = Table(title=f"one decision, one thread, {config.clock} time")
    for column in ("", "ms, median", "times the direct policy's"):
        table.add_column(column, justify="right" if column else "left")
    ratios = {}
    for name, own in seconds.items():
        ratio = statistics.median(x / y for x, y in zip(own, seconds["direct"]))
        ratios[f"{name} / direct"] = round(ratio, 2)
        table.add_row(name, f"{1000 * statistics.median(own):.2f}", f"{ratio:.1f}")
    Console().print(table)
    del ratios["direct / direct"]
    print(json.dumps({"benchmark": "acting", "ratios": ratios}))


if __name__ == "__main__":
    main(tyro.cli(Config))
