"""`isojepa world surprise`: does a model notice when the world does what it never does?"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from rich.table import Table
from scipy.stats import wilcoxon

from isojepa.boundaries import writing
from isojepa.devices import Device
from isojepa.errors import UserError
from isojepa.progress import console
from isojepa.randomness import Stream, seed_from
from isojepa.runs.folder import provenance, save_arrays, write_json
from isojepa.world.analysis.study import (
    Study,
    open_study,
    plain,
    spread,
)
from isojepa.world.episodes.trajectories import (
    ActionScale,
    Clips,
    Trajectories,
    clip_index,
)
from isojepa.world.learning.measures import encode
from isojepa.world.model.world_model import WorldModel

log = logging.getLogger(__name__)
BEFORE = 2  # frames before the event that are predicted from a full history
AFTER = 4  # frames shown after the event, where the episodes are long enough
DONORS = 4  # moments to choose the place of a teleport from
LEVEL = 0.01  # p-value at which a frame counts as noticed
KEPT = 200  # points of a ROC curve
EXAMPLES = 2
EVENTS = {
    "unchanged": "the control",
    "teleport": "what moves is suddenly elsewhere",
    "colour": "red, green and blue change places",
}


@dataclass(frozen=True, kw_only=True)
class SurpriseConfig:
    """Measure a world model's surprise, its error against the next frame, at impossible events.

    Held-out episodes are continued by another moment of the data set (teleport) or in other
    colours from some frame on. What error is usual is learnt from other held-out episodes.
    """

    run: Path
    """Run folder of `isojepa world train`."""
    data: Path | None = None
    """Data set to take episodes from. Default: the run's own."""
    new_episodes: bool = False
    """Report on episodes added since training too, not only on those held out."""
    clips: int = 256
    """Clips at most, half of them to learn what is usual."""
    seed: int = 0
    """Of the clips and of where things teleport to."""
    device: Device = "auto"
    """Where to compute."""
    cache: Path | None = None
    """Folder of decoded frames. Default: the run's."""
    out: Path | None = None
    """JSON file for the result; arrays for plots go beside it. Default: RUN/surprise.json."""

    def __post_init__(self) -> None:
        if self.clips < 8:
            raise UserError("--clips must be at least 8")
        if self.seed < 0:
            raise UserError("--seed must not be negative")


class Window(NamedTuple):
    """Where in its clips the event lies; times in frames, which are blocks."""

    frames: int
    event: int
    """The first frame that is not as it should be."""
    first: int
    """The first frame whose prediction sees a full history."""


class Condition(NamedTuple):
    """What one kind of event did to the surprise of n clips."""

    traces: Float64[np.ndarray, "n t"]
    """Surprise at each frame, in units of the usual median."""
    auc: float
    """Chance that the event surprises more than a frame of a normal episode; 0.5 is blindness."""
    roc: Float64[np.ndarray, "two k"]
    """Shares of normal frames and of events above each threshold."""
    noticed: float
    """Share of the events with p below 0.01."""
    p_before: float
    """Wilcoxon, one-sided: more surprised at the event than before it in the same clip."""
    p_unchanged: float
    """Wilcoxon, one-sided: more than at the same frame of the same clip left alone; else NaN."""


