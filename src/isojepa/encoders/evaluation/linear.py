"""Linear probe: multinomial logistic regression on frozen features."""

import warnings
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from isojepa.encoders.evaluation.labelled import Labelled, accuracy, check, validation_split
from isojepa.encoders.evaluation.threads import half_the_cores

PENALTIES = (10.0, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
PATIENCE = 2
"""Penalties, each weaker than the last, that may fail to be better before no more are tried."""


class LinearProbe(NamedTuple):
    """A fitted probe's result on the test set."""

    accuracy: float
    """Share of correct test predictions, in [0, 1]."""
    penalty: float
    """The penalty chosen on the validation split."""
    predictions: Int[np.ndarray, " n"]
    """Predicted test labels; `sklearn.metrics.confusion_matrix(y, predictions)` tabulates them."""


@half_the_cores()
def linear_probe(
    train: Labelled,
    test: Labelled,
    *,
    penalties: Iterable[float] = PENALTIES,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> LinearProbe:
    """Fit on train, with the penalty chosen on a stratified part of it; predict test.

    The objective is mean cross-entropy + penalty / 2 * |weights|^2, intercepts unpenalised, on
    features brought by `to_common_scale` to a mean square of 1. Penalties are tried from the
    largest down until `PATIENCE` in a row are no better; ties go to the larger.

    Raises:
        UserError: fewer than two classes, non-finite features, or nothing to validate on.
    """
    check(train, test)
    x_train, x_test = to_common_scale(train.x, test.x)
    train, test = Labelled(x_train, train.y), Labelled(x_test, test.y)
    fit, validation = validation_split(train, validation_fraction, seed)
    descending = sorted(penalties, reverse=True)
    trials: list[float] = []
    for model in _path(fit, descending):
        trials.append(accuracy(model.predict(validation.x), validation.y))
        if len(trials) - int(np.argmax(trials)) > PATIENCE:
            break  # weaker penalties overfit more, and take most of the time
    penalty = descending[int(np.argmax(trials))]
    (model,) = _path(train, [penalty])
    predictions = model.predict(test.x)
    return LinearProbe(accuracy(predictions, test.y), penalty, predictions)


def to_common_scale(
    train: Float[np.ndarray, "n d"], test: Float[np.ndarray, "m d"]
) -> tuple[Float[np.ndarray, "n r"], Float[np.ndarray, "m r"]]:
    """Centre by the training mean and divide by one global scale, r = min(n, d) dimensions out.

    One scale, and not one per dimension: whitening would undo, for every representation, the very
    anisotropy whose cost the probe should show.

    When d > n the features are rotated into the row space of the centred training data. This is
    exact: a component of the weights orthogonal to all training data changes no training
    prediction and only adds to an L2 penalty, so the optimum has none.
    """
    mean = train.mean(0, dtype=np.float64).astype(np.float32)
    train, test = train - mean, test - mean
    if train.shape[1] > train.shape[0]:
        basis, _ = np.linalg.qr(train.T)
        train, test = train @ basis, test @ basis
    scale = np.sqrt(np.mean(np.square(train), dtype=np.float64))
    scale = np.float32(scale) if scale > 0 else np.float32(1)
    return train / scale, test / scale


def _path(data: Labelled, penalties: Iterable[float]) -> Iterator[LogisticRegression]:
    """The same model, refitted for each penalty from the last optimum."""
    model = LogisticRegression(max_iter=1000, warm_start=True)
    with warnings.catch_warnings():
        # A weak penalty on separable data need not converge to be compared on held-out data.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for penalty in penalties:
            model.C = 1 / (penalty * len(data.y))
            yield model.fit(data.x, data.y)
