"""Are there gaps? A valley between two peaks, found on some samples and counted on others."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special
from scipy.cluster.vq import kmeans2
from scipy.ndimage import gaussian_filter1d

GRID = 256
CLUSTERS = (2, 4, 8, 16)
LEAST_SHARE = 0.02
"""Of the samples, on either side of a valley."""


class Valley(NamedTuple):
    """A place of low density between two peaks of a one-dimensional sample."""

    left: float
    """Place of a peak."""
    bottom: float
    right: float
    """Place of the other peak."""


class Gap(NamedTuple):
    """A valley counted on samples that did not choose it."""

    density: float
    """Of the valley, relative to the lesser peak: 0 if empty, 1 if there is none."""
    p_value: float
    """How often equal densities would leave so few samples in the valley (binomial)."""
    share: float
    """Of the samples, on the smaller side."""


def deepest_valley(x: Float[np.ndarray, " n"]) -> Valley:
    """The deepest valley of a kernel density estimate; without one, all three places coincide."""
    low, lower, upper, high = np.quantile(x, [0.002, 0.25, 0.75, 0.998])
    width = 1.06 * min(x.std(), (upper - lower) / 1.349 or np.inf) * len(x) ** -0.2
    low, high = low - 3 * width, high + 3 * width
    if not high > low:
        return Valley(float(low), float(low), float(low))
    counts, edges = np.histogram(x, GRID, (low, high))
    density = gaussian_filter1d(counts.astype(float), width / (high - low) * GRID, mode="constant")
    left_peak = np.maximum.accumulate(density)
    right_peak = np.maximum.accumulate(density[::-1])[::-1]
    bottom = int((np.minimum(left_peak, right_peak) - density).argmax())
    left, right = int(density[: bottom + 1].argmax()), bottom + int(density[bottom:].argmax())
    centres = (edges[1:] + edges[:-1]) / 2
    return Valley(float(centres[left]), float(centres[bottom]), float(centres[right]))


def count_gap(x: Float[np.ndarray, " n"], valley: Valley) -> Gap:
    """Count `x` in equal windows at the valley and at its two peaks.

    A law with one peak is at least as dense in the middle as at one of the outer places, so that
    the middle window falls short of both others only by chance.
    """
    half = min(valley.right - valley.bottom, valley.bottom - valley.left) / 4
    places = np.array([valley.left, valley.bottom, valley.right])[:, None]
    left, middle, right = (np.abs(x - places) <= half).sum(1).tolist()
    peak, side = min(left, right), float((x < valley.bottom).mean())
    if half <= 0 or peak == 0:
        return Gap(1.0, 1.0, min(side, 1 - side))
    p = float(special.bdtr(middle, middle + peak, 0.5))
    return Gap(middle / peak, p, min(side, 1 - side))


def separating_directions(scores: Float[np.ndarray, "n k"], seed: int) -> Float[np.ndarray, "k m"]:
    """Unit directions that k-means clusters suggest, with and without Fisher's scaling.

    From each cluster towards its nearest neighbour, and away from all others. `scores` are
    coordinates along the principal axes, the widest first: clusters are sought among these.
    """
    n, k = scores.shape
    found = [np.empty((0, k))]
    for axes in sorted({min(axes, k) for axes in (3, 10, 32)}):
        for count in CLUSTERS:
            if n >= 20 * count:
                towards = _between_clusters(scores[:, :axes], count, seed)
                found.append(np.pad(towards, ((0, 0), (0, k - axes))))
    directions = np.concatenate(found).T
    return directions / np.maximum(np.linalg.norm(directions, axis=0), 1e-30)


def _between_clusters(
    scores: Float[np.ndarray, "n k"], count: int, seed: int
) -> Float[np.ndarray, "m k"]:
    centres, label = kmeans2(scores, count, minit="++", rng=seed, missing="warn")
    sizes = np.bincount(label, minlength=count)
    chosen = np.flatnonzero(sizes > LEAST_SHARE * len(scores))
    apart = ((centres[:, None] - centres) ** 2).sum(-1) + np.diag(np.full(count, np.inf))
    rest = (sizes @ centres - sizes[:, None] * centres) / (len(scores) - sizes)[:, None].clip(1)
    towards = np.concatenate([centres - centres[apart.argmin(1)], centres - rest])
    towards = towards[np.r_[chosen, chosen + count]]
    within = scores - centres[label]
    inverse = np.linalg.pinv(within.T @ within / len(scores), hermitian=True)
    return np.concatenate([towards, towards @ inverse])
