"""`isojepa world probe`: what of the physical state can be read from a frozen embedding."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from isojepa.boundaries import writing
from isojepa.errors import UserError
from isojepa.progress import bar, console
from isojepa.randomness import Stream, seed_from
from isojepa.runs.folder import Provenance, provenance, save_arrays
from isojepa.runs.settings import require
from isojepa.runs.typed import write_result
from isojepa.world.analysis.latent_distances import latent_distances
from isojepa.world.analysis.probe_results import (
    ProbeArrays,
    ProbeResult,
    ProbeScores,
    QuantityScores,
    RepresentationScores,
    probe_table,
    published_r,
)
from isojepa.world.analysis.probes import PROBES, ProbeKind, ProbeScore, fit_probe, score_probe
from isojepa.world.analysis.quantities import as_regression, as_values, read_targets
from isojepa.world.analysis.representations import Embedded, ProbedRows, representations_of
from isojepa.world.analysis.study import SplitSizes, Study, StudyConfig, locate, sampled
from isojepa.world.environments.environment import Quantity
from isojepa.world.episodes.trajectories import episode_rows

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(StudyConfig):
    """Read physical quantities from the frozen embeddings of a trained world model.

    Probes, linear and not, are fitted on training episodes and scored on held-out ones, beside
    the same probes on an untrained model and on the frames' principal components.
    """

    frames: int = 4000
    """Frames to fit on at most; half as many are held out to score."""
    out: Path | None = None
    """JSON file for the result; arrays for plots go beside it. Default: RUN/probes.json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.frames >= 40, "--frames must be at least 40")


def probe(config: ProbeConfig) -> ProbeResult:
    """Probe a run, print the table, and write probes.json and probes.npz.

    Raises:
        UserError: if the run or the data cannot be read, do not fit each other, or the data record
            no quantity.
    """
    out = config.out or config.run / "probes.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    study = config.open()
    rows, targets = draw_targets(study, config)
    representations = representations_of(study, rows, seed=config.seed)
    episode, step = locate(study.trajectories, rows.held_out)
    scores, guesses = probe_each(representations, targets, episode, seed=config.seed)
    z = representations["model"].held_out
    pairs = latent_distances(study, rows.held_out, z, seed=config.seed)
    env_id = study.trajectories.env_id
    published = published_r(env_id, study.model.frame_size)
    result = ProbeResult(
        environment=env_id,
        data=str(study.data),
        unseen=study.unseen,
        episodes=SplitSizes(len(study.train), len(study.held_out)),
        frames=SplitSizes(*map(len, rows)),
        quantities=tuple(
            QuantityScores(quantity=q, published_r=published.get(q.name), scores=one)
            for q, one in zip(targets.quantities, scores)
        ),
        distances=pairs.correlations(),
        distance_unit=study.known.unit if study.known else "",
        seed=config.seed,
        provenance=Provenance(**provenance(next(study.model.parameters()).device)),
    )
    console.print(probe_table(result))
    arrays = ProbeArrays(
        z, rows.held_out, episode, step, targets.held_out, **guesses,
        **{f"pair_{k}": v for k, v in pairs._asdict().items()},
    )  # fmt: skip
    save_arrays(out.with_suffix(".npz"), **arrays._asdict())
    write_result(out, result)
    log.info("%s", out)
    return result


class ProbedTargets(NamedTuple):
    """The true values at the frames used; q quantities."""

    quantities: tuple[Quantity, ...]
    train: Float64[np.ndarray, "n q"]
    held_out: Float64[np.ndarray, "m q"]


def draw_targets(study: Study, config: ProbeConfig) -> tuple[ProbedRows, ProbedTargets]:
    """Frames of training and of held-out episodes at which every quantity is a number, and those
    quantities that change in both."""
    targets = read_targets(study.trajectories)
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
        kept.append(sampled(rows, most, seed=seed_from(config.seed, Stream.PROBED_ROWS)))
    train, held_out = (targets.at(rows) for rows in kept)
    vary = [i for i, (a, b) in enumerate(zip(train.T, held_out.T)) if min(a.std(), b.std()) > 1e-9]
    require(bool(vary), "no quantity changes within the frames drawn; raise --frames")
    quantities = tuple(targets.quantities[i] for i in vary)
    return ProbedRows(*kept), ProbedTargets(quantities, train[:, vary], held_out[:, vary])


def probe_each(
    representations: dict[str, Embedded],
    targets: ProbedTargets,
    episode: Int64[np.ndarray, " m"],
    *,
    seed: int,
) -> tuple[list[RepresentationScores], dict[str, Float64[np.ndarray, "m q"]]]:
    """Fit all probes on all representations.

    Args:
        episode: of each held-out frame.

    Returns:
        Scores per quantity, and what each kind of probe read from the model's embeddings.
    """
    quantities, train, held_out = targets
    scores: dict[str, list[ProbeScores]] = {}
    guesses: dict[str, np.ndarray] = {}
    with bar(len(PROBES) * len(representations), "fitting probes") as advance:
        for name, (x, x_new) in representations.items():
            found: dict[ProbeKind, list[ProbeScore]] = {}
            for kind in PROBES:
                guess = fit_probe(kind, x, as_regression(quantities, train), x_new, seed=seed)
                found[kind] = score_probe(quantities, train, held_out, guess, episode)
                if name == "model":
                    guesses[kind] = as_values(quantities, guess)
                advance(1, f"{name}, {kind}")
            scores[name] = [ProbeScores(*both) for both in zip(*found.values())]
    each = (dict(zip(scores, one)) for one in zip(*scores.values()))
    return [RepresentationScores(**one) for one in each], guesses
