"""Claim 6: distribution-function tests pull through ranks alone; Epps-Pulley's pull is bounded.

T = n int |phi_n - phi|^2 w dt, w = exp(-t^2/2), so dT/dx_i = 2 int Re[conj(phi_n - phi) i exp(i t
x_i)] t w dt, and |phi_n - phi| <= 2 bounds it by 4 int |t| w = 8; per sample of T / n that is 8 / n
where 4 / n is published (Theorem 4). The exact bound (derived here): the gradient is linear in the
law of the other samples, so the worst of these is one point y, where it is 2 [(1 - 1/n) sqrt(2 pi)
(y - x) exp(-(y - x)^2 / 2) + sqrt(pi) / 2 x exp(-x^2 / 4)]; each part has its maximum at distance
1 and at x = sqrt 2, together

    sup |dT/dx_i| = (3 - 2 / n) sqrt(2 pi / e),     4.56 for many samples.

Measured, by autograd:

- the supremum, searched by gradient ascent over x and all other samples;
- the share of samples with any gradient, and the gradient on one outlier at 3 to 12 standard
  deviations among n = 256 normal samples;
- descent of each statistic from three samples, a shifted uniform, two clusters, and normal with 5 %
  at 8; the end is scored by the mean squared distance of its quantiles to normal ones and by
  tests. A statistic without a useful gradient would not get there.
"""

from collections.abc import Iterator
from math import e, pi, sqrt

import numpy as np
import torch
from matplotlib.figure import Figure

from claim import COLOURS, Claim, Judgement, Row, column, main, over_seeds, where
from isojepa.normality import UNIVARIATE

STATISTICS = (
    "epps_pulley_whole_line", "kolmogorov_smirnov", "cramer_von_mises", "anderson_darling",
    "wasserstein", "raw_moments",
)  # fmt: skip
NAMES = dict(zip(STATISTICS, ("Epps-Pulley", "Kolmogorov-Smirnov", "Cramer-von Mises",
                              "Anderson-Darling", "Wasserstein", "moments 1 to 4")))  # fmt: skip
STARTS = ("shifted uniform", "two clusters", "outliers")
FAR = (3, 4, 5, 6, 8, 10, 12)
SAMPLES, DESCENDED = 256, 128


def largest_gradient(n: int) -> float:
    """The least upper bound of |dT/dx_i| over all samples of size n."""
    return (3 - 2 / n) * sqrt(2 * pi / e)


def gradient(name: str, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(UNIVARIATE[name].function(x), x)[0]


def worst_gradient(n: int, rng: torch.Generator, restarts: int, steps: int) -> float:
    """The largest gradient that ascent over the whole sample finds, from several starts."""
    best = 0.0
    for _ in range(restarts):
        centre = 1.5 * torch.randn(1, generator=rng, dtype=torch.float64)
        x = centre + 0.3 * torch.randn(n, generator=rng, dtype=torch.float64)
        x.requires_grad_()
        optimiser = torch.optim.Adam([x], lr=0.03)
        for _ in range(steps):
            value = UNIVARIATE["epps_pulley_whole_line"].function(x)
            (pull,) = torch.autograd.grad(value, x, create_graph=True)
            optimiser.zero_grad()
            (-pull[0].abs()).backward()
            optimiser.step()
        best = max(best, float(pull[0].detach().abs()))
    return best


def start(kind: str, rng: torch.Generator) -> torch.Tensor:
    if kind == "shifted uniform":
        return 2 + 2 * torch.rand(DESCENDED, generator=rng, dtype=torch.float64)
    x = torch.randn(DESCENDED, generator=rng, dtype=torch.float64)
    if kind == "two clusters":
        return 0.3 * x + torch.where(torch.arange(DESCENDED) % 2 == 0, 2.0, -2.0)
    x[:6] = 8
    return x


def descend(name: str, x: torch.Tensor, steps: int) -> torch.Tensor:
    x = x.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.02)
    for _ in range(steps):
        optimiser.zero_grad()
        UNIVARIATE[name].function(x).backward()
        optimiser.step()
    return x.detach()


