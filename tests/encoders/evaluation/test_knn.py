"""Nearest neighbours against scikit-learn's classifier."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from isojepa.encoders.evaluation.knn import knn_probe
from isojepa.encoders.evaluation.labelled import Labelled

x, y = load_digits(return_X_y=True)
x = x.astype(np.float32) + np.random.default_rng(0).normal(0, 6, x.shape).astype(np.float32)
train, test = Labelled(x[:1000], y[:1000]), Labelled(x[1000:], y[1000:])


@pytest.mark.parametrize("k", [1, 5, 20])
def test_equals_scikit_learn(k: int) -> None:
    reference = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(train.x.astype(np.float64), train.y)
    probe = knn_probe(train, test, neighbours=[k])
    assert np.mean(probe.predictions == reference.predict(test.x.astype(np.float64))) > 0.998
    assert probe.accuracy == pytest.approx(np.mean(probe.predictions == test.y))


def test_k_is_chosen_where_one_neighbour_is_too_few() -> None:
    probe = knn_probe(train, test)
    assert probe.k > 1
    assert probe.accuracy > knn_probe(train, test, neighbours=[1]).accuracy


def test_more_neighbours_than_samples_and_zero_vectors_are_fine() -> None:
    angle = np.array([0.0, 0.1, 0.2, 3.0, 3.1, 3.2])
    few = Labelled(
        np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32), np.array([0, 0, 0, 1, 1, 1])
    )
    assert knn_probe(few, few, neighbours=[20]).accuracy == 1
    assert knn_probe(few, few._replace(x=np.zeros_like(few.x))).accuracy == 0.5
