"""`isojepa world probe`: what of the physical state can be read from a frozen embedding."""

import logging
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor

from isojepa.boundaries import shown, writing
from isojepa.devices import Device
from isojepa.errors import UserError
from isojepa.progress import bar, console
from isojepa.randomness import Stream, seed_from
from isojepa.runs.folder import provenance, save_arrays, write_json
from isojepa.world.analysis.latent_distances import LatentDistances, latent_distances
from isojepa.world.analysis.quantities import (
    Targets,
    as_regression,
    columns_of,
    read_targets,
)
from isojepa.world.analysis.study import (
    Study,
    embed_rows,
    episode_rows,
    locate,
    open_study,
    plain,
    shrink,
    spread,
)
from isojepa.world.environments.environments import Quantity
from isojepa.world.model.world_model import WorldModel

log = logging.getLogger(__name__)
READERS = ("linear", "mlp")
HIDDEN, EPOCHS = 128, 40  # of the MLP
PENALTIES = np.logspace(-4, 4, 17)
THUMBNAIL = 32  # pixels, of the frames whose principal components are the baseline
DRAWS = 1000  # of the bootstrap
PUBLISHED_R: dict[str, dict[str, float]] = {
    "swm/TwoRoom-v1": {"x": 0.996, "y": 0.996},
    "swm/PushT-v1": {
        "agent x": 0.974, "agent y": 0.974, "block x": 0.986, "block y": 0.986,
        "block angle": 0.902,
    },
    "swm/OGBCube-v0": {"block x": 0.997, "block y": 0.997, "block z": 0.997},
}  # fmt: skip
"""Pearson's r of LeWorldModel's linear probes, per environment and quantity."""
PUBLISHED_FRAMES = 224  # pixels: shown beside models of that size only


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Read physical quantities from the frozen embeddings of a trained world model.

    Readers, linear and not, are fitted on training episodes and scored on held-out ones, beside
    the same readers on an untrained model and on the frames' principal components.
    """

    run: Path
    """Run folder of `isojepa world train`."""
    data: Path | None = None
    """Data set with the quantities. Default: the run's own."""
    new_episodes: bool = False
    """Report on episodes added since training too, not only on those held out."""
    frames: int = 4000
    """Frames to fit on at most; half as many are held out to score."""
    seed: int = 0
    """Of the frames drawn and the readers' weights."""
    device: Device = "auto"
    """Where to embed."""
    cache: Path | None = None
    """Folder of decoded frames. Default: the run's."""
    out: Path | None = None
    """JSON file for the result; arrays for plots go beside it. Default: RUN/probes.json."""

    def __post_init__(self) -> None:
        if self.frames < 40:
            raise UserError("--frames must be at least 40")
        if self.seed < 0:
            raise UserError("--seed must not be negative")


class Score(NamedTuple):
    """How well a reader finds one quantity in held-out episodes."""

    r: float
    """Pearson's, of truth and prediction; of an angle, the mean of sine's and cosine's."""
    interval: tuple[float, float]
    """95 % of r, by bootstrap over episodes; NaN with fewer than three of them."""
    r2: float
    """Share of the variance explained: 1 is perfect, 0 no better than the held-out mean."""
    mse: float
    """Mean squared error in the quantity's own unit; of an angle, of the shorter turn, rad²."""
    mse_normalised: float
    """Over the variance in training; of an angle, of sine and cosine together."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        low, high = (plain(v) for v in self.interval)
        numbers = {k: plain(v) for k, v in self._asdict().items() if k != "interval"}
        return {**numbers, "interval": None if low is None else [low, high]}


class Rows(NamedTuple):
    """The frames used, by their rows in the data set."""

    train: Int64[np.ndarray, " n"]
    held_out: Int64[np.ndarray, " m"]


def run(config: ProbeConfig) -> dict[str, Any]:
    """Probe a run, print the table, and write probes.json and probes.npz.

    Returns:
        What probes.json holds.

    Raises:
        UserError: if the run or the data cannot be read, do not fit each other, or the data record
            no quantity.
    """
    out = config.out or config.run / "probes.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    study = open_study(
        config.run, config.data, device=config.device, cache=config.cache, new=config.new_episodes
    )
    targets = read_targets(study.trajectories)
    rows = draw_rows(study, targets, config)
    quantities, used = _that_vary(targets, rows)
    train, held_out = targets.at(rows.train)[:, used], targets.at(rows.held_out)[:, used]
    episode, step = locate(study.trajectories, rows.held_out)
    representations = represent(study, rows, seed=config.seed)
    scores: dict[str, dict[str, list[Score]]] = {}
    guesses: dict[str, np.ndarray] = {}
    with bar(len(READERS) * len(representations), "fitting probes") as advance:
        for name, (x, x_new) in representations.items():
            scores[name] = {}
            for reader in READERS:
                guess = read(reader, x, as_regression(quantities, train), x_new, seed=config.seed)
                scores[name][reader] = score(quantities, train, held_out, guess, episode)
                if name == "model":
                    guesses[reader] = as_values(quantities, guess)
                advance(1, f"{name}, {reader}")
    z = representations["model"][1]
    pairs = latent_distances(study, rows.held_out, z, seed=config.seed)
    result = describe(study, config, rows, quantities, scores, pairs)
    show(result)
    save_arrays(
        out.with_suffix(".npz"),
        z=z, row=rows.held_out, episode=episode, step=step, truth=held_out, **guesses,
        **{f"pair_{k}": v for k, v in pairs._asdict().items()},
    )  # fmt: skip
    write_json(out, result)
    log.info("%s", out)
    return result


def draw_rows(study: Study, targets: Targets, config: ProbeConfig) -> Rows:
    """Frames of training and of held-out episodes at which every quantity is a number."""
    finite = np.isfinite(targets.values).all(1)
    kept = []
    for episodes, most in ((study.train, config.frames), (study.held_out, config.frames // 2)):
        rows = episode_rows(study.trajectories, episodes)
        rows = rows[finite[rows]]
        if len(rows) < 20:
            raise UserError(
                f"{study.data}: {len(rows)} frames with all quantities in {len(episodes)} episodes "
                "are too few to probe; collect more"
            )
        kept.append(spread(rows, most, seed=seed_from(config.seed, Stream.PROBED_ROWS)))
    return Rows(*kept)


def represent(study: Study, rows: Rows, *, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Embeddings of both sets of frames: by the model, by it before training, by PCA of frames."""
    found = {"model": tuple(embed_rows(study.model, study.trajectories, part) for part in rows)}
    if study.model.spec.frozen is None:
        fresh = untrained(study.model, seed=seed)
        found["untrained"] = tuple(embed_rows(fresh, study.trajectories, part) for part in rows)
    found["pixels"] = pixels(study, rows, seed=seed)
    return found  # type: ignore[return-value]


