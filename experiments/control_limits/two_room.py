"""What the three questions share: TwoRoom, the models, the way between two places, and results.

Episodes of the platform's scripted policy at 64 pixels; `lewm-micro` trained at three embedding
dimensions, and once on open-loop rollouts. What is in OUT already is used again.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from isojepa.runs.folder import write_json
from isojepa.world import CollectConfig, Trajectories, WorldTrainConfig, collect, train

ENV, RADIUS = "swm/TwoRoom-v1", 16.0  # pixels of 224 within which a goal counts as reached
WALL, DOOR = (100.0, 124.0), (33.25, 64.75)  # where an agent's centre is stopped, and let through
MODELS: dict[str, dict[str, Any]] = {
    "d=4": {"embedding_dim": 4},
    "d=16": {"embedding_dim": 16},
    "d=64": {"embedding_dim": 64},
    "d=64, rollouts": {"embedding_dim": 64, "rollout_steps": 3},
}
MODEL_COLOURS = {
    "d=4": "#d0743c",
    "d=16": "#4c9a6a",
    "d=64": "#3d74b8",
    "d=64, rollouts": "#8a5fb0",
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to train and how often to try it."""

    out: Path
    """Folder for the data, the runs and results.json; what is there already is used again."""
    data: Path | None = None
    """Episodes of TwoRoom as `isojepa world collect` writes them. Default: collect them."""
    episodes: int = 500
    """To collect; a fifth is held out."""
    updates: int = 1000
    """Of each model."""
    pairs: int = 100
    """Starts and goals 25 steps apart in a held-out episode, none solved at the start."""
    far_pairs: int = 60
    """Starts and goals from any two held-out frames, at least 60 pixels of path apart."""
    seed: int = 0
    """Of everything."""
    pictures: Path | None = None
    """Folder to draw into."""
    plot_only: bool = False
    """Draw and print what an earlier run wrote."""


@dataclass(frozen=True)
class Results:
    """OUT/results.json: kind -> name -> what was found; what it holds already is kept."""

    path: Path
    found: dict[str, Any]

    def __getitem__(self, kind: str) -> dict[str, Any]:
        """By name, in the order of the models."""
        order = list(MODELS)
        names = sorted(self.found.get(kind, {}), key=lambda name: order.index(name.split(": ")[0]))
        return {name: self.found[kind][name] for name in names}

    def note(self, kind: str, name: str, make: Callable[[], Any]) -> None:
        """Measure it and write it down, unless it is there."""
        if name not in self.found.setdefault(kind, {}):
            self.found[kind][name] = make()
            write_json(self.path, self.found)
            print(f"{kind}: {name}", flush=True)


def opened(config: Config) -> Results:
    """The results of an earlier run with these settings, or none yet."""
    path = config.out / "results.json"
    asked = {k: getattr(config, k) for k in ("updates", "pairs", "far_pairs", "seed")}
    found = read_json(path) if path.is_file() else {"config": asked}
    if not config.plot_only and found["config"] != asked:
        raise SystemExit(f"{path} was measured with {found['config']}; choose another --out")
    return Results(path, found)


def models(config: Config, results: Results) -> Iterator[tuple[str, Path]]:
    """The name and the run of each model, trained if it is not there; the episodes likewise."""
    data = config.data or config.out / "episodes.h5"
    if not data.exists():
        collect(CollectConfig(env=ENV, out=data, episodes=config.episodes, seed=config.seed))
    for name in sorted(MODELS, key=lambda name: name != "d=64"):
        run = trained(name, data, config)
        results.note("training", name, partial(read_json, run / "config.json"))
        yield name, run


def read_json(path: Path) -> Any:
    """What the file holds."""
    return json.loads(path.read_text())


def trained(name: str, data: Path, config: Config) -> Path:
    """The run folder of one model, trained if it is not there."""
    run = config.out / name.replace("=", "").replace(", ", "-").replace(" ", "-")
    if not (run / "world_model" / "config.json").is_file():
        train(
            WorldTrainConfig(
                data=data, out=run, preset="lewm-micro", steps=config.updates, held_out=0.2,
                device="cpu", seed=config.seed, resume=(run / "config.json").is_file(),
                **MODELS[name],
            )
        )  # fmt: skip
    return run


def position(data: Trajectories, rows: Int64[np.ndarray, " n"]) -> Float[np.ndarray, "n two"]:
    """Where the agent is, in pixels."""
    return data.column("proprio")[rows].astype(np.float64)


def path_length(
    a: Float[np.ndarray, "*n two"], b: Float[np.ndarray, "*n two"]
) -> Float[np.ndarray, "*n"]:
    """Length of the shortest way between two positions, through the door if they need it."""
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    swap = (a[..., :1] > b[..., :1]).repeat(2, -1)
    left, right = np.where(swap, b, a), np.where(swap, a, b)
    ways = [
        np.linalg.norm(left - [WALL[0], y], axis=-1)
        + np.hypot(WALL[1] - WALL[0], y - z)
        + np.linalg.norm(right - [WALL[1], z], axis=-1)
        for y in np.linspace(*DOOR, 9)
        for z in np.linspace(*DOOR, 9)
    ]
    middle = sum(WALL) / 2
    across = (left[..., 0] < middle) & (right[..., 0] >= middle)
    return np.where(across, np.min(ways, 0), np.linalg.norm(a - b, axis=-1))


def answer(
    config: Config,
    measure: Callable[[Config, Results], None],
    show: Callable[[Results], None],
    draw: Callable[[Results, Any], Any],
    picture: str,
) -> None:
    """One question: what it measures, the tables it prints and the picture it draws."""
    results = opened(config)
    if not config.plot_only:
        measure(config, results)
    show(results)
    if config.pictures is None:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    config.pictures.mkdir(parents=True, exist_ok=True)
    draw(results, pyplot).savefig(config.pictures / picture)
