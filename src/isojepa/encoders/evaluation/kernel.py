"""Gaussian-kernel classifier: ridge regression on one-hot labels."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import pdist
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel

from isojepa.encoders.evaluation.labelled import Labelled, accuracy, check, validation_split
from isojepa.encoders.evaluation.threads import half_the_cores

EXACT_LIMIT = 5000
"""Up to this many training samples the kernel is exact; beyond, Nystroem landmarks stand in."""
LANDMARKS = 1000


class KernelProbe(NamedTuple):
    """A kernel classifier's result on the test set."""

    accuracy: float
    """Share of correct test predictions, in [0, 1]."""
    bandwidth: float
    """The kernel's standard deviation, in units of the features, chosen on the validation split."""
    ridge: float
    """The ridge chosen on the validation split, relative to the kernel's diagonal of 1."""
    predictions: Int[np.ndarray, " n"]
    """Predicted test labels."""


@half_the_cores()
def kernel_probe(
    train: Labelled,
    test: Labelled,
    *,
    factors: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    ridges: Sequence[float] = (1.0, 1e-1, 1e-2, 1e-3),
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> KernelProbe:
    """Least squares on one-hot labels in the space of the kernel exp(-distance^2 / 2 bandwidth^2).

    The bandwidth is a factor times the median distance between training samples. Factor and ridge
    are chosen together on a stratified part of train, then all of train is fitted.

    Raises:
        UserError: fewer than two classes, non-finite features, or nothing to validate on.
    """
    check(train, test)
    exact = len(train.y) <= EXACT_LIMIT
    fit, validation = validation_split(train, validation_fraction, seed)
    median = median_distance(train.x, seed)
    trials = {
        (factor * median, ridge): accuracy(predictions, validation.y)
        for factor in factors
        for ridge, predictions in _ridge_path(fit, validation.x, factor * median, ridges, exact)
    }
    bandwidth, ridge = max(trials, key=lambda setting: trials[setting])
    ((_, predictions),) = _ridge_path(train, test.x, bandwidth, [ridge], exact)
    return KernelProbe(accuracy(predictions, test.y), bandwidth, ridge, predictions)


def median_distance(x: Float[np.ndarray, "n d"], seed: int = 0, sample: int = 1000) -> float:
    """Median Euclidean distance between distinct samples, over at most `sample` of them.

    1 when it would be 0, so that it can always serve as a bandwidth.
    """
    rows = np.random.default_rng(seed).permutation(len(x))[:sample]
    return float(np.median(pdist(x[rows]))) or 1.0


def _ridge_path(
    train: Labelled,
    queries: Float[np.ndarray, "m d"],
    bandwidth: float,
    ridges: Sequence[float],
    exact: bool,
) -> Iterator[tuple[float, Int[np.ndarray, " m"]]]:
    """Predictions for each ridge; the kernel is computed once."""
    classes, labels = np.unique(train.y, return_inverse=True)
    targets = np.eye(len(classes))[labels]
    gamma = 0.5 / bandwidth**2
    x, queries = train.x.astype(np.float64), queries.astype(np.float64)
    if exact:
        left, right = rbf_kernel(x, gamma=gamma), rbf_kernel(queries, x, gamma=gamma)
    else:
        landmarks = Nystroem(gamma=gamma, n_components=LANDMARKS, random_state=0).fit(x)
        left, right = landmarks.transform(x), landmarks.transform(queries)
    for ridge in ridges:
        model = (
            KernelRidge(alpha=ridge, kernel="precomputed")
            if exact
            else Ridge(alpha=ridge, fit_intercept=False)
        )
        yield ridge, classes[model.fit(left, targets).predict(right).argmax(1)]