def untrained(model: WorldModel, *, seed: int) -> WorldModel:
    """The same architecture with other random weights, on the same device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from(seed, Stream.UNTRAINED))
        fresh = WorldModel(model.spec)
    return fresh.to(next(model.parameters()).device).eval()


def pixels(study: Study, rows: Rows, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of small frames, as many as the embedding has dimensions."""
    size = min(THUMBNAIL, study.model.frame_size)
    x, x_new = (
        np.concatenate(
            [
                shrink(study.trajectories.rows(part), size).reshape(len(part), -1)
                for part in np.array_split(one, max(1, len(one) // 512))
            ]
        ).astype(np.float32)
        for one in rows
    )
    d = min(study.model.embedding_dim, *x.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # frames that never change
        components = PCA(d, svd_solver="randomized", random_state=seed).fit(x)
    return components.transform(x), components.transform(x_new)


def read(
    reader: str,
    x: Float[np.ndarray, "n d"],
    y: Float64[np.ndarray, "n k"],
    x_new: Float[np.ndarray, "m d"],
    *,
    seed: int,
) -> Float64[np.ndarray, "m k"]:
    """Fit a reader on (x, y) and predict at x_new.

    Args:
        reader: `linear`, ridge regression with its penalty chosen by leave-one-out; or `mlp`, one
            hidden layer of 128.
    """
    centre, unit = x.mean(0), x.std(0)
    unit = np.where(unit > 1e-6 * max(float(unit.max()), 1e-12), unit, np.inf)
    x, x_new = ((v - centre) / unit for v in (x, x_new))
    mean, deviation = y.mean(0), np.maximum(y.std(0), 1e-12)
    y = (y - mean) / deviation
    if reader == "linear":
        guess = (
            RidgeCV(PENALTIES, alpha_per_target=True).fit(x.astype(np.float64), y).predict(x_new)
        )
    else:
        network = MLPRegressor(
            hidden_layer_sizes=(HIDDEN,), batch_size=min(128, len(x)), learning_rate_init=2e-3,
            max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            guess = network.fit(x, y[:, 0] if y.shape[1] == 1 else y).predict(x_new)
    return guess.reshape(len(x_new), -1).astype(np.float64) * deviation + mean


def as_values(
    quantities: tuple[Quantity, ...], guess: Float64[np.ndarray, "m k"]
) -> Float64[np.ndarray, "m q"]:
    """Predicted sines and cosines back to angles; other columns as they are."""
    parts = []
    for quantity, columns in zip(quantities, columns_of(quantities)):
        part = guess[:, columns]
        parts.append(np.arctan2(part[:, 0], part[:, 1]) if quantity.angle else part[:, 0])
    return np.stack(parts, 1)


def score(
    quantities: tuple[Quantity, ...],
    train: Float64[np.ndarray, "n q"],
    truth: Float64[np.ndarray, "m q"],
    guess: Float64[np.ndarray, "m k"],
    episode: Int64[np.ndarray, " m"],
) -> list[Score]:
    """Compare predictions with the truth, quantity by quantity.

    Args:
        train: values in training, whose variance normalises the error.
        guess: as `as_regression` lays quantities out.
        episode: of each row: what the bootstrap draws.
    """
    usual = as_regression(quantities, train).var(0)
    expected, values = as_regression(quantities, truth), as_values(quantities, guess)
    scores = []
    for i, (quantity, at) in enumerate(zip(quantities, columns_of(quantities))):
        y, predicted = expected[:, at], guess[:, at]
        squares = ((y - predicted) ** 2).sum(1)
        off = values[:, i] - truth[:, i]
        if quantity.angle:
            off = (off + np.pi) % (2 * np.pi) - np.pi
        r, interval = correlation(y, predicted, episode)
        scores.append(
            Score(
                r,
                interval,
                float(1 - squares.mean() / max(y.var(0).sum(), 1e-300)),
                float((off**2).mean()),
                float(squares.mean() / max(usual[at].sum(), 1e-300)),
            )
        )
    return scores


def correlation(
    truth: Float64[np.ndarray, "m k"],
    guess: Float64[np.ndarray, "m k"],
    group: Int64[np.ndarray, " m"],
) -> tuple[float, tuple[float, float]]:
    """Pearson's r, averaged over k columns, and its 95 % interval by bootstrap over groups.

    Frames of one episode are alike, so whole episodes are drawn.
    """
    t, g = truth - truth.mean(0), guess - guess.mean(0)
    _, place = np.unique(group, return_inverse=True)
    terms = np.stack([np.ones_like(t), t, g, t * t, g * g, t * g])  # (6, m, k)
    groups = int(place.max()) + 1
    sums = np.stack([[np.bincount(place, c, groups) for c in term.T] for term in terms])
    whole = float(_pearson(sums.sum(-1)).mean())
    if groups < 3:
        return whole, (float("nan"), float("nan"))
    weights = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), DRAWS)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = _pearson(sums @ weights.T).mean(0)  # (draws,)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return whole, (float(low), float(high))


def _pearson(sums: Float64[np.ndarray, "six *k"]) -> Float64[np.ndarray, "*k"]:
    n, t, g, tt, gg, tg = sums
    variances = np.maximum(tt - t * t / n, 0) * np.maximum(gg - g * g / n, 0)
    covariance = tg - t * g / n
    return np.where(variances > 0, covariance / np.sqrt(np.maximum(variances, 1e-300)), 0.0)


def describe(
    study: Study,
    config: ProbeConfig,
    rows: Rows,
    quantities: tuple[Quantity, ...],
    scores: dict[str, dict[str, list[Score]]],
    pairs: LatentDistances,
) -> dict[str, Any]:
    """What probes.json holds."""
    env_id = study.trajectories.env_id
    at_their_size = study.model.frame_size == PUBLISHED_FRAMES
    published = PUBLISHED_R.get(env_id or "", {}) if at_their_size else {}
    return {
        "environment": env_id,
        "data": str(study.data),
        "unseen": study.unseen,
        "episodes": {"train": len(study.train), "held_out": len(study.held_out)},
        "frames": {"train": len(rows.train), "held_out": len(rows.held_out)},
        "quantities": [
            {
                **asdict(quantity),
                "published_r": published.get(quantity.name),
                "scores": {
                    name: {reader: found[i].as_json() for reader, found in by_reader.items()}
                    for name, by_reader in scores.items()
                },
            }
            for i, quantity in enumerate(quantities)
        ],
        "distances": pairs.correlations(),
        "distance_unit": study.known.unit if study.known else "",
        "seed": config.seed,
        **provenance(next(study.model.parameters()).device),
    }


def show(result: dict[str, Any]) -> None:
    """Print r and error of every quantity and representation."""
    frames, episodes = result["frames"], result["episodes"]
    table = Table(
        title=f"probes on {frames['held_out']:,} frames of {episodes['held_out']} "
        f"{'held-out' if result['unseen'] else 'training'} episodes"
    )
    names = list(result["quantities"][0]["scores"])
    compared = any(quantity["published_r"] is not None for quantity in result["quantities"])
    table.add_column("quantity", no_wrap=True)
    table.add_column("embedding of", no_wrap=True)
    for name in ("r, linear", "MLP", "error, linear", "MLP", *(["published"] if compared else [])):
        table.add_column(name, justify="right")
    for quantity in result["quantities"]:
        for name in names:
            linear, mlp = (quantity["scores"][name][reader] for reader in READERS)
            published = quantity["published_r"] if name == "model" else None
            table.add_row(
                shown(quantity["name"]) if name == names[0] else "",
                {"model": "the model", "untrained": "untrained", "pixels": "PCA of frames"}[name],
                f"{linear['r']:.3f}",
                f"{mlp['r']:.3f}",
                f"{linear['mse_normalised']:.4f}",
                f"{mlp['mse_normalised']:.4f}",
                *([] if not compared else ["" if published is None else f"{published:.3f}"]),
            )
        table.add_section()
    console.print(table)


def _that_vary(targets: Targets, rows: Rows) -> tuple[tuple[Quantity, ...], list[int]]:
    """Quantities that change both in the frames to fit on and in those held out."""
    used = [
        i
        for i in range(len(targets.quantities))
        if all(targets.at(part)[:, i].std() > 1e-9 for part in rows)
    ]
    if not used:
        raise UserError("no quantity changes within the frames drawn; raise --frames")
    return tuple(targets.quantities[i] for i in used), used