def run(config: SurpriseConfig) -> dict[str, Any]:
    """Measure, print the table, and write surprise.json and surprise.npz.

    Returns:
        What surprise.json holds.

    Raises:
        UserError: if the run or the data cannot be read, do not fit, or there are fewer than four
            held-out episodes that are long enough.
    """
    out = config.out or config.run / "surprise.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    study = open_study(
        config.run, config.data, device=config.device, cache=config.cache, new=config.new_episodes
    )
    window, positions = choose_clips(study, most=config.clips, seed=config.seed)
    usual, tested = halves(positions)
    read = clip_reader(study, window)
    null = surprise(study.model, read(usual))[:, window.first :].ravel()
    unit = max(float(np.median(null)), 1e-12)
    clips = read(tested)
    donors, jump = choose_donors(study, positions, tested, window, seed=config.seed)
    changed = {
        "unchanged": clips,
        "teleport": teleported(clips, read(donors), window.event),
        "colour": recoloured(clips, window.event),
    }
    traces = {name: surprise(study.model, one) / unit for name, one in changed.items()}
    conditions = {
        name: judge(one, traces["unchanged"], null / unit, window, tested[:, 0])
        for name, one in traces.items()
    }
    result = describe(study, config, window, usual, tested, unit, null, conditions, jump)
    shown = most_telling(traces["teleport"][:, window.event], tested[:, 0])
    pictures = {
        f"frames_{k}": v.frames[shown].permute(0, 1, 3, 4, 2).numpy() for k, v in changed.items()
    }
    show(result)
    save_arrays(
        out.with_suffix(".npz"),
        **pictures, **{f"trace_{k}": v[shown] for k, v in traces.items()},
        null=spread(null / unit, 5000, seed=0), jump=jump,
        **{f"event_{k}": v[:, window.event] for k, v in traces.items()},
    )  # fmt: skip
    write_json(out, result)
    log.info("%s", out)
    return result


@torch.no_grad()
def surprise(model: WorldModel, clips: Clips) -> Float64[np.ndarray, "n t"]:
    """Mean squared error of each frame's embedding against its prediction from those before.

    One block ahead, from the embeddings of real frames; NaN at the first frame.
    """
    z = encode(model, clips.frames)
    actions = clips.actions.to(z.device)
    parts = [
        (model.predict(z_part[:, :-1], a_part[:, :-1]) - z_part[:, 1:]).square().mean(-1)
        for z_part, a_part in zip(z.split(64), actions.split(64))
    ]
    errors = torch.cat(parts).cpu().double().numpy()
    return np.concatenate([np.full((len(errors), 1), np.nan), errors], 1)


def teleported(clips: Clips, donors: Clips, event: int) -> Clips:
    """From the event on, the frames and actions of the donors: only the place jumps.

    The block of actions that leads to the event is the clip's own, so nothing foretells it.
    """
    frames, actions = clips.frames.clone(), clips.actions.clone()
    frames[:, event:], actions[:, event:] = donors.frames[:, event:], donors.actions[:, event:]
    return Clips(frames, actions, clips.position)


def recoloured(clips: Clips, event: int) -> Clips:
    """From the event on, red is shown as green, green as blue and blue as red."""
    frames = clips.frames.clone()
    frames[:, event:] = clips.frames[:, event:].roll(1, dims=2)
    return clips._replace(frames=frames)