def measure(seed: int, quick: bool) -> Iterator[Row]:
    rng = torch.Generator().manual_seed(seed)
    for n in (1, 4, 32):
        found = worst_gradient(n, rng, *((1, 100) if quick else (6, 400)))
        yield {"part": "bound", "n": n, "value": found, "bound": largest_gradient(n)}
    x = torch.randn(SAMPLES, generator=rng, dtype=torch.float64)
    for name in STATISTICS:
        share = float((gradient(name, x) != 0).double().mean())
        yield {"part": "share", "statistic": name, "value": share}
        for far in FAR:
            x[0] = far
            pull = float(gradient(name, x)[0].abs())
            yield {"part": "outlier", "statistic": name, "far": far, "value": pull}
    for kind in STARTS:
        begun = start(kind, rng)
        for name in STATISTICS:
            ended = descend(name, begun, 60 if quick else 1500)
            off, before = (
                float(UNIVARIATE["quantile_distance"].function(s)) / DESCENDED
                for s in (ended, begun)
            )
            yield {"part": "descent", "statistic": name, "start": kind, "value": off,
                   "before": before}  # fmt: skip


def judge(rows: list[Row]) -> Judgement:
    def end(name: str) -> list[float]:
        seeds = sorted({row["seed"] for row in rows})
        parts = [where(rows, part="descent", statistic=name, seed=s) for s in seeds]
        return [max(row["value"] / row["before"] for row in part) for part in parts]

    top = where(rows, part="bound", n=32)
    ks = where(rows, part="share", statistic="kolmogorov_smirnov")
    worst = {name: over_seeds(f"{NAMES[name]}: distance left, worst start", end(name))
             for name in STATISTICS[:5]}  # fmt: skip
    numbers = (
        over_seeds("largest gradient found, n = 32", column(top, "value"),
                   "at most 4 (Theorem 4, T with its factor n)"),
        over_seeds("share of samples that Kolmogorov-Smirnov pulls", column(ks, "value")),
        *worst.values(),
    )  # fmt: skip
    below = all(row["value"] <= row["bound"] + 1e-6 for row in where(rows, part="bound"))
    usable = [n for n in STATISTICS[2:5] if worst[n].value < 0.1]
    says = (
        "Epps-Pulley's gradient is bounded, by (3 - 2/n) sqrt(2 pi / e), which samples reach: "
        f"{largest_gradient(32):.2f} for n = 32, more than the published 4, less than the simple "
        "bound of 8. Kolmogorov-Smirnov pulls one sample at a time. But sorting passes gradients "
        f"on to values: {' and '.join(NAMES[n] for n in usable) or 'none of the others'} lead "
        "every start tried to a normal sample. Epps-Pulley's own pull on an outlier dies out too, "
        "if farther out than Cramer-von Mises's."
    )
    verdict = "holds with conditions" if usable else "holds"
    return Judgement(verdict if below else "does not hold here", says, numbers)


def draw(rows: list[Row], picture: Figure) -> None:
    left, right = picture.subplots(1, 2, width_ratios=(1, 1.3))
    for colour, name in zip(COLOURS, STATISTICS):
        pulls = [column(where(rows, part="outlier", statistic=name, far=f), "value") for f in FAR]
        left.plot(
            FAR, [max(p.mean(), 1e-12) for p in pulls], "o-", ms=4, color=colour, label=NAMES[name]
        )
    left.axhline(largest_gradient(SAMPLES), color="black", ls=":", lw=1)
    left.set(yscale="log", ylim=(1e-9, 1e4), xlabel="position of one sample among 256 normal ones",
             title="gradient on it (dotted: Epps-Pulley's bound)")  # fmt: skip
    for i, (colour, name) in enumerate(zip(COLOURS, STATISTICS)):
        parts = [where(rows, part="descent", statistic=name, start=kind) for kind in STARTS]
        ends = [column(part, "value").mean() for part in parts]
        right.bar(np.arange(3) + 0.13 * (i - 2.5), ends, 0.12, color=colour, label=NAMES[name])
    for i, kind in enumerate(STARTS):
        before = column(where(rows, part="descent", start=kind), "before").mean()
        right.plot([i - 0.42, i + 0.42], [before, before], color="black", lw=1)
    right.set(
        yscale="log", title="squared distance to normal quantiles after descent\n(line: before)"
    )
    right.set_xticks(range(3), STARTS)
    right.grid(axis="x")
    picture.legend(*left.get_legend_handles_labels(), loc="outside right center")


CLAIM = Claim(
    name="gradients",
    number=6,
    statement="Tests on the distribution function have no useful derivative, while the "
    "characteristic-function test's gradient is bounded",
    source="LeJEPA, Theorem 4 and Section 4; the constant is corrected here",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=5,
    size=(11.0, 3.4),
)
if __name__ == "__main__":
    main(CLAIM)
