"""Claim 1: agreement of two views alone has a perfect and useless optimum, one point.

The loss is (1 - lambda) |z_v - mean of the views|^2 + lambda SIGReg. With lambda = 0 the constant
map has loss 0, for any data. The same encoder learns from the same views with lambda = 0 and with
0.05, on

- toy: 10 clusters in 16 dimensions, a view is a point plus noise, the encoder an MLP;
- digits and mnist: real images, random crops, turns and shears of them, a residual network.

At the end, of held-out samples: the loss's invariance over that at the start; the standard
deviation of the projections and their effective rank exp(- sum p log p), p the share of each
eigenvalue of the covariance, of 16 or 32 dimensions; and what probes read from them: logistic
regression on the projections as they are, and after each dimension is standardised, which undoes
any shrinkage short of exact collapse.
"""

from collections.abc import Iterator

import images
import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from torch import nn

from claim import COLOURS, Claim, Judgement, Row, column, main, over_seeds, where
from isojepa import LeJEPALoss

WEIGHTS = (0.0, 0.05)
CLASSES, CHANCE = 10, 0.1


def effective_rank(z: np.ndarray) -> float:
    """exp of the entropy of the covariance's normalised eigenvalues; 1 for a line."""
    values = np.linalg.svd(z - z.mean(0), compute_uv=False) ** 2
    p = values / max(values.sum(), 1e-300)
    return float(np.exp(-(p[p > 0] * np.log(p[p > 0])).sum()))


def probe(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    reader = LogisticRegression(max_iter=300).fit(*train)
    return float(reader.score(*test))


def toy(lambd: float, seed: int, steps: int) -> tuple[list[float], list]:
    """Invariance at each step, and (projections, labels) to learn a probe on and to try it on."""
    torch.manual_seed(seed)
    means = 2 * torch.randn(CLASSES, 16)
    encoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(),
                            nn.Linear(64, 16))  # fmt: skip
    objective = LeJEPALoss(lambd=lambd, slices=64, seed=seed)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=2e-3, weight_decay=5e-4)
    curve = []
    for step in range(steps):
        x = means[torch.randint(CLASSES, (128,))] + torch.randn(128, 16)
        views = x + 0.5 * torch.randn(2, 128, 16)
        terms = objective(encoder(views), step=step)
        optimiser.zero_grad()
        terms.loss.backward()
        optimiser.step()
        curve.append(terms.invariance.item())
    parts = []
    for _ in range(2):
        labels = torch.randint(CLASSES, (1000,))
        with torch.no_grad():
            z = encoder(means[labels] + torch.randn(1000, 16))
        parts.append((z.double().numpy(), labels.numpy()))
    return curve, parts


def real(name: str, lambd: float, seed: int, steps: int) -> tuple[list[float], list]:
    data = images.read(name)
    jepa = images.build(data.side, seed)
    objective = LeJEPALoss(lambd=lambd, slices=64, seed=seed)
    curve = [terms[0] for terms in images.train(jepa, data, objective, seed, steps)]
    parts = ((data.train[:1000], data.train_labels[:1000]), (data.test, data.test_labels))
    return curve, [(images.embed(jepa, pixels)[1], labels) for pixels, labels in parts]


def measure(seed: int, quick: bool) -> Iterator[Row]:
    for world in ("toy", *images.sets(quick)):
        for lambd in WEIGHTS:
            steps = (8 if world != "toy" else 40) if quick else (150 if world != "toy" else 1000)
            curve, (train, test) = (
                toy(lambd, seed, steps) if world == "toy" else real(world, lambd, seed, steps)
            )
            mean, scale = train[0].mean(0), train[0].std(0) + 1e-12
            plain = [((z - mean), labels) for z, labels in (train, test)]
            level = [((z - mean) / scale, labels) for z, labels in (train, test)]
            marks = np.linspace(0, len(curve) - 1, 21).round().astype(int)
            yield {
                "world": world, "lambda": lambd, "loss": curve[-1] / curve[0],
                "std": float(np.sqrt(test[0].var(0).mean())), "rank": effective_rank(test[0]),
                "probe": probe(*plain), "standardised": probe(*level), "steps": steps,
                **{f"c{i}": curve[mark] for i, mark in enumerate(marks)},
            }  # fmt: skip


