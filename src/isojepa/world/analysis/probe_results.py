"""What came out of probing: probes.json and the table on the screen."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from rich.table import Table

from isojepa.boundaries import shown
from isojepa.runs.folder import Provenance
from isojepa.runs.typed import Inline, Sparse
from isojepa.theme.wording import fixed
from isojepa.world.analysis.latent_distances import DistanceCorrelations, LatentDistances
from isojepa.world.analysis.probes import ProbeScore
from isojepa.world.analysis.study import SplitSizes
from isojepa.world.environments.environment import Quantity

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
ON_SCREEN = {"model": "the model", "untrained": "untrained", "pixels": "PCA of frames"}


@dataclass(frozen=True)
class ProbeScores:
    """Both kinds of probes on one quantity and representation."""

    linear: ProbeScore
    mlp: ProbeScore


@dataclass(frozen=True)
class RepresentationScores:
    """Probes of one quantity by representation."""

    model: ProbeScores
    untrained: Sparse[ProbeScores | None] = None
    pixels: Sparse[ProbeScores | None] = None

    @property
    def present(self) -> dict[str, ProbeScores]:
        """Those that were probed, by name."""
        return {name: scores for name, scores in vars(self).items() if scores is not None}

    @property
    def best(self) -> tuple[float, float]:
        """The highest r of the linear probes and of the MLPs."""
        every = self.present.values()
        return max(one.linear.r or 0.0 for one in every), max(one.mlp.r or 0.0 for one in every)


@dataclass(frozen=True, kw_only=True)
class QuantityScores:
    """One quantity and how well it is read."""

    quantity: Inline[Quantity]
    published_r: float | None = None
    """Of LeWorldModel's linear probe."""
    scores: RepresentationScores


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What probes.json holds."""

    environment: str | None = None
    data: str = ""
    unseen: bool = True
    """Whether the model has never seen the episodes reported on."""
    episodes: SplitSizes
    frames: SplitSizes
    quantities: tuple[QuantityScores, ...] = ()
    distances: DistanceCorrelations = field(default_factory=DistanceCorrelations)
    distance_unit: str = ""
    seed: int = 0
    provenance: Inline[Provenance]


class ProbeArrays(NamedTuple):
    """What probes.npz holds of m held-out frames, and of p pairs of them."""

    z: Float[np.ndarray, "m d"]
    """Embeddings."""
    row: Int[np.ndarray, " m"]
    """Of the data set; also as episode and step."""
    episode: Int[np.ndarray, " m"]
    step: Int[np.ndarray, " m"]
    truth: Float[np.ndarray, "m q"]
    """The quantities; then as each kind of probe reads them from the model's embeddings."""
    linear: Float[np.ndarray, "m q"]
    mlp: Float[np.ndarray, "m q"]
    pair_latent: Float[np.ndarray, " p"]
    """Distances of pairs, see `LatentDistances`."""
    pair_state: Float[np.ndarray, " p"]
    pair_path: Float[np.ndarray, " p"]
    pair_steps: Float[np.ndarray, " p"]

    @property
    def pairs(self) -> LatentDistances:
        """Distances of pairs."""
        return LatentDistances(self.pair_latent, self.pair_state, self.pair_path, self.pair_steps)


def published_r(env_id: str | None, frame_size: int) -> dict[str, float]:
    """Published correlations by quantity, for models of the size that they are of."""
    return PUBLISHED_R.get(env_id or "", {}) if frame_size == PUBLISHED_FRAMES else {}


def probe_table(result: ProbeResult) -> Table:
    """r and error of every quantity and representation, for the screen."""
    table = Table(
        title=f"probes on {result.frames.held_out:,} frames of {result.episodes.held_out} "
        f"{'held-out' if result.unseen else 'training'} episodes"
    )
    compared = any(one.published_r is not None for one in result.quantities)
    table.add_column("quantity", no_wrap=True)
    table.add_column("embedding of", no_wrap=True)
    for name in ("r, linear", "MLP", "error, linear", "MLP", *(["published"] if compared else [])):
        table.add_column(name, justify="right")
    for one in result.quantities:
        for name, scores in one.scores.present.items():
            ours = name == "model"
            published = one.published_r if ours else None
            table.add_row(
                shown(one.quantity.name) if ours else "",
                ON_SCREEN[name],
                fixed(scores.linear.r),
                fixed(scores.mlp.r),
                fixed(scores.linear.mse_normalised, 4),
                fixed(scores.mlp.mse_normalised, 4),
                *([] if not compared else ["" if published is None else fixed(published)]),
            )
        table.add_section()
    return table
