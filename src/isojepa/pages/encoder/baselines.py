"""What the scores say: the encoder against what learns nothing."""

import math
from typing import NamedTuple

from isojepa.encoders.evaluation.results import Scores
from isojepa.pages.run import Run
from isojepa.theme.wording import percent

MEASURES = {"linear": "linear probe", "knn": "k-NN", "kernel": "kernel machine"}


def measured(run: Run, name: str) -> list[float | None]:
    """The accuracies of a representation, in the order of `MEASURES`."""
    return [getattr(run.scores.get(name, Scores()), key) for key in MEASURES]


BASELINES = {
    "pixels": "raw pixels",
    "raw": "raw values",
    "pca": "PCA",
    "untrained": "the untrained encoder",
}


class Comparison(NamedTuple):
    """The encoder against one baseline by one measure."""

    baseline: str
    measure: str
    ours: float
    theirs: float
    margin: float
    """Two standard errors of the difference of two shares of the test set."""

    @property
    def in_words(self) -> str:
        ours, theirs = percent(self.ours), percent(self.theirs)
        return f"{BASELINES[self.baseline]} by {MEASURES[self.measure]} ({ours} against {theirs})"

    @property
    def loses(self) -> bool:
        """Beyond the test set's noise."""
        return self.ours < self.theirs - self.margin

    @property
    def trails(self) -> bool:
        """Within the noise or beyond it."""
        return self.ours < self.theirs


def comparisons(run: Run) -> list[Comparison]:
    """Linear probe and k-NN against the same on each baseline, as far as they were measured."""
    encoder = run.scores.get("encoder", Scores())
    found = []
    for name in BASELINES:
        for key in ("linear", "knn"):
            ours, theirs = getattr(encoder, key), getattr(run.scores.get(name, Scores()), key)
            if ours is not None and theirs is not None:
                variance = ours * (1 - ours) + theirs * (1 - theirs)
                margin = 2 * math.sqrt(variance / max(encoder.n_test or 1000, 1))
                found.append(Comparison(name, key, ours, theirs, margin))
    return found


def probes_are_fine(run: Run) -> bool:
    """Whether training made the encoder no worse by any measure, and better by one.

    False without the scores of both. The untrained encoder is the fair comparison: a linear probe
    rescales its input, so it reads a collapsed encoder as well as an untrained one.
    """
    pairs = zip(measured(run, "encoder"), measured(run, "untrained"))
    gains = [a - b for a, b in pairs if a is not None and b is not None]
    return bool(gains) and min(gains) >= -0.005 and max(gains) > 0
