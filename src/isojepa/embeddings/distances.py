"""How far every row lies from the centre: the second pass, and which rows are outliers.

Rows are measured along the principal axes, each scaled to variance 1. For Gaussian samples with any
mean and covariance the scaled coordinates are entries of a uniformly distributed orthonormal
matrix, so that n r^2 / (n - 1)^2 of k axes has exactly the law Beta(k/2, (n - k - 1)/2).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy import stats

from isojepa.embeddings.moments import Moments
from isojepa.embeddings.rows import Progress
from isojepa.embeddings.samples import Samples
from isojepa.embeddings.spectrum import Spectrum
from isojepa.embeddings.turns import in_turns

LEVEL = 0.003
"""Chance that any of n Gaussian rows exceeds the bound of one measure; there are three."""
MOST_OUTLIERS = 0.02
"""A larger share of rows is a part of the distribution, not a mistake."""


class Distances(NamedTuple):
    """Squared distances of rows from their centre, and the rows that are too far."""

    kept: Bool[np.ndarray, " all"] | None
    """Which rows of the file are measured; None if all are."""
    squared: Float32[np.ndarray, " n"]
    """Squared distance along the scaled axes; its mean is the number of axes."""
    axes: int
    """Principal axes that count."""
    excess: float
    """E r^4 / (k (k + 2)) - 1: 0 for a Gaussian, positive for heavy tails, 2 / (nu - 4) for
    Student's t."""
    beyond: int
    """Rows further out than the furthest of as many Gaussian rows, but less than twice so."""
    outliers: Int64[np.ndarray, " o"]
    """Positions of rows at least twice as far beyond; the furthest first."""
    by: Float32[np.ndarray, " n"]
    """How far out each row is, the most extreme of three measures: at 1 Gaussian rows end."""

    def row(self, position: int) -> int:
        """The number of the row at a position in `squared`."""
        return position if self.kept is None else int(np.flatnonzero(self.kept)[position])

    @property
    def are_outliers(self) -> bool:
        """Whether the outliers are few, and stand apart from all other rows."""
        most = max(MOST_OUTLIERS * len(self.squared), 2)
        return 0 < len(self.outliers) <= most and self.beyond <= len(self.outliers)


def distances(
    samples: Samples,
    moments: Moments,
    shape: Spectrum,
    kept: Bool[np.ndarray, " all"] | None,
    progress: Progress = lambda _: None,
    *,
    shared: bool = False,
) -> Distances:
    """Read all rows once more and measure how far each of those kept lies from the centre.

    Three measures: the distance, the largest coordinate along a principal axis, and the largest of
    the file's own coordinates, so that one broken number in 768 is seen as well as a far sample.
    """
    n, k = moments.n, max(1, min(shape.alive, moments.n // 4))
    scale = np.sqrt(shape.eigenvalues[:k])
    basis = (shape.axes[:, :k] / scale).astype(np.float32)
    deviation = np.sqrt(moments.variances().clip(min=0))
    safe = np.where(deviation > 0, deviation, np.inf)
    squared, by = np.empty(n, np.float32), np.empty(n, np.float32)
    typical, bound = (k, 1.0, 1.0), _bounds(n, k, shape.d)

    def far_out(start: int, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        block = block if kept is None else block[kept[start : start + len(block)]]
        centred = (block - moments.mean).astype(np.float32)
        scores = centred @ basis
        np.square(scores, out=scores)
        centred /= safe.astype(np.float32)
        np.square(centred, out=centred)
        measures = (scores.sum(1), scores.max(1), centred.max(1))
        out = [(m - t) / (b - t) for m, t, b in zip(measures, typical, bound) if b > t]
        return measures[0], np.max(out, axis=0)

    at = 0
    for size, (of_block, out) in in_turns(samples.blocks(), far_out, shared=shared):
        here = slice(at, at + len(of_block))
        squared[here], by[here] = of_block, out
        at += len(of_block)
        progress(size)
    far = np.flatnonzero(by > 2)
    return Distances(
        kept=kept,
        squared=squared,
        axes=k,
        excess=_excess(squared, k),
        beyond=int(((by > 1) & (by <= 2)).sum()),
        outliers=far[np.argsort(-by[far], kind="stable")],
        by=by,
    )


def _excess(squared: Float32[np.ndarray, " n"], k: int) -> float:
    """Relative to Gaussian samples of this size, of which the squares' mean is k."""
    n, squares = len(squared), squared.astype(np.float64)
    fourth = (squares**2).mean() / squares.mean() ** 2
    return float(fourth * k / (k + 2) * (n + 1) / (n - 1) - 1)


def _bounds(n: int, k: int, d: int) -> tuple[float, float, float]:
    """What n Gaussian rows stay below, all of them, except with chance `LEVEL`."""

    def quantile(axes: int, chance: float) -> float:
        most = (n - 1) ** 2 / n
        return most * float(stats.beta.isf(chance, axes / 2, max(n - axes - 1, 1e-3) / 2))

    return quantile(k, LEVEL / n), quantile(1, LEVEL / (n * k)), quantile(1, LEVEL / (n * d))
