"""Nearest neighbours under cosine similarity, as usual in self-supervised evaluation."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

from isojepa.encoders.evaluation.labelled import Labelled, accuracy, check, validation_split
from isojepa.encoders.evaluation.threads import half_the_cores

TEMPERATURE = 0.07


class KnnProbe(NamedTuple):
    """A nearest-neighbour classifier's result on the test set."""

    accuracy: float
    """Share of correct test predictions, in [0, 1]."""
    k: int
    """The number of neighbours chosen on the validation split."""
    predictions: Int[np.ndarray, " n"]
    """Predicted test labels."""


@half_the_cores()
def knn_probe(
    train: Labelled,
    test: Labelled,
    *,
    neighbours: Iterable[int] = (1, 5, 10, 20),
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> KnnProbe:
    """Vote of the k most similar training samples, weighted by exp(cosine / 0.07).

    k is chosen on a stratified part of train, ties going to the smaller; then all of train votes.
    Features are neither centred nor scaled by dimension.

    Raises:
        UserError: fewer than two classes, non-finite features, or nothing to validate on.
    """
    check(train, test)
    fit, validation = validation_split(train, validation_fraction, seed)
    ascending = sorted(neighbours)
    trials = [accuracy(p, validation.y) for p in _votes(fit, validation.x, ascending)]
    k = ascending[int(np.argmax(trials))]
    (predictions,) = _votes(train, test.x, [k])
    return KnnProbe(accuracy(predictions, test.y), k, predictions)


def _votes(
    train: Labelled, queries: Float[np.ndarray, "m d"], neighbours: list[int]
) -> list[Int[np.ndarray, " m"]]:
    """Predictions for each number of neighbours, from one search for the largest."""
    # Between unit vectors distance^2 = 2 - 2 cosine, and scikit-learn's Euclidean brute-force
    # search is the one that works blockwise, in bounded memory.
    index = NearestNeighbors(algorithm="brute").fit(normalize(train.x))
    distances, found = index.kneighbors(normalize(queries), min(neighbours[-1], len(train.y)))
    # exp(-distance^2 / 2 / T) = exp(cosine / T) up to a factor that all votes share.
    weights = np.exp(-np.square(distances) / (2 * TEMPERATURE))
    classes, labels = np.unique(train.y, return_inverse=True)
    votes = np.zeros((len(queries), len(classes)))
    predictions = []
    for start, stop in zip([0, *neighbours], neighbours):
        for rank in range(start, min(stop, found.shape[1])):
            votes[np.arange(len(queries)), labels[found[:, rank]]] += weights[:, rank]
        predictions.append(classes[votes.argmax(1)])
    return predictions
