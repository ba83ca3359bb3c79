"""Labelled samples, and the stratified split on which every score chooses its settings."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from isojepa.errors import UserError


class Labelled(NamedTuple):
    """One representation of n samples with their classes."""

    x: Float[np.ndarray, "n d"]
    """Frozen features, one row per sample."""
    y: Int[np.ndarray, " n"]
    """Class labels, any integers."""

    def rows(self, rows: Int[np.ndarray, " m"]) -> "Labelled":
        """The samples at these positions, in this order."""
        return Labelled(self.x[rows], self.y[rows])


def check(train: Labelled, test: Labelled) -> None:
    """Raise UserError, with the remedy, for features or labels on which no score is defined."""
    for name, part in (("train", train), ("test", test)):
        if len(part.y) == 0:
            raise UserError(f"the {name} set is empty: it needs at least one labelled sample")
        if len(part.x) != len(part.y):
            raise UserError(
                f"the {name} set has {len(part.x)} feature rows and {len(part.y)} labels: "
                "pass one label per row"
            )
        if not np.isfinite(part.x).all():
            raise UserError(
                f"the {name} features contain NaN or infinity: check the encoder and its input"
            )
    if train.x.shape[1] != test.x.shape[1]:
        raise UserError(
            f"train features have {train.x.shape[1]} dimensions and test features "
            f"{test.x.shape[1]}: embed both sets with the same encoder and image size"
        )
    if len(np.unique(train.y)) < 2:
        raise UserError("the training labels hold fewer than 2 classes: add labelled samples")


def validation_split(
    train: Labelled, fraction: float = 0.2, seed: int = 0
) -> tuple[Labelled, Labelled]:
    """Split into (fit, validation), class by class.

    Each class with two samples or more gives `fraction` of them, rounded but at least one and
    never all, to the validation part; a class with a single sample stays in the fit part.
    (scikit-learn's stratified split refuses such a class.)

    Raises:
        UserError: every class has a single sample, so that nothing is left to validate on.
    """
    rng = np.random.default_rng(seed)
    fit, validation = [], []
    for label in np.unique(train.y):
        rows = rng.permutation(np.flatnonzero(train.y == label))
        held_out = min(max(round(fraction * len(rows)), 1), len(rows) - 1)
        validation.append(rows[:held_out])
        fit.append(rows[held_out:])
    held_out_rows = np.sort(np.concatenate(validation))
    if len(held_out_rows) == 0:
        raise UserError(
            "every class has a single training sample: at least one class needs two, "
            "to choose the penalty on"
        )
    return train.rows(np.sort(np.concatenate(fit))), train.rows(held_out_rows)


def accuracy(predictions: Int[np.ndarray, " n"], y: Int[np.ndarray, " n"]) -> float:
    """Share of correct predictions, in [0, 1]."""
    return float(np.mean(predictions == y))