def judge(rows: list[Row]) -> Judgement:
    worlds = list(dict.fromkeys(row["world"] for row in rows))

    def number(name: str, lambd: float) -> list[float]:
        return [float(np.mean([r[name] for r in where(rows, seed=s, **{"lambda": lambd})]))
                for s in sorted({row["seed"] for row in rows})]  # fmt: skip

    numbers = [
        over_seeds(f"{word}, lambda = {lambd:g}, mean of {', '.join(worlds)}",
                   number(name, lambd))
        for word, name in (("standard deviation", "std"), ("effective rank", "rank"),
                           ("probe", "probe"), ("probe after standardising", "standardised"))
        for lambd in WEIGHTS
    ]  # fmt: skip
    at = {(n, lambd): numbers[2 * i + j]
          for i, n in enumerate(("std", "rank", "probe", "standardised"))
          for j, lambd in enumerate(WEIGHTS)}  # fmt: skip
    shrunk = at["std", 0.0].high < 0.1 < 0.5 < at["std", 0.05].low
    chance = at["probe", 0.0].value < 2 * CHANCE
    useless = chance and at["standardised", 0.0].value < 2 * CHANCE

    def each(name: str, lambd: float, form: str) -> str:
        values = [column(where(rows, world=w, **{"lambda": lambd}), name).mean() for w in worlds]
        return ", ".join(f"{value:{form}}" for value in values)

    says = (
        f"On {', '.join(worlds)}: without SIGReg the projections' standard deviation falls to "
        f"{each('std', 0.0, '.2g')} ({each('std', 0.05, '.2f')} with it) and a probe of them reads "
        f"{each('probe', 0.0, '.0%')} ({each('probe', 0.05, '.0%')}). "
    ) + (
        "The optimum is useless as said."
        if useless
        else "But trainings as short as these near the useless optimum and do not arrive: a probe "
        f"that first standardises reads {each('standardised', 0.0, '.0%')} "
        f"({each('standardised', 0.05, '.0%')} with SIGReg), and the effective rank, of what is "
        f"left, is {each('rank', 0.0, '.1f')} ({each('rank', 0.05, '.1f')}): on images scale "
        "collapses first, not rank. A check for collapse has to look at both."
    )
    verdict = ("holds" if useless else "holds with conditions") if shrunk else "does not hold here"
    return Judgement(verdict, says, tuple(numbers))


def draw(rows: list[Row], picture: Figure) -> None:
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    panels = picture.subplots(1, 4)
    for colour, world in zip(COLOURS, worlds):
        for lambd, style in zip(WEIGHTS, ("--", "-")):
            part = where(rows, world=world, **{"lambda": lambd})
            curves = np.array([[row[f"c{i}"] for i in range(21)] for row in part])
            x = np.linspace(0, 1, 21)
            panels[0].plot(x, curves.mean(0), style, color=colour, lw=1.3,
                           label=f"{world}, {'SIGReg' if lambd else 'alone'}")  # fmt: skip
    panels[0].set(yscale="log", xlabel="share of the training", title="disagreement of views")
    for axes, names, title in (
        (panels[1], ("std",), "standard deviation"),
        (panels[2], ("rank",), "effective rank"),
        (panels[3], ("probe", "standardised"), "probe (hatched:\nafter standardising)"),
    ):
        for i, (colour, world) in enumerate(zip(COLOURS, worlds)):
            for j, lambd in enumerate(WEIGHTS):
                for k, name in enumerate(names):
                    v = column(where(rows, world=world, **{"lambda": lambd}), name)
                    width = 0.26 / len(names)
                    axes.bar(j + 0.28 * (i - 1) + width * (k - (len(names) - 1) / 2), v.mean(),
                             width, yerr=v.std(), color=colour, hatch="////" if k else None,
                             edgecolor="white", label=None if j or k else world)  # fmt: skip
        axes.set_xticks([0, 1], ["alone", "with SIGReg"])
        axes.set(title=title)
        axes.grid(axis="x")
    panels[1].set_yscale("log")
    panels[3].axhline(CHANCE, color="black", ls=":", lw=1)
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")


CLAIM = Claim(
    name="collapse",
    number=1,
    statement="Aligning two views alone has a perfect but useless optimum: all observations on one "
    "point, loss zero, probes at chance",
    source="the article behind this project, statement 1; LeJEPA, Section 1",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=3,
    size=(12.0, 3.3),
)
if __name__ == "__main__":
    main(CLAIM)
