"""All scores of a frozen representation, and the baselines it has to beat."""

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA

from isojepa.encoders.evaluation.few_shot import few_shot
from isojepa.encoders.evaluation.kernel import kernel_probe
from isojepa.encoders.evaluation.knn import knn_probe
from isojepa.encoders.evaluation.labelled import Labelled
from isojepa.encoders.evaluation.linear import linear_probe
from isojepa.encoders.evaluation.results import Scores
from isojepa.encoders.evaluation.threads import half_the_cores


def score_representation(train: Labelled, test: Labelled, *, seed: int = 0) -> Scores:
    """Fit every classifier on train, with its settings chosen inside train, and score it on test.

    Raises:
        UserError: fewer than two classes, non-finite features, or only one sample in every class.
    """
    return Scores(
        linear=linear_probe(train, test, seed=seed).accuracy,
        knn=knn_probe(train, test, seed=seed).accuracy,
        kernel=kernel_probe(train, test, seed=seed).accuracy,
        shots=few_shot(train, test, seed=seed),
        n_train=len(train.y),
        n_test=len(test.y),
    )


Features = tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"]]
"""Features of the training and of the test samples."""


@half_the_cores()
def raw_baselines(
    train: Float[np.ndarray, "n d"], test: Float[np.ndarray, "m d"], name: str = "pixels"
) -> dict[str, Features]:
    """What needs no learning: the samples as they are, by `name`, and `pca`, their first 64
    principal components or fewer."""
    components = min(64, train.shape[1], train.shape[0] - 1)
    pca = PCA(components, random_state=0).fit(train)
    return {name: (train, test), "pca": (pca.transform(train), pca.transform(test))}
