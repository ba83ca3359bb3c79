"""What limits image-goal control: the rollout, the metric or the planner? TwoRoom, taken apart.

    python experiments/control_limits.py --out control-limits --pictures docs/images

Episodes of the platform's scripted policy at 64 pixels; `lewm-micro` trained at three embedding
dimensions, and once on open-loop rollouts; then, on held-out episodes, how far predictions stray
from where the recorded actions lead, how latent distance goes with the length of the path, and how
often goals are reached under each setting of the planner. What is in OUT already is used again.
Some 25 minutes on one core; results in OUT/results.json, from which `--plot-only` draws.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import tyro
from jaxtyping import Float, Int64
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest, spearmanr

from isojepa.randomness import seed_from
from isojepa.runs.folder import write_json
from isojepa.runs.typed import to_json
from isojepa.world import (
    CollectConfig,
    Control,
    Observation,
    PlanConfig,
    PlanningPolicy,
    Study,
    Trajectories,
    VectorPolicy,
    WorldTrainConfig,
    build_graph,
    clip_index,
    collect,
    draw_pairs,
    embed_rows,
    encode_clips,
    episode_rows,
    fit_probe,
    open_control,
    open_study,
    platform_envs,
    run_episodes,
    sampled,
    success_rate,
    train,
)

ENV, RADIUS = "swm/TwoRoom-v1", 16.0  # pixels of 224 within which a goal counts as reached
WALL, DOOR = (100.0, 124.0), (33.25, 64.75)  # where an agent's centre is stopped, and let through
BLOCKS, CLIPS, READ, SOURCES, TARGETS = 8, 400, 4000, 100, 500
FAR, FAR_MORE, FAR_BUDGET = 60.0, 100.0, 100
AT_ONCE = 50  # episodes
MODELS: dict[str, dict[str, Any]] = {
    "d=4": {"embedding_dim": 4},
    "d=16": {"embedding_dim": 16},
    "d=64": {"embedding_dim": 64},
    "d=64, rollouts": {"embedding_dim": 64, "rollout_steps": 3},
}
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
MODEL_COLOURS = {
    "d=4": "#d0743c",
    "d=16": "#4c9a6a",
    "d=64": "#3d74b8",
    "d=64, rollouts": "#8a5fb0",
}
SETTING_COLOURS = {
    "published": "#777777", "published, replanning, last step": "#d0743c",
    "published, replanning from scratch, last step": "#a03c20",
    "published, replanning, any step": "#4c9a6a", "ours, last step": "#7fa8d8", "ours": "#3d74b8",
    "euclidean": "#3d74b8", "geodesic": "#8a5fb0",
}  # fmt: skip


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


# Training


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


# The prediction and the metric


def position(data: Trajectories, rows: Int64[np.ndarray, " n"]) -> Float[np.ndarray, "n two"]:
    return data.column("proprio")[rows].astype(np.float64)


def rollout_errors(study: Study, *, seed: int) -> dict[str, Any]:
    """Pixels between where recorded actions led and where a reader sees the open-loop rollout.

    The readers, linear and not, are fitted to embeddings of training frames; their own errors, on
    the embeddings of the true frames, are given beside.
    """
    data, model = study.trajectories, study.model
    rows = sampled(episode_rows(data, study.train), READ, seed=seed)
    z_train = embed_rows(model, data, rows, words="embedding training frames")
    skip = model.frame_skip
    index = sampled(
        clip_index(data, study.held_out, frames=BLOCKS + 1, frame_skip=skip), CLIPS, seed=seed
    )
    clips = data.clips(index, frames=BLOCKS + 1, frame_skip=skip, scale=model.scale)
    z = encode_clips(model, clips.frames)
    rolled = model.rollout(z[:, :1], clips.actions[:, :0], clips.actions[:, None, :BLOCKS])[:, 0]
    first = np.cumsum(data.lengths) - data.lengths
    at = (first[index[:, 0]] + index[:, 1])[:, None] + skip * np.arange(BLOCKS + 1)
    truth = position(data, at.ravel()).reshape(len(index), BLOCKS + 1, 2)
    both = np.stack([rolled.detach().numpy(), z[:, 1:].numpy()])
    found: dict[str, Any] = {
        "moved": np.linalg.norm(truth[:, 1:] - truth[:, :1], axis=-1).mean(0).tolist(),
        "latent": (rolled - z[:, 1:]).square().mean((0, 2)).sqrt().tolist(),
    }
    for reader in ("linear", "mlp"):
        guess = fit_probe(
            reader, z_train, position(data, rows), both.reshape(-1, z.shape[-1]), seed=seed
        )
        off = np.linalg.norm(guess.reshape(2, *truth[:, 1:].shape) - truth[:, 1:], axis=-1)
        found[reader] = {"rollout": off[0].mean(0).tolist(), "itself": off[1].mean(0).tolist()}
        found[reader]["within"] = (off[0] < RADIUS).mean(0).tolist()
    return found


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


# Control


class Ways(NamedTuple):
    """Starts and goals: rows of the data set."""

    starts: Int64[np.ndarray, " n"]
    goals: Int64[np.ndarray, " n"]


class Watched(VectorPolicy):
    """A policy that plans, and where its agents were whenever it was asked."""

    def __init__(self, policy: PlanningPolicy) -> None:
        self.policy, self.places = policy, list[tuple[np.ndarray, np.ndarray]]()

    def begin(self, b: int, goals: np.ndarray | None) -> None:
        """See `VectorPolicy`."""
        self.policy.begin(b, goals)

    def actions(self, observation: Observation) -> np.ndarray:
        """See `VectorPolicy`."""
        place = np.array(observation.state["proprio"], np.float64)
        self.places.append((observation.rows, place))
        return self.policy.actions(observation)


def near_pairs(control: Control, config: Config) -> Ways:
    """The pairs of the strict protocol."""
    data, known = control.trajectories, control.known
    pairs = draw_pairs(
        data, control.episodes, count=config.pairs, offset=25, seed=config.seed,
        distance=known.distance, solved=known.solved,
    )  # fmt: skip
    return Ways(pairs.rows(data, goal=False), pairs.rows(data, goal=True))


def far_pairs(control: Control, config: Config) -> Ways:
    """Any two held-out frames that are far apart."""
    rows = episode_rows(control.trajectories, control.episodes)
    two = np.random.default_rng(seed_from(config.seed, 20)).choice(rows, (2, 20 * config.far_pairs))
    ends = [position(control.trajectories, side) for side in two]
    return Ways(*two[:, path_length(*ends) >= FAR][:, : config.far_pairs])


def attempt(
    control: Control, ways: Ways, *, budget: int, seed: int, warm_start: bool = True
) -> dict[str, Any]:
    """Play the pairs; success, and the path that is left at the start and after every block.

    What is left is 0 once the goal is reached.

    Args:
        warm_start: begin each search at what is left of the last plan.
    """
    data, known, clock = control.trajectories, control.known, time.process_time()
    rows_of = [[{k: data.column(k)[r] for k in known.needs} for r in side] for side in ways]
    goal = position(data, ways.goals)
    success, left, seconds, plans = [], [], 0.0, 0
    envs = platform_envs(
        known.id, *rows_of, at_once=AT_ONCE, frame_size=control.model.frame_size, seed=seed
    )
    for first, env in envs:
        b = len(env.goals)
        planning = control.policy(env.low, env.high, seed=seed_from(seed, first))
        planning.warm_start = warm_start
        policy = Watched(planning)
        policy.begin(b, env.goal_frames)
        success.append(run_episodes(env, policy, b=b, budget=budget).success)
        trace = np.zeros((b, budget // control.model.frame_skip))
        for k, (rows, places) in enumerate(policy.places):
            trace[rows, k] = path_length(places, goal[first + rows])
        left.append(trace)
        seconds, plans = seconds + planning.total_seconds, plans + planning.total_plans
    reached = np.concatenate(success)
    return {
        **share(reached),
        "reached": reached.astype(int).tolist(),
        "left": np.concatenate(left).round(1).tolist(),
        "plan_ms": 1000 * seconds / plans,
        "cpu_seconds": time.process_time() - clock,
    }


def share(reached: np.ndarray) -> dict[str, Any]:
    return to_json(success_rate(reached))


# All of it


def measured(config: Config) -> dict[str, Any]:
    """Everything there is to say, as results.json holds it; what it holds already is kept."""
    data, path = config.data or config.out / "episodes.h5", config.out / "results.json"
    if not data.exists():
        collect(CollectConfig(env=ENV, out=data, episodes=config.episodes, seed=config.seed))
    asked = {k: getattr(config, k) for k in ("updates", "pairs", "far_pairs", "seed")}
    results = json.loads(path.read_text()) if path.is_file() else {"config": asked}
    if results["config"] != asked:
        raise SystemExit(f"{path} was measured with {results['config']}; choose another --out")

    def note(kind: str, name: str, make: Callable[[], Any]) -> None:
        if name not in results.setdefault(kind, {}):
            results[kind][name] = make()
            write_json(path, results)
            print(f"{kind}: {name}", flush=True)

    for name in sorted(MODELS, key=lambda name: name != "d=64"):
        run = trained(name, data, config)
        note("training", name, lambda run=run: json.loads((run / "config.json").read_text()))
        study = open_study(run, device="cpu")
        note("rollout", name, lambda study=study: rollout_errors(study, seed=config.seed))
        note("distance", name, lambda study=study: latent_distances(study, seed=config.seed))
        for setting in SETTINGS if name == "d=64" else ("published", "ours"):
            note("near", f"{name}: {setting}", lambda run=run, s=setting: near(run, s, config))
        for metric in ("euclidean", "geodesic") if "," not in name else ():
            note("far", f"{name}: {metric}", lambda run=run, m=metric: far(run, m, config))
    return results


def near(run: Path, setting: str, config: Config) -> dict[str, Any]:
    options = dict(SETTINGS[setting])
    warm_start = options.pop("warm_start", True)
    control = open_control(PlanConfig(run=run, device="cpu", **options))
    ways = near_pairs(control, config)
    return attempt(control, ways, budget=50, seed=config.seed, warm_start=warm_start)


def far(run: Path, metric: Any, config: Config) -> dict[str, Any]:
    control = open_control(PlanConfig(run=run, device="cpu", distance=metric, budget=FAR_BUDGET))
    ways = far_pairs(control, config)
    return attempt(control, ways, budget=FAR_BUDGET, seed=config.seed)


# What it looks like


def in_words(found: dict[str, Any]) -> str:
    low, high = found["interval"]
    words = f"{100 * found['success']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{words}, n = {found['pairs']}"


def show(results: dict[str, Any]) -> None:
    console = Console(width=140)
    table = Table("model", "linear reader, px", "mlp reader, px", "1 block ahead", "5", "8",
                  "Spearman straight", "graph", "far: straight", "graph",
                  title="held-out episodes")  # fmt: skip
    for name in in_order(results["rollout"]):
        r, d = results["rollout"][name], results["distance"][name]
        ahead = [f"{r['mlp']['rollout'][k - 1]:.1f}" for k in (1, 5, BLOCKS)]
        itself = [f"{np.mean(r[reader]['itself']):.1f}" for reader in ("linear", "mlp")]
        rho = [f"{d[how][key]:.2f}" for key in ("spearman", "spearman_far") for how in d]
        table.add_row(name, *itself, *ahead, *rho)
    console.print(table)
    for kind, title in (("near", "goals 25 steps ahead"), ("far", "far goals")):
        bins = {"all": (0.0, np.inf)}
        if kind == "far":
            bins |= {f"under {FAR_MORE:.0f} px": (0.0, FAR_MORE), "above": (FAR_MORE, np.inf)}
        table = Table("model: setting", *(f"{words}, %" for words in bins), title=title)
        table.add_column("CPU seconds")
        for name in in_order(results[kind]):
            found = results[kind][name]
            parts = [in_words(by_path(found, *ends)) for ends in bins.values()]
            table.add_row(name, *parts, f"{found['cpu_seconds']:.0f}")
        console.print(table)
    for model in MODELS:
        if f"{model}: geodesic" in results["far"]:
            straight, graph = (
                np.array(results["far"][f"{model}: {metric}"]["reached"], bool)
                for metric in ("euclidean", "geodesic")
            )
            gained, lost = int((graph & ~straight).sum()), int((straight & ~graph).sum())
            p = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            console.print(f"{model}: the graph gained {gained} far goals, lost {lost}, p = {p:.2g}")


def by_path(found: dict[str, Any], low: float, high: float) -> dict[str, Any]:
    """Success on the pairs whose path is that long."""
    path, reached = np.array(found["left"])[:, 0], np.array(found["reached"], bool)
    return share(reached[(path >= low) & (path < high)])


def draw(results: dict[str, Any], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (
        ("rollout-error", draw_rollouts), ("latent-distance", draw_distances),
        ("success", draw_success),
    ):  # fmt: skip
        make(results, pyplot).savefig(folder / f"control-{name}.png")
        pyplot.close()


def draw_rollouts(results: dict[str, Any], pyplot: Any) -> Any:
    figure, axes = pyplot.subplots(figsize=(8.0, 3.8), dpi=120, layout="constrained")
    blocks = np.arange(1, BLOCKS + 1)
    for name in in_order(results["rollout"]):
        found = results["rollout"][name]
        axes.plot(blocks, found["mlp"]["rollout"], "o-", color=MODEL_COLOURS[name], label=name)
        axes.plot(blocks, found["mlp"]["itself"], ":", color=MODEL_COLOURS[name])
    moved = results["rollout"]["d=64"]["moved"]
    axes.plot(blocks, moved, color="#999999", label="the agent itself moved")
    axes.axhline(RADIUS, color="#333333", linestyle="--", linewidth=1)
    axes.text(BLOCKS, RADIUS + 1, "counts as reached", ha="right", color="#333333")
    axes.set(xlabel="blocks of five steps ahead, open loop", ylabel="mean error, pixels of 224")
    axes.set(ylim=(0, 60), title="Where the rollout is, against where the recorded actions led")
    axes.plot([], [], ":", color="#333333", label="the reader's own error")
    axes.legend(frameon=False, ncols=2)
    return figure


def draw_distances(results: dict[str, Any], pyplot: Any) -> Any:
    figure, panels = pyplot.subplots(1, 2, figsize=(8.0, 3.8), dpi=120, layout="constrained")
    for panel, how in zip(panels, ("straight", "graph")):
        for name in in_order(results["distance"]):
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


def draw_success(results: dict[str, Any], pyplot: Any) -> Any:
    """Success with its intervals; and, for one model, how much of the way is left every block."""
    rows = [(kind, name) for kind in ("near", "far") for name in in_order(results[kind])]
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


def in_order(found: dict[str, Any]) -> list[str]:
    """The names of what was found, in the order of models and settings."""
    settings = [*SETTINGS, "euclidean", "geodesic"]
    names = [*MODELS, *(f"{model}: {setting}" for model in MODELS for setting in settings)]
    return [name for name in names if name in found]


def main(config: Config) -> None:
    results = (
        json.loads((config.out / "results.json").read_text())
        if config.plot_only
        else measured(config)
    )
    show(results)
    if config.pictures is not None:
        draw(results, config.pictures)


if __name__ == "__main__":
    main(tyro.cli(Config))
