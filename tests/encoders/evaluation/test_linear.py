"""The linear probe against scikit-learn's optimum and against brute force."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from isojepa.encoders.evaluation.labelled import Labelled
from isojepa.encoders.evaluation.linear import linear_probe, to_common_scale


def clusters(n: int, d: int, classes: int, seed: int, spread: float = 2.0) -> Labelled:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    y = np.arange(n) % classes
    return Labelled((centres[y] + spread * rng.normal(size=(n, d))).astype(np.float32), y)


def test_equals_scikit_learn_at_the_same_penalty() -> None:
    train, test = clusters(300, 12, 4, seed=0), clusters(500, 12, 4, seed=1)
    mean = train.x.mean(0)
    scale = np.sqrt(np.square(train.x - mean).mean())
    reference = LogisticRegression(C=1 / (0.05 * 300), solver="newton-cg", tol=1e-8)
    reference.fit((train.x - mean).astype(np.float64) / scale, train.y)
    expected = reference.predict((test.x - mean) / scale)
    probe = linear_probe(train, test, penalties=[0.05])
    assert probe.penalty == 0.05
    assert np.mean(probe.predictions == expected) > 0.995
    assert probe.accuracy == pytest.approx(np.mean(probe.predictions == test.y))


def test_penalty_means_what_the_docstring_says() -> None:
    train, test = clusters(60, 3, 3, seed=0), clusters(400, 3, 3, seed=1)
    x, x_test = (part.astype(np.float64) for part in to_common_scale(train.x, test.x))

    def objective(v: np.ndarray) -> float:
        w, b = v[:9].reshape(3, 3), v[9:]
        cross_entropy = -log_softmax(x @ w + b, axis=1)[np.arange(60), train.y].mean()
        return float(cross_entropy + 0.3 / 2 * np.square(w).sum())

    v = minimize(objective, np.zeros(12), tol=1e-8).x
    expected = (x_test @ v[:9].reshape(3, 3) + v[9:]).argmax(1)
    assert np.mean(linear_probe(train, test, penalties=[0.3]).predictions == expected) > 0.99


def test_row_space_rotation_is_exact() -> None:
    """With more dimensions than samples the same optimum is reached as without the rotation."""
    train, test = clusters(40, 200, 2, seed=0, spread=6), clusters(300, 200, 2, seed=1, spread=6)
    assert to_common_scale(train.x, test.x)[0].shape == (40, 40)
    mean = train.x.mean(0)
    scale = np.sqrt(np.square(train.x - mean).sum() / (40 * 40))
    reference = LogisticRegression(C=1 / (0.1 * 40), solver="newton-cg", tol=1e-8)
    reference.fit((train.x - mean).astype(np.float64) / scale, train.y)
    expected = reference.predict((test.x - mean) / scale)
    assert np.mean(linear_probe(train, test, penalties=[0.1]).predictions == expected) > 0.99


def test_standardise_keeps_anisotropy() -> None:
    x = (np.random.default_rng(0).normal(size=(500, 2)) * [10, 0.1]).astype(np.float32)
    scaled, _ = to_common_scale(x, x)
    assert np.square(scaled).mean() == pytest.approx(1, rel=1e-5)
    assert scaled.std(0)[0] / scaled.std(0)[1] == pytest.approx(x.std(0)[0] / x.std(0)[1], rel=1e-4)


def test_penalty_is_chosen_on_held_out_training_data() -> None:
    """Many useless dimensions call for a strong penalty, and a strong penalty is what is chosen."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 4200)
    x = rng.normal(size=(4200, 100)).astype(np.float32)
    x[:, 0] += 1.5 * y
    train, test = Labelled(x[:200], y[:200]), Labelled(x[200:], y[200:])
    chosen = linear_probe(train, test)
    weak = linear_probe(train, test, penalties=[1e-5])
    assert chosen.penalty >= 1e-1
    assert chosen.accuracy > weak.accuracy


def test_labels_may_be_any_integers_and_unseen_ones_count_as_errors() -> None:
    train = clusters(90, 4, 3, seed=0, spread=0.1)
    test = Labelled(train.x, np.where(train.y == 0, 40, train.y * 10))
    assert linear_probe(train._replace(y=train.y * 10), test).accuracy == pytest.approx(2 / 3)
