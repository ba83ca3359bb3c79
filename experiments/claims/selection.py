"""Claim 11: the training loss chooses the model, without labels.

Runs of one encoder that differ in lambda, learning rate and number of views. Their loss at the end,
(1 - lambda) invariance + lambda SIGReg, is not comparable between lambdas; LeJEPA divides it by
lambda^alpha, alpha = 0.4, and finds a rank correlation with linear probes of .94 to .99 in absolute
value. Here:

- Spearman of - loss / lambda^alpha, alpha = 0 (the plain loss) and 0.4, with the accuracy of a
  linear probe on held-out images, over all runs of a set; and of alpha chosen, from 0 to 1, on
  every other run and tried on the rest;
- beside it two scores of the embeddings alone: RankMe, the exponential of the entropy of their
  normalised singular values, and the p-value that SIGReg's test gives the projections.

Runs on digits and mnist, lambda from 0.001 to 0.5.
"""

from collections.abc import Iterator
from itertools import product

import images
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from claim import COLOURS, Claim, Judgement, Row, Verdict, column, main, over_seeds, where
from isojepa import LeJEPALoss
from isojepa.normality import gaussianity_test

LAMBDAS = (0.001, 0.005, 0.02, 0.1, 0.5)
RATES = (5e-4, 2e-3)
VIEWS = (2, 4)
EXPONENTS = np.linspace(0, 1, 21)


def rank_me(z: np.ndarray) -> float:
    """exp of the entropy of the normalised singular values; from 1 to d."""
    values = np.linalg.svd(z, compute_uv=False)
    p = values / values.sum() + 1e-12
    return float(np.exp(-(p * np.log(p)).sum()))


def score(world: str, lambd: float, rate: float, views: int, seed: int, steps: int) -> Row:
    data = images.read(world)
    jepa = images.build(data.side, seed)
    objective = LeJEPALoss(lambd=lambd, slices=64, seed=seed)
    terms = images.train(jepa, data, objective, seed, steps, views=views, lr=rate)
    invariance, sigreg = np.mean(terms[-max(1, steps // 10) :], axis=0)
    (train, projections), (test, _) = (images.embed(jepa, x) for x in (data.train, data.test))
    scale = StandardScaler().fit(train)
    probe = LogisticRegression(max_iter=200).fit(scale.transform(train), data.train_labels)
    judged = gaussianity_test(torch.from_numpy(projections[:512]), n_null=99, seed=seed)
    return {
        "world": world,
        "lambda": lambd,
        "rate": rate,
        "views": views,
        "loss": (1 - lambd) * invariance + lambd * sigreg,
        "rank_me": rank_me(train[:1000]),
        "p": judged.p_value,
        "gaussian": judged.statistic,
        "accuracy": float(probe.score(scale.transform(test), data.test_labels)),
    }


def measure(seed: int, quick: bool) -> Iterator[Row]:
    grid = product(LAMBDAS[::2], RATES[1:], VIEWS[:1]) if quick else product(LAMBDAS, RATES, VIEWS)
    for lambd, rate, views in grid:
        for world in images.SETS[:1] if quick else images.SETS:
            yield score(world, lambd, rate, views, seed, 3 if quick else 150)


def spearman(rows: list[Row], alpha: float) -> float:
    """Rank correlation of - loss / lambda^alpha with accuracy."""
    scaled = column(rows, "loss") / column(rows, "lambda") ** alpha
    return float(stats.spearmanr(-scaled, column(rows, "accuracy"))[0])


def held_out(rows: list[Row]) -> float:
    """Alpha chosen on every other run, its correlation on the rest."""
    best = max(EXPONENTS, key=lambda alpha: spearman(rows[::2], alpha))
    return spearman(rows[1::2], best)


def judge(rows: list[Row]) -> Judgement:
    parts = [where(rows, seed=s, world=w) for s in sorted({r["seed"] for r in rows})
             for w in dict.fromkeys(r["world"] for r in rows)]  # fmt: skip
    ours = over_seeds(
        "Spearman of loss / lambda^0.4 with accuracy",
        [spearman(p, 0.4) for p in parts],
        ".94 to .99",
    )
    chosen = over_seeds("the same, alpha from the other half", [held_out(p) for p in parts])
    plain = over_seeds("the plain loss", [spearman(p, 0.0) for p in parts], ".60 to .90")
    others = {
        name: over_seeds(
            word, [float(stats.spearmanr(column(p, name), column(p, "accuracy"))[0]) for p in parts]
        )
        for name, word in (("rank_me", "RankMe"), ("p", "p-value of the projections"))
    }
    verdict: Verdict = "does not hold here"
    if chosen.low > 0.5:
        verdict = "holds" if ours.low > 0.8 else "holds with conditions"
    says = (
        f"The loss over lambda^0.4 ranks runs with a correlation of {ours.value:.2f}, the plain "
        f"loss {plain.value:.2f}, RankMe {others['rank_me'].value:.2f}; with alpha from other runs "
        f"{chosen.value:.2f}."
    )
    return Judgement(verdict, says, (ours, chosen, plain, *others.values()))


def draw(rows: list[Row], picture: Figure) -> None:
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    panels = picture.subplots(1, 3)
    for axes, alpha in zip(panels, (0.0, 0.4)):
        for colour, world in zip(COLOURS, worlds):
            part = where(rows, world=world)
            scaled = column(part, "loss") / column(part, "lambda") ** alpha
            axes.plot(scaled, column(part, "accuracy"), "o", ms=4, color=colour, label=world)
        word = "loss / lambda^0.4" if alpha else "loss"
        axes.set(xscale="log", xlabel=word, title=f"accuracy against {word}")
    for colour, world in zip(COLOURS, worlds):
        part = where(rows, world=world)
        panels[2].plot(
            column(part, "rank_me"), column(part, "accuracy"), "o", ms=4, color=colour, label=world
        )
    panels[2].set(xlabel="RankMe", title="accuracy against RankMe")
    panels[0].set_ylabel("accuracy of a linear probe")
    panels[0].legend()


CLAIM = Claim(
    name="selection",
    number=11,
    statement="The training loss over lambda^alpha ranks runs by their probes' accuracy, without "
    "labels",
    source="LeJEPA, Section 6 (Spearman .94 to .99)",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=3,
    size=(9.5, 3.3),
)
if __name__ == "__main__":
    main(CLAIM)