def choose_clips(
    study: Study, *, most: int, seed: int
) -> tuple[Window, Int64[np.ndarray, "n two"]]:
    """Clips of held-out episodes: as many of each, and as long after the event, as can be had."""
    skip, history = study.model.frame_skip, study.model.history
    event = history + BEFORE
    for after in range(AFTER, -1, -1):
        window = Window(event + 1 + after, event, history)
        span = (window.frames - 1) * skip + 1
        long = study.held_out[study.trajectories.lengths[study.held_out] >= span]
        if len(long) >= max(4, len(study.held_out) // 2) or (after == 0 and len(long) >= 4):
            break
    else:
        raise UserError(
            f"{study.data}: {len(long)} of {len(study.held_out)} held-out episodes have the "
            f"{span} steps of a clip, and at least 4 are needed; collect more or longer ones"
        )
    index = clip_index(study.trajectories, long, frames=window.frames, frame_skip=skip)
    each = max(1, most // len(long))
    rng = np.random.default_rng(seed_from(seed, Stream.SURPRISE_CLIPS))
    chosen = []
    for episode in rng.permutation(long)[:most]:
        own = index[index[:, 0] == episode]
        chosen.append(own[np.sort(rng.permutation(len(own))[:each])])
    return window, np.concatenate(chosen)


def halves(
    positions: Int64[np.ndarray, "n two"],
) -> tuple[Int64[np.ndarray, "m two"], Int64[np.ndarray, "k two"]]:
    """Split clips by episode: some to learn what is usual, the others to test."""
    episodes = list(dict.fromkeys(positions[:, 0].tolist()))
    usual = np.isin(positions[:, 0], episodes[: len(episodes) // 2])
    return positions[usual], positions[~usual]


def clip_reader(study: Study, window: Window) -> Any:
    """Positions to clips, as the model reads them."""
    scale: ActionScale = study.model.scale

    def read(positions: Int64[np.ndarray, "n two"]) -> Clips:
        return study.trajectories.clips(
            positions, frames=window.frames, frame_skip=study.model.frame_skip, scale=scale
        )

    return read


def choose_donors(
    study: Study,
    positions: Int64[np.ndarray, "n two"],
    tested: Int64[np.ndarray, "m two"],
    window: Window,
    *,
    seed: int,
) -> tuple[Int64[np.ndarray, "m two"], Float64[np.ndarray, " m"]]:
    """For each clip another one that is elsewhere at the event, and how far away that is.

    The farthest of a few random ones: by the environment's distance of states where it is known,
    else by how much the frames differ.
    """
    rng = np.random.default_rng(seed_from(seed, Stream.SURPRISE_DONORS))
    later = np.array([0, window.event * study.model.frame_skip])
    drawn = rng.integers(len(positions), size=(len(tested), DONORS))
    apart = np.stack(
        [moments_apart(study, tested + later, positions[column] + later) for column in drawn.T],
        1,
    )
    best = apart.argmax(1)
    return positions[drawn[np.arange(len(tested)), best]], apart.max(1)


def moments_apart(
    study: Study, a: Int64[np.ndarray, "n two"], b: Int64[np.ndarray, "n two"]
) -> Float64[np.ndarray, " n"]:
    """Distance of the states at two lists of (episode, step), or of their frames."""
    data, known = study.trajectories, study.known
    rows = [_rows(data, one) for one in (a, b)]
    if known and known.distance and all(name in data.columns for name in known.needs):
        one, other = ({k: data.column(k)[part] for k in known.needs} for part in rows)
        return np.asarray(known.distance(one, other), np.float64)
    frames = [data.rows(part).astype(np.float32) for part in rows]
    return np.abs(frames[0] - frames[1]).mean((1, 2, 3)).astype(np.float64)


def judge(
    traces: Float64[np.ndarray, "n t"],
    unchanged: Float64[np.ndarray, "n t"],
    null: Float64[np.ndarray, " m"],
    window: Window,
    episode: Int64[np.ndarray, " n"],
) -> Condition:
    """Compare the surprise at the event with what is usual, and with the same clip elsewhere.

    Clips of one episode are alike: the paired tests are between means of episodes.
    """
    event = traces[:, window.event]
    auc, roc = separation(null, event)
    before = traces[:, window.first : window.event].mean(1)
    left_alone = event - unchanged[:, window.event]
    return Condition(
        traces,
        auc,
        roc,
        float((p_values(null, event) < LEVEL).mean()),
        paired(event - before, episode),
        paired(left_alone, episode) if np.any(left_alone) else float("nan"),
    )


def p_values(
    null: Float64[np.ndarray, " m"], values: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """Share of the usual errors that are as large; never 0, since the null is a sample."""
    above = len(null) - np.searchsorted(np.sort(null), values, side="left")
    return (1 + above) / (1 + len(null))


def separation(
    null: Float64[np.ndarray, " m"], values: Float64[np.ndarray, " n"]
) -> tuple[float, Float64[np.ndarray, "two k"]]:
    """Area under the ROC curve, ties counted half, and the curve."""
    thresholds = np.unique(np.concatenate([null, values]))[::-1]
    shares = [
        np.r_[0.0, 1 - np.searchsorted(np.sort(x), thresholds, side="left") / len(x)]
        for x in (null, values)
    ]
    area = float(np.trapezoid(shares[1], shares[0]))
    kept = np.unique(np.linspace(0, len(thresholds), KEPT).round().astype(int))
    return area, np.stack(shares)[:, kept]


def paired(difference: Float64[np.ndarray, " n"], group: Int64[np.ndarray, " n"]) -> float:
    """One-sided p of Wilcoxon's signed-rank test on the groups' mean differences."""
    _, place = np.unique(group, return_inverse=True)
    means = np.bincount(place, difference) / np.bincount(place)
    return float(wilcoxon(means, alternative="greater").pvalue) if np.any(means) else 1.0


def most_telling(
    event: Float64[np.ndarray, " n"], episode: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " k"]:
    """Clips to show, each of another episode: those in the middle of the events' surprise."""
    order = np.argsort(np.abs(event - np.median(event)), kind="stable")
    seen: dict[int, int] = {}
    for i in order.tolist():
        seen.setdefault(int(episode[i]), i)
    return np.array(list(seen.values())[:EXAMPLES], np.int64)


def describe(
    study: Study,
    config: SurpriseConfig,
    window: Window,
    usual: np.ndarray,
    tested: np.ndarray,
    unit: float,
    null: Float64[np.ndarray, " m"],
    conditions: dict[str, Condition],
    jump: Float64[np.ndarray, " n"],
) -> dict[str, Any]:
    """What surprise.json holds."""
    return {
        "environment": study.trajectories.env_id,
        "data": str(study.data),
        "unseen": study.unseen,
        "episodes": {"usual": len(set(usual[:, 0])), "tested": len(set(tested[:, 0]))},
        "clips": {"usual": len(usual), "tested": len(tested)},
        "frames": window.frames,
        "event": window.event,
        "first": window.first,
        "usual": {
            "errors": len(null),
            "median": unit,
            "quantile_95": float(np.quantile(null, 0.95)) / unit,
            "quantile_99": float(np.quantile(null, 0.99)) / unit,
        },
        "jump": {
            "median": float(np.median(jump)),
            "unit": study.known.unit if study.known and study.known.distance else "grey levels",
        },
        "conditions": {
            name: {
                "what": EVENTS[name],
                "auc": one.auc,
                "noticed": one.noticed,
                "p_before": plain(one.p_before),
                "p_unchanged": plain(one.p_unchanged),
                "times_usual": float(np.median(one.traces[:, window.event])),
                "trace": {
                    label: [plain(v) for v in np.quantile(one.traces, q, axis=0)]
                    for label, q in (("low", 0.25), ("median", 0.5), ("high", 0.75))
                },
                "roc": one.roc.round(5).tolist(),
            }
            for name, one in conditions.items()
        },
        "seed": config.seed,
        **provenance(next(study.model.parameters()).device),
    }


def show(result: dict[str, Any]) -> None:
    """Print one line per kind of event."""
    table = Table(
        title=f"surprise at {result['clips']['tested']} events in {result['episodes']['tested']} "
        f"{'held-out' if result['unseen'] else 'training'} episodes"
    )
    table.add_column("event")
    for name in ("times usual", "AUC", "noticed, p < .01", "p, against before", "p, left alone"):
        table.add_column(name, justify="right")
    for name, one in result["conditions"].items():
        p_before, p_unchanged = (
            "" if one[k] is None else f"{one[k]:.2g}" for k in ("p_before", "p_unchanged")
        )
        table.add_row(
            name, f"{one['times_usual']:.1f}", f"{one['auc']:.3f}", f"{100 * one['noticed']:.0f} %",
            p_before, p_unchanged,
        )  # fmt: skip
    console.print(table)


def _rows(data: Trajectories, moments: Int64[np.ndarray, "n two"]) -> Int64[np.ndarray, " n"]:
    return (np.cumsum(data.lengths) - data.lengths)[moments[:, 0]] + moments[:, 1]
