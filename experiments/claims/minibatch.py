"""Claim 9: what a batch does to the loss: bias, floor, aliasing, and no gradient at collapse.

- Bias (Theorem 6). E |phi_n - phi|^2 = |phi_p - phi|^2 + (1 - |phi_p|^2) / n for the empirical
  characteristic function of n samples of p, so E T / n is the distance of the laws plus
  (1/n) int w (1 - |phi_p|^2). For p = N(0, s^2) both integrals are closed forms.
- Floor. For p = N(0, 1): E T = sqrt(2 pi) - sqrt(2 pi / 3) = 1.0595 at any n, on the whole line;
  `SIGReg().floor` is that of the 17 knots on [0, 3].
- Aliasing. On knots dt apart a shift by 2 pi / dt changes nothing: 33.5 for 17 knots on [0, 3],
  10.05 for the 17 on [-5, 5] of Algorithm 1. Gauss-Hermite knots and the closed form have none.
- Collapse. For embeddings s z the gradient is 2 w t S cos - ... ~ s, so it vanishes with s. With
  scale="decoupled" it does not.

n = 16 to 1,024; the gradient's norm of n = 256 in d = 64 dimensions.
"""

from collections.abc import Iterator
from math import pi, sqrt

import numpy as np
import torch
from matplotlib.figure import Figure

from claim import COLOURS, Claim, Judgement, Row, column, main, over_seeds, where
from isojepa import SIGReg
from isojepa.normality import UNIVARIATE

SIZES = (16, 32, 64, 128, 256, 512, 1024)
DEVIATIONS = (1.0, 1.5)
SHRUNK = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)
SHIFTS = np.linspace(0, 40, 161)
FLOOR = sqrt(2 * pi) - sqrt(2 * pi / 3)
RULES = {
    "17 knots on [0, 3]": lambda x: UNIVARIATE["epps_pulley"].function(x),
    "17 knots on [-5, 5]": lambda x: UNIVARIATE["epps_pulley"].function(x, 9, 5.0),
    "closed form": lambda x: UNIVARIATE["epps_pulley_whole_line"].function(x),
}


def expected(s: float, n: int) -> tuple[float, float]:
    """Of N(0, s^2): the distance of the laws, and E T / n of n samples, on the whole line."""
    apart = sqrt(2 * pi) * (1 / sqrt(1 + 2 * s * s) - 2 / sqrt(2 + s * s) + 1 / sqrt(3))
    return apart, apart + sqrt(2 * pi) * (1 - 1 / sqrt(1 + 2 * s * s)) / n


