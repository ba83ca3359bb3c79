"""Probes: how well a quantity is read from a representation, in a straight line or not."""

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64, Int64
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor

from isojepa.world.analysis.quantities import as_regression, as_values, column_slices
from isojepa.world.environments.environment import Quantity

ProbeKind = Literal["linear", "mlp"]
PROBES: tuple[ProbeKind, ...] = get_args(ProbeKind)
HIDDEN, EPOCHS = 128, 40  # of the MLP
PENALTIES = np.logspace(-4, 4, 17)
DRAWS = 1000  # of the bootstrap


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    """How well a probe finds one quantity in held-out episodes; None where it is not defined."""

    r: float | None
    """Pearson's, of truth and prediction; of an angle, the mean of sine's and cosine's."""
    r2: float | None
    """Share of the variance explained: 1 is perfect, 0 no better than the held-out mean."""
    mse: float | None
    """Mean squared error in the quantity's own unit; of an angle, of the shorter turn, rad²."""
    mse_normalised: float | None
    """Over the variance in training; of an angle, of sine and cosine together."""
    interval: tuple[float, float] | None
    """95 % of r, by bootstrap over episodes; None with fewer than three of them."""


def fit_probe(
    kind: ProbeKind,
    x: Float[np.ndarray, "n d"],
    y: Float64[np.ndarray, "n k"],
    x_new: Float[np.ndarray, "m d"],
    *,
    seed: int,
) -> Float64[np.ndarray, "m k"]:
    """Fit a probe on (x, y) and predict at x_new.

    Args:
        kind: `linear`, ridge regression with its penalty chosen by leave-one-out; or `mlp`, one
            hidden layer of 128.
    """
    centre, unit = x.mean(0), x.std(0)
    unit = np.where(unit > 1e-6 * max(float(unit.max()), 1e-12), unit, np.inf)
    x, x_new = ((v - centre) / unit for v in (x, x_new))
    mean, deviation = y.mean(0), np.maximum(y.std(0), 1e-12)
    y = (y - mean) / deviation
    if kind == "linear":
        guess = (
            RidgeCV(PENALTIES, alpha_per_target=True).fit(x.astype(np.float64), y).predict(x_new)
        )
    else:
        network = MLPRegressor(
            hidden_layer_sizes=(HIDDEN,), batch_size=min(128, len(x)), learning_rate_init=2e-3,
            max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=seed,
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            guess = network.fit(x, y[:, 0] if y.shape[1] == 1 else y).predict(x_new)
    return guess.reshape(len(x_new), -1).astype(np.float64) * deviation + mean


def score_probe(
    quantities: tuple[Quantity, ...],
    train: Float64[np.ndarray, "n q"],
    truth: Float64[np.ndarray, "m q"],
    guess: Float64[np.ndarray, "m k"],
    episode: Int64[np.ndarray, " m"],
) -> list[ProbeScore]:
    """Compare predictions with the truth, quantity by quantity.

    Args:
        train: values in training, whose variance normalises the error.
        guess: as `as_regression` lays quantities out.
        episode: of each row: what the bootstrap draws.
    """
    usual = as_regression(quantities, train).var(0)
    expected, values = as_regression(quantities, truth), as_values(quantities, guess)
    scores = []
    for i, (quantity, at) in enumerate(zip(quantities, column_slices(quantities))):
        y, predicted = expected[:, at], guess[:, at]
        squares = ((y - predicted) ** 2).sum(1)
        off = values[:, i] - truth[:, i]
        if quantity.angle:
            off = (off + np.pi) % (2 * np.pi) - np.pi
        r, interval = correlation(y, predicted, episode)
        scores.append(
            ProbeScore(
                r=r,
                interval=interval,
                r2=float(1 - squares.mean() / max(y.var(0).sum(), 1e-300)),
                mse=float((off**2).mean()),
                mse_normalised=float(squares.mean() / max(usual[at].sum(), 1e-300)),
            )
        )
    return scores


def correlation(
    truth: Float64[np.ndarray, "m k"],
    guess: Float64[np.ndarray, "m k"],
    group: Int64[np.ndarray, " m"],
) -> tuple[float, tuple[float, float] | None]:
    """Pearson's r, averaged over k columns, and its 95 % interval by bootstrap over groups.

    Frames of one episode are alike, so whole episodes are drawn; None with fewer than three.
    """
    t, g = truth - truth.mean(0), guess - guess.mean(0)
    _, place = np.unique(group, return_inverse=True)
    terms = np.stack([np.ones_like(t), t, g, t * t, g * g, t * g])  # (6, m, k)
    groups = int(place.max()) + 1
    sums = np.stack([[np.bincount(place, c, groups) for c in term.T] for term in terms])
    whole = float(_pearson(sums.sum(-1)).mean())
    if groups < 3:
        return whole, None
    weights = np.random.default_rng(0).multinomial(groups, np.full(groups, 1 / groups), DRAWS)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = _pearson(sums @ weights.T).mean(0)  # (draws,)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return whole, (float(low), float(high))


def _pearson(sums: Float64[np.ndarray, " six *k"]) -> Float64[np.ndarray, "*k"]:
    n, t, g, tt, gg, tg = sums
    variances = np.maximum(tt - t * t / n, 0) * np.maximum(gg - g * g / n, 0)
    covariance = tg - t * g / n
    return np.where(variances > 0, covariance / np.sqrt(np.maximum(variances, 1e-300)), 0.0)
