"""Successive halving: many settings for few updates, the better ones for more (1502.07943).

Every rung trains from the start, to the end of a schedule as long as the rung. To go on with the
survivors would save a third, but would compare them while learning rates are high, which favours
the lower ones. Halving is within each recipe, where losses compare; the last rung has one of each.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import qmc

ETA = 3
"""Share of settings that goes on is 1 / ETA, for ETA times as many updates."""
LAMBDAS = (0.005, 0.2)
RATES = 4.0
"""Learning rates lie between the usual one over and times this."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """What is looked for."""

    lambd: float | Literal["auto"]
    lr: float
    recipe: str

    def in_words(self) -> str:
        """In columns, for the screen."""
        return f"lambda {self.lambd!s:<7} lr {self.lr!s:<8} {self.recipe:<7}"


@dataclass(frozen=True, kw_only=True)
class Rung:
    """Runs of equal length."""

    runs: int
    steps: int

    def in_words(self) -> str:
        """Such as "3 runs of 360 updates"."""
        return f"{self.runs} run{'s' if self.runs > 1 else ''} of {self.steps:,} updates"


def drawn(
    n: int, usual: Hyperparameters, recipes: Sequence[str], *, lambd: bool, lr: bool, seed: int
) -> list[Hyperparameters]:
    """Hyperparameters to try: the usual ones, and others spread evenly on logarithmic scales.

    Args:
        usual: what would be taken without a search.
        recipes: in turn.
        lambd, lr: whether to look for these; they keep their usual value otherwise.
    """
    exponents = qmc.Halton(2, seed=seed).random(n)
    low, high = np.log(LAMBDAS)
    lambdas = np.exp(low + (high - low) * exponents[:, 0])
    rates = usual.lr * RATES ** (2 * exponents[:, 1] - 1)
    made = [
        Hyperparameters(
            lambd=_rounded(lambdas[i]) if lambd and i else usual.lambd,
            lr=_rounded(rates[i]) if lr and i else usual.lr,
            recipe=recipes[i % len(recipes)],
        )
        for i in range(n)
    ]
    return list(dict.fromkeys(made))


def runs_of_rungs(settings: Sequence[Hyperparameters]) -> list[int]:
    """How many runs each rung has."""
    recipes = [one.recipe for one in settings]
    counts = [recipes.count(name) for name in dict.fromkeys(recipes)]
    made = [sum(counts)]
    while max(counts) > 1:
        counts = [math.ceil(count / ETA) for count in counts]
        made.append(sum(counts))
    return made


def rungs_within(
    runs: Sequence[int], seconds: float, *, update: float, overhead: float, most: int | None = None
) -> list[Rung]:
    """The longest rungs that fit, each `ETA` times the one before.

    Args:
        runs: of each rung.
        seconds: for all of them, one after the other.
        update: seconds of one.
        overhead: seconds of a run beside its updates.
        most: updates of the last rung, at most.
    """
    shares = [ETA**i for i in range(len(runs))]
    left = seconds - overhead * sum(runs)
    first = left / (update * sum(n * share for n, share in zip(runs, shares)))
    if most is not None:
        first = min(first, most / shares[-1])
    return [Rung(runs=n, steps=max(0, int(first * share))) for n, share in zip(runs, shares)]


def survivors(ranked: Sequence[Hyperparameters]) -> list[Hyperparameters]:
    """The better third of each recipe, at least one."""
    kept = []
    for recipe in dict.fromkeys(one.recipe for one in ranked):
        own = [one for one in ranked if one.recipe == recipe]
        kept += own[: math.ceil(len(own) / ETA)]
    return kept


def _rounded(x: float) -> float:
    return float(f"{x:.3g}")
