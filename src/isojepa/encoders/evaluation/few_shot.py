"""Few-shot accuracy: how far a handful of labels goes on frozen features."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from scipy import stats
from sklearn.preprocessing import normalize

from isojepa.encoders.evaluation.labelled import Labelled, accuracy, check
from isojepa.encoders.evaluation.results import FewShot
from isojepa.encoders.evaluation.threads import half_the_cores


@half_the_cores()
def few_shot(
    train: Labelled,
    test: Labelled,
    *,
    shots: Iterable[int] = (1, 5, 10),
    draws: int = 100,
    seed: int = 0,
) -> dict[int, FewShot | None]:
    """Nearest-class-mean accuracy with so many labelled samples per class, averaged over draws.

    Features are centred by the mean of all training features, which needs no label, and compared
    by cosine, each labelled sample at unit length. Nothing is tuned, as one label per class leaves
    nothing to tune on. On the pixels of handwritten digits, a baseline that the choice of
    classifier must not handicap, this reaches 64, 83 and 87 % at 1, 5 and 10 shots; Euclidean
    distance to the class means 63, 83 and 88 %; logistic regression 62, 85 and 90 %.

    Args:
        shots: labelled samples per class. Counts that some class cannot supply are left out of
            the result: their key is absent.
        draws: independent draws of the labelled samples; at least 2.

    Returns:
        One entry per shot count.

    Raises:
        UserError: fewer than two classes, or non-finite features.
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2 for an interval, got {draws}")
    check(train, test)
    mean = train.x.mean(0, dtype=np.float64).astype(train.x.dtype)
    train = Labelled(normalize(train.x - mean), train.y)
    queries = normalize(test.x - mean)
    classes, counts = np.unique(train.y, return_counts=True)
    result: dict[int, FewShot | None] = {}
    for count in sorted(shots):
        if count > counts.min():
            continue
        accuracies = []
        for draw in range(draws):
            means = class_means(train, count, np.random.default_rng([seed, count, draw]))
            predictions = classes[(queries @ normalize(means).T).argmax(1)]
            accuracies.append(accuracy(predictions, test.y))
        result[count] = _summary(accuracies)
    return result


def class_means(
    data: Labelled, count: int, rng: np.random.Generator
) -> Float[np.ndarray, "classes d"]:
    """The mean of `count` samples drawn from each class without replacement, classes sorted."""
    return np.stack(
        [
            data.x[rng.choice(np.flatnonzero(data.y == label), count, replace=False)].mean(0)
            for label in np.unique(data.y)
        ]
    )


def _summary(accuracies: list[float]) -> FewShot:
    mean = float(np.mean(accuracies))
    half = float(stats.t.ppf(0.975, len(accuracies) - 1) * stats.sem(accuracies))
    return FewShot(mean=mean, interval=(max(mean - half, 0.0), min(mean + half, 1.0)))
