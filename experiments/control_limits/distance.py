"""Is it the latent distance? Straight and along a graph of embeddings, against the path.

    python experiments/control_limits/distance.py --out control-limits --pictures docs/images

On pairs of held-out frames; and far goals played with each, the same pairs for all.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest, spearmanr

from isojepa.randomness import seed_from
from isojepa.world import (
    Control,
    PlanConfig,
    Study,
    build_graph,
    embed_rows,
    episode_rows,
    open_control,
    open_study,
    sampled,
)
from play import Ways, attempt, in_words, share
from two_room import MODEL_COLOURS, Config, Results, answer, models, path_length, position

SOURCES, TARGETS = 100, 500
FAR, FAR_MORE, FAR_BUDGET = 60.0, 100.0, 100
METRICS = ("euclidean", "geodesic")


def measure(config: Config, results: Results) -> None:
    """The distances of each model, and the far goals that they reach."""
    for name, run in models(config, results):
        study = open_study(run, device="cpu")
        results.note("distance", name, partial(latent_distances, study, seed=config.seed))
        for metric in METRICS if "," not in name else ():
            results.note("far", f"{name}: {metric}", partial(far, run, metric, config))


def latent_distances(study: Study, *, seed: int) -> dict[str, Any]:
    """Latent distance between held-out frames, straight and along the graph, against the path."""
    data, model = study.trajectories, study.model
    rows = sampled(episode_rows(data, study.held_out), TARGETS, seed=seed)
    z, p = embed_rows(model, data, rows, words="embedding held-out frames"), position(data, rows)
    graph = build_graph(model.for_planning(), data, study.train, nodes=3000, seed=seed)
    some = np.arange(0, len(z), len(z) // SOURCES)
    goals, every = (torch.from_numpy(x) for x in (z[some], z))
    apart = {
        "straight": np.linalg.norm(z[some, None].astype(np.float64) - z, axis=-1),
        "graph": graph.towards(goals)(every.expand(len(some), 1, -1, -1))[:, 0].numpy(),
    }
    path = path_length(p[some, None], p[None])
    other = path > 0
    found: dict[str, Any] = {}
    for name, values in apart.items():
        unit = values / np.sqrt(2 * z.shape[1])  # between independent normal embeddings: about 1
        near = other & (path < FAR)
        found[name] = {
            "spearman": float(spearmanr(unit[other], path[other]).statistic),
            "spearman_near": float(spearmanr(unit[near], path[near]).statistic),
            "spearman_far": float(spearmanr(unit[path >= FAR], path[path >= FAR]).statistic),
            "curve": curve(path[other], unit[other]),
        }
    return found


def curve(x: np.ndarray, y: np.ndarray, width: float = 10.0) -> list[list[float]]:
    """Middle of each bin of x, and the quartiles of y in it."""
    place = (x // width).astype(int)
    return [
        [(k + 0.5) * width, *np.quantile(y[place == k], [0.25, 0.5, 0.75])]
        for k in np.unique(place)
        if (place == k).sum() >= 50
    ]


def far(run: Path, metric: Any, config: Config) -> dict[str, Any]:
    control = open_control(PlanConfig(run=run, device="cpu", distance=metric, budget=FAR_BUDGET))
    ways = far_pairs(control, config)
    return attempt(control, ways, budget=FAR_BUDGET, seed=config.seed)


def far_pairs(control: Control, config: Config) -> Ways:
    """Any two held-out frames that are far apart."""
    rows = episode_rows(control.trajectories, control.episodes)
    two = np.random.default_rng(seed_from(config.seed, 20)).choice(rows, (2, 20 * config.far_pairs))
    ends = [position(control.trajectories, side) for side in two]
    return Ways(*two[:, path_length(*ends) >= FAR][:, : config.far_pairs])


def show(results: Results) -> None:
    """Rank correlations, and the far goals reached."""
    console = Console(width=140)
    table = Table("model", "Spearman straight", "graph", "far: straight", "graph")
    for name, d in results["distance"].items():
        rho = [f"{d[how][key]:.2f}" for key in ("spearman", "spearman_far") for how in d]
        table.add_row(name, *rho)
    console.print(table)
    bins = {
        "all": (0.0, np.inf),
        f"under {FAR_MORE:.0f} px": (0.0, FAR_MORE),
        "above": (FAR_MORE, np.inf),
    }
    table = Table("model: distance", *(f"{words}, %" for words in bins), title="far goals")
    table.add_column("CPU seconds")
    for name, found in results["far"].items():
        parts = [in_words(by_path(found, *ends)) for ends in bins.values()]
        table.add_row(name, *parts, f"{found['cpu_seconds']:.0f}")
    console.print(table)
    for model in results["distance"]:
        if f"{model}: geodesic" in results["far"]:
            straight, graph = (
                np.array(results["far"][f"{model}: {metric}"]["reached"], bool)
                for metric in METRICS
            )
            gained, lost = int((graph & ~straight).sum()), int((straight & ~graph).sum())
            p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            console.print(f"{model}: the graph gained {gained} far goals, lost {lost}, p = {p:.2g}")


def by_path(found: dict[str, Any], low: float, high: float) -> dict[str, Any]:
    """Success on the pairs whose path is that long."""
    path, reached = np.array(found["left"])[:, 0], np.array(found["reached"], bool)
    return share(reached[(path >= low) & (path < high)])


def draw(results: Results, pyplot: Any) -> Any:
    """Latent distance against the path, medians and quartiles."""
    figure, panels = pyplot.subplots(1, 2, figsize=(8.0, 3.8), dpi=120, layout="constrained")
    for panel, how in zip(panels, ("straight", "graph")):
        for name in results["distance"]:
            found = results["distance"][name]
            x, low, middle, high = np.transpose(found[how]["curve"])
            rho = f"{name}: {found[how]['spearman']:.2f}"
            panel.fill_between(x, low, high, color=MODEL_COLOURS[name], alpha=0.12, linewidth=0)
            panel.plot(x, middle, color=MODEL_COLOURS[name], label=rho)
        panel.legend(frameon=False, title="rank correlation", alignment="left")
        panel.set(xlabel="path, pixels of 224", ylim=(0, None))
    panels[0].set(title="straight", ylabel="latent distance / sqrt(2 d)", ylim=(0, 2))
    panels[1].set(title="along the graph of embeddings")
    return figure


def main(config: Config) -> None:
    answer(config, measure, show, draw, "control-latent-distance.png")


if __name__ == "__main__":
    main(tyro.cli(Config))
