"""The kernel classifier against the normal equations and scikit-learn's KernelRidge."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge

from isojepa.encoders.evaluation import kernel
from isojepa.encoders.evaluation.kernel import kernel_probe, median_distance
from isojepa.encoders.evaluation.labelled import Labelled

x, y = load_digits(return_X_y=True)
x = x.astype(np.float32)
train, test = Labelled(x[:400], y[:400]), Labelled(x[400:], y[400:])


def test_equals_the_normal_equations() -> None:
    probe = kernel_probe(train, test, factors=[0.5], ridges=[0.1])
    gram = np.exp(-0.5 * (cdist(train.x, train.x) / probe.bandwidth) ** 2)
    weights = np.linalg.solve(gram + 0.1 * np.eye(400), np.eye(10)[train.y])
    expected = np.exp(-0.5 * (cdist(test.x, train.x) / probe.bandwidth) ** 2) @ weights
    np.testing.assert_array_equal(probe.predictions, expected.argmax(1))
    assert probe.bandwidth == pytest.approx(0.5 * median_distance(train.x))


def test_equals_kernel_ridge_with_the_chosen_settings() -> None:
    probe = kernel_probe(train, test)
    reference = KernelRidge(alpha=probe.ridge, kernel="rbf", gamma=0.5 / probe.bandwidth**2)
    expected = reference.fit(train.x, np.eye(10)[train.y]).predict(test.x).argmax(1)
    assert np.mean(probe.predictions == expected) > 0.995
    assert probe.accuracy > 0.9


def test_landmarks_come_close_to_the_exact_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = kernel_probe(train, test)
    monkeypatch.setattr(kernel, "EXACT_LIMIT", 100)
    monkeypatch.setattr(kernel, "LANDMARKS", 200)
    assert kernel_probe(train, test).accuracy == pytest.approx(exact.accuracy, abs=0.03)


def test_median_distance() -> None:
    line = np.array([[0.0], [1.0], [3.0]], np.float32)
    assert median_distance(line) == 2
    assert median_distance(np.ones((5, 2), np.float32)) == 1