def measure(seed: int, quick: bool) -> Iterator[Row]:
    rng = torch.Generator().manual_seed(seed)
    for n in SIZES[:4] if quick else SIZES:
        for s in DEVIATIONS:
            x = s * torch.randn(max(100, 40_000 // n), n, generator=rng)
            values = torch.cat([RULES["closed form"](part) for part in x.split(64)])
            apart, mean = expected(s, n)
            yield {"part": "bias", "n": n, "s": s, "value": float(values.mean()) / n,
                   "law": apart, "formula": mean}  # fmt: skip
        z = torch.randn(20, n, 64, generator=rng)
        yield {"part": "floor", "n": n, "value": float(SIGReg(256, seed=seed)(z))}
    x = torch.randn(1, 128, generator=rng).double()
    for name, rule in RULES.items():
        for shift in SHIFTS[::4] if quick else SHIFTS:
            value = rule(x + shift)[0].item()
            yield {"part": "shift", "rule": name, "shift": shift, "value": value}
    for s in SHRUNK:
        for scale in ("joint", "decoupled"):
            z = (s * torch.randn(256, 64, generator=rng)).requires_grad_()
            SIGReg(64 if quick else 1024, seed=seed, scale=scale)(z).backward()
            yield {"part": "collapse", "scale": scale, "s": s, "value": float(z.grad.norm())}
    z = torch.zeros(256, 64, requires_grad=True)
    SIGReg(64, seed=seed)(z).backward()
    yield {"part": "point", "value": float(z.grad.norm())}


def judge(rows: list[Row]) -> Judgement:
    small = where(rows, part="bias", n=SIZES[0], s=1.5)
    ratio = column(small, "value") / column(small, "formula")
    floor = where(rows, part="floor")
    seeds = sorted({row["seed"] for row in rows})
    floors = [column(where(floor, seed=s), "value").mean() for s in seeds]

    def gradient(scale: str) -> list[float]:
        one, tiny = (column(where(rows, part="collapse", scale=scale, s=s), "value")
                     for s in (0.3, 1e-4))  # fmt: skip
        return list(tiny / one)

    numbers = (
        over_seeds("n = 16, s = 1.5: E T / n over its formula", ratio),
        over_seeds(f"value for N(0, I), all n (floor {SIGReg().floor:.3f}, whole line {FLOOR:.4f})",
                   floors),
        over_seeds("gradient at std 1e-4 over that at 0.3, SIGReg", gradient("joint")),
        over_seeds("the same, decoupled scale", gradient("decoupled")),
        over_seeds("gradient of constant embeddings", column(where(rows, part="point"), "value")),
    )  # fmt: skip
    holds = abs(numbers[0].value - 1) < 0.05 and abs(floors[0] / SIGReg().floor - 1) < 0.05
    says = (
        "As derived: a batch of n adds (1/n) int w (1 - |phi|^2) to the distance; success reads "
        "1.06 at any batch size. Embeddings 33.5 deviations away from the centre look "
        "centred to the usual grid, 10 away to that of Algorithm 1. A collapsed network gets no "
        "gradient; with scale='decoupled' it gets a full one as long as it has not reached one "
        "point exactly."
    )
    return Judgement("holds" if holds else "does not hold here", says, numbers)


def draw(rows: list[Row], picture: Figure) -> None:
    bias, floor, shift, collapse = picture.subplots(2, 2).flat
    for colour, s in zip(COLOURS, DEVIATIONS):
        part = where(rows, part="bias", s=s)
        sizes = sorted({row["n"] for row in part})
        means = [column(where(part, n=n), "value").mean() for n in sizes]
        bias.loglog(sizes, means, "o", color=colour, label=f"N(0, {s:g}²)")
        bias.plot(sizes, [expected(s, n)[1] for n in sizes], color=colour, lw=1)
        if s != 1:
            bias.axhline(expected(s, 1)[0], color=colour, ls=":", lw=1)
    bias.set(xlabel="batch size n", title="T / n (line: formula; dotted: of the laws)")
    bias.legend()
    part = where(rows, part="floor")
    sizes = sorted({row["n"] for row in part})
    values = [column(where(part, n=n), "value") for n in sizes]
    floor.errorbar(sizes, [v.mean() for v in values], [2 * v.std() / len(v) ** 0.5 for v in values],
                   fmt="o", color=COLOURS[0])  # fmt: skip
    floor.axhline(SIGReg().floor, color=COLOURS[1], lw=1, label="floor")
    floor.set(
        xscale="log", xlabel="batch size n", ylim=(0.95, 1.15), title="SIGReg of N(0, I), d = 64"
    )
    floor.legend()
    for colour, name in zip(COLOURS, RULES):
        part = where(rows, part="shift", rule=name, seed=rows[0]["seed"])
        shift.plot(column(part, "shift"), column(part, "value"), color=colour, lw=1.2, label=name)
    shift.set(yscale="log", xlabel="shift of 128 normal samples", title="T against a shift")
    shift.legend(loc="lower left", fontsize=8)
    for colour, scale in zip(COLOURS, ("joint", "decoupled")):
        part = [
            column(where(rows, part="collapse", scale=scale, s=s), "value").mean() for s in SHRUNK
        ]
        collapse.loglog(SHRUNK, part, "o-", ms=4, color=colour, label=f"scale='{scale}'")
    collapse.set(
        xlabel="standard deviation of the embeddings", title="norm of the gradient, d = 64"
    )
    collapse.legend()


CLAIM = Claim(
    name="minibatch",
    number=9,
    statement="A minibatch biases the loss by (1/N) int w (1 - |phi|^2); success reads 1.06; a "
    "uniform grid aliases; the gradient vanishes at collapse",
    source="LeJEPA, Theorem 6; floor, aliasing and vanishing gradient derived here",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=8,
    size=(9.0, 6.0),
)
if __name__ == "__main__":
    main(CLAIM)
