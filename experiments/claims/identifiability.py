"""Claim 12: alignment and Gaussianity recover Gaussian latents up to a rotation.

Latents follow u' = r u + sqrt(1 - r^2) e, e ~ N(0, I), r = 0.7 (an Ornstein-Uhlenbeck step), and
the world's factors are z = F^-1(Phi(u)) coordinate by coordinate, of law F and unit variance.
Observations x = g(z) go through two square layers of orthogonal weights with a leaky ReLU between,
which no linear map undoes. An encoder learns from pairs (x, x') by LeJEPA alone, SIGReg over 128
fresh directions and lambda 0.01, and a linear regression reads z from 4,096 new embeddings.

What to expect. Among functions of u whose law is N(0, I) the correlation between the two steps is
largest, r, for rotations of u (all others have Hermite terms whose correlation is r^2 or less). So
the optimum is a rotation of u, from which the linear R^2 of z is corr(F^-1(Phi(u)), u)^2: 1 for
Gaussian factors, 3 / pi for uniform ones, less the farther F is from Gaussian. A training that
stops short of it may lie above or below.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import nn

from claim import COLOURS, Claim, Judgement, Row, Verdict, column, main, over_seeds, where
from isojepa import LeJEPALoss

PERSISTENCE, BATCH, TESTED = 0.7, 512, 4096
GRID = np.linspace(-6, 6, 4001)


def clusters(separation: float) -> np.ndarray:
    """Quantiles, at Phi(GRID), of half N(-a, 1 - a^2) and half N(a, 1 - a^2)."""
    x = np.linspace(-4, 4, 20_001)
    rest = np.sqrt(1 - separation**2)
    cdf = (stats.norm.cdf(x, separation, rest) + stats.norm.cdf(x, -separation, rest)) / 2
    return np.interp(stats.norm.cdf(GRID), cdf, x)


LAWS = {
    "Gaussian": GRID,
    "uniform": 12**0.5 * (stats.norm.cdf(GRID) - 0.5),
    "two clusters": clusters(0.95),
}
"""F^-1(Phi(u)) at u = GRID."""
WORLDS = [("Gaussian", 2), ("Gaussian", 8), ("Gaussian", 32), ("Gaussian", 64),
          ("uniform", 8), ("two clusters", 8)]  # fmt: skip


def expected(law: str) -> float:
    """corr(F^-1(Phi(u)), u)^2 by quadrature."""
    p = stats.norm.pdf(GRID)
    z = LAWS[law]
    return float(((z * GRID * p).sum() / p.sum()) ** 2 / ((z**2 * p).sum() / p.sum()))


class World:
    """Pairs of observations, and the factors behind the first of each."""

    def __init__(self, law: str, d: int, seed: int) -> None:
        self.law, self.d = law, d
        self.rng = torch.Generator().manual_seed(seed)
        self.layers = [torch.linalg.qr(torch.randn(d, d, generator=self.rng))[0] for _ in range(2)]

    def pairs(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        u = torch.randn(n, self.d, generator=self.rng)
        e = torch.randn(n, self.d, generator=self.rng)
        both = torch.stack([u, PERSISTENCE * u + (1 - PERSISTENCE**2) ** 0.5 * e])
        z = torch.from_numpy(np.interp(both.numpy(), GRID, LAWS[self.law])).float()
        mix, mix_again = self.layers
        return nn.functional.leaky_relu(z @ mix, 0.2) @ mix_again, z[0]


def learn(world: World, seed: int, steps: int) -> nn.Module:
    torch.manual_seed(seed)
    width = max(128, 4 * world.d)
    encoder = nn.Sequential(
        nn.Linear(world.d, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, world.d),
    )  # fmt: skip
    objective = LeJEPALoss(lambd=0.01, slices=128, seed=seed)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=3e-3, weight_decay=0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        objective(encoder(world.pairs(BATCH)[0])).loss.backward()
        optimiser.step()
        schedule.step()
    return encoder


def linear_r2(read: Callable[[torch.Tensor], torch.Tensor], world: World) -> float:
    """Share of the factors' variance that a linear map of the reading explains, on new samples."""
    (train, z_train), (test, z_test) = world.pairs(TESTED), world.pairs(TESTED)

    def design(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([read(x[0]), torch.ones(TESTED, 1)], 1).double()

    weights = torch.linalg.lstsq(design(train), z_train.double(), driver="gelsd").solution
    error = (design(test) @ weights - z_test).square().mean()
    return float(1 - error / z_test.double().var(0).mean())


def measure(seed: int, quick: bool) -> Iterator[Row]:
    for law, d in WORLDS[:1] + WORLDS[-1:] if quick else WORLDS:
        world = World(law, d, 1000 * seed + d)
        encoder = learn(world, seed, 40 if quick else 1200)
        with torch.no_grad():
            found, raw = linear_r2(encoder, world), linear_r2(lambda x: x, world)
        yield {"law": law, "d": d, "r2": found, "observations": raw, "expected": expected(law)}


def judge(rows: list[Row]) -> Judgement:
    widest = max(row["d"] for row in where(rows, law="Gaussian"))
    names = list(dict.fromkeys(row["law"] for row in rows))
    found = {
        name: over_seeds(
            f"{name} factors, d = {d}: linear R² (expected {expected(name):.3f})",
            column(where(rows, law=name, d=d), "r2"),
        )
        for name, d in ((n, widest if n == "Gaussian" else 8) for n in names)
    }
    raw = over_seeds(
        f"Gaussian, d = {widest}: linear R² of the observations",
        column(where(rows, law="Gaussian", d=widest), "observations"),
    )
    sizes = sorted({row["d"] for row in where(rows, law="Gaussian")})
    better = [
        d
        for d in sizes
        if over_seeds("", column(where(rows, law="Gaussian", d=d), "r2")).low
        > column(where(rows, law="Gaussian", d=d), "observations").max()
    ]
    holds = better == sizes and found["Gaussian"].low > 0.95
    listed = ", ".join(
        f"{column(where(rows, law='Gaussian', d=d), 'r2').mean():.2f} for d = {d}" for d in sizes
    )
    others = ", ".join(f"{n} {found[n].value:.2f}" for n in names if n != "Gaussian")
    says = (
        f"Linear R² of Gaussian factors: {listed} (from the observations themselves "
        f"{raw.value:.2f}). "
        + ("" if holds else "Where it is below the observations' the training, 1,200 updates, may "
           "not have reached the optimum, of which alone the theorem speaks. ")
        + f"Other laws at d = 8: {others}; the law matters less here than dimension."
    )  # fmt: skip
    verdict: Verdict = "holds with conditions" if better else "does not hold here"
    return Judgement("holds" if holds else verdict, says, (*found.values(), raw))


def draw(rows: list[Row], picture: Figure) -> None:
    left, right = picture.subplots(1, 2, sharey=True)
    gaussian = where(rows, law="Gaussian")
    sizes = sorted({row["d"] for row in gaussian})
    for colour, name, label in zip(COLOURS, ("r2", "observations"), ("embeddings", "observations")):
        values = [column(where(gaussian, d=d), name) for d in sizes]
        left.errorbar(sizes, [v.mean() for v in values], [v.std() for v in values], fmt="o-",
                      color=colour, label=f"from {label}")  # fmt: skip
    left.set(xscale="log", xlabel="dimensions", ylabel="linear R² of the factors",
             title="Gaussian factors", ylim=(0, 1.03))  # fmt: skip
    left.set_xticks(sizes, [str(d) for d in sizes])
    left.minorticks_off()
    left.legend(loc="lower left")
    names = [name for name in LAWS if where(rows, law=name)]
    for i, name in enumerate(names):
        part = where(rows, law=name, d=8) or where(rows, law=name)
        for shift, colour, column_name in (
            (-0.2, COLOURS[0], "r2"),
            (0.2, COLOURS[1], "observations"),
        ):
            v = column(part, column_name)
            right.bar(i + shift, v.mean(), 0.36, yerr=v.std(), color=colour)
        right.plot([i - 0.4, i], [part[0]["expected"]] * 2, color="black", lw=2,
                   label=None if i else "expected")  # fmt: skip
    right.set_xticks(range(len(names)), names)
    right.set(title="other laws, d = 8")
    right.legend(loc="lower center", frameon=True, framealpha=1)


CLAIM = Claim(
    name="identifiability",
    number=12,
    statement="Alignment and Gaussianity together recover Gaussian latents up to a rotation, and "
    "others worse the less Gaussian they are",
    source="arXiv 2605.26379",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=3,
    size=(9.0, 3.3),
)
if __name__ == "__main__":
    main(CLAIM)
