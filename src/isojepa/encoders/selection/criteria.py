"""What a run says about itself without labels: each criterion, its direction and where it ends."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isojepa.embeddings.gaussianity import gaussianity
from isojepa.embeddings.label_free import alpha_req, effective_rank, lidar, rankme
from isojepa.encoders.evaluation.results import read_scores
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.arrays import read_arrays
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import read_run

ALPHA = 0.4
"""Of loss / lambda^alpha: the paper's."""
POINT, LINE = 0.1, 1.5
"""Deviation and effective rank of projections below which a run counts as collapsed."""
NONE = np.empty((0, 0, 0), np.float32)


class Sampled(NamedTuple):
    """What is read of sample.npz."""

    embeddings: Float[np.ndarray, "n d"]
    projections: Float[np.ndarray, "n k"]
    views: Float[np.ndarray, "v m e"] = NONE


class Criterion(NamedTuple):
    """A number of a run by which runs are ranked."""

    title: str
    better: Callable[[float], float]
    """The greater, the better."""


CRITERIA: Mapping[str, Criterion] = MappingProxyType({
    "loss": Criterion("loss / λ^0.4", lambda x: -x),
    "rankme": Criterion("RankMe", lambda x: x),
    "alpha_req": Criterion("α-ReQ", lambda x: -abs(x - 1)),
    "lidar": Criterion("LiDAR", lambda x: x),
    "gaussianity": Criterion("Gaussian p", lambda x: x),
})  # fmt: skip
"""By the names of `Candidate`'s fields. alpha-ReQ is best at 1; the others at one end."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A run and its criteria; None where the run does not hold what one needs."""

    run: str
    lambd: float | None = None
    """At its end, where it was found while training."""
    regulariser: str = "sigreg"
    loss: float | None = None
    """Over lambda^0.4, median of the last tenth of the run."""
    rankme: float | None = None
    alpha_req: float | None = None
    lidar: float | None = None
    gaussianity: float | None = None
    """Log of the p-value that SIGReg's test gives the projections, in the tail extrapolated."""
    p_value: float | None = None
    """The calibrated p-value itself."""
    collapsed: str | None = None
    """In which way, if it is."""
    accuracy: float | None = None
    """Of a linear probe on labels: for comparison, never for the choice."""
    comparable: tuple[object, ...] = ()
    """Settings that have to be the same for losses to be compared."""


def candidate(path: Path, name: str, *, seed: int = 0) -> Candidate:
    """Read a run and measure it.

    Raises:
        UserError: if it is no run of an encoder, or has not ended.
    """
    config, lines = read_run(path).config, read_metrics(path)
    if "projection_dim" not in config:
        raise UserError(f"{path}: not a run of `isojepa pretrain`")
    if not (path / "sample.npz").is_file():
        raise UserError(f"{path}: has not ended (sample.npz is missing); go on with --resume")
    sample = read_arrays(Sampled, path / "sample.npz")
    lambd = _last(lines, "lambd") if config.get("lambd") == "auto" else config.get("lambd")
    loss = _last(lines, "loss")
    tested = gaussianity(sample.projections, seed=seed).tests[0]
    x = sample.embeddings
    return Candidate(
        run=name,
        lambd=lambd,
        regulariser=str(config.get("regulariser", "sigreg")),
        loss=None if loss is None or not lambd else loss / lambd**ALPHA,
        rankme=rankme(x),
        alpha_req=_finite(alpha_req(x)),
        lidar=lidar(sample.views) if sample.views.shape[0] > 1 else None,
        gaussianity=math.log(max(tested.tail, 1e-300)),
        p_value=tested.p_value,
        collapsed=_collapse(sample.projections),
        accuracy=_accuracy(path, lines),
        comparable=tuple(str(config.get(key)) for key in COMPARED),
    )


COMPARED = ("data", "regulariser", "batch_size", "global_views", "local_views", "recipe")


def _collapse(projections: Float[np.ndarray, "n k"]) -> str | None:
    if float(np.sqrt(projections.var(0).mean())) < POINT:
        return "on a point"
    if projections.shape[1] > 2 and effective_rank(projections, centred=False) < LINE:
        return "on a line"
    return None


def _accuracy(path: Path, lines: list[Json]) -> float | None:
    scored = read_scores(path / "scores.json").get("encoder")
    if scored is not None and scored.linear is not None:
        return scored.linear
    return _last(lines, "probe_accuracy")


def _last(lines: list[Json], key: str) -> float | None:
    """Median of the last tenth of a curve."""
    values = [line[key] for line in lines if isinstance(line.get(key), int | float)]
    return float(np.median(values[-math.ceil(len(values) / 10) :])) if values else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
