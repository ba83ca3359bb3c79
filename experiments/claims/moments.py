"""Claim 5: matching moments is not enough to match a law, and high moments cannot be estimated.

Theorem 3: K + 1 equations sum_i p_i x_i^k = m_k, k = 0..K, for the weights p of K + 2 atoms x_i
leave a line of solutions, along the kernel of the Vandermonde matrix (x_i^k), so that laws with the
same K moments differ.

- Constructed: K + 2 atoms with binomial weights p, and p + e v, v the kernel and e as large as
  weights allow: the largest error of the K moments, and the total variation between the two. And
  the K/2 + 1 nodes of Gauss-Hermite quadrature, whose first K + 1 moments are those of N(0, 1):
  their distance int |phi_p - exp(-t^2/2)|^2 exp(-t^2/2) dt from it, and the n at which
  Epps-Pulley's statistic, n times that, has grown to three times its floor of 1.06.
- Minimised: 256 points in two clusters follow the gradient of one statistic: `raw_moments` or
  `hermite_moments` of order 4, or Epps-Pulley. What do statistics nobody minimised say of the end?
- Estimated: the mean of x^k over n samples of N(0, 1) has a standard error of
  sqrt((E z^2k - (E z^k)^2) / n); how far is it off, and how many samples make it 10 %?
"""

from collections.abc import Iterator
from math import prod

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from scipy.linalg import null_space

from claim import COLOURS, Claim, Judgement, Row, column, main, over_seeds, where
from isojepa.normality import UNIVARIATE, epps_pulley_floor, gaussianity_test

ORDERS = (2, 4, 6, 8, 10)
POWERS = (2, 4, 6, 8, 10, 12, 14, 16)
LOSSES = ("raw_moments", "hermite_moments", "epps_pulley")
JUDGES = ("shapiro_wilk", "anderson_darling", "vasicek")
POINTS, DRAWN = 256, 1024


def normal_moment(k: int) -> float:
    """E z^k of N(0, 1): (k - 1)!! for even k."""
    return float(prod(range(1, k, 2))) if k % 2 == 0 else 0.0


def gauss_hermite_atoms(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Atoms and weights that share the moments 0 to 2 count - 1 of N(0, 1)."""
    atoms, weights = np.polynomial.hermite_e.hermegauss(count)
    return atoms, weights / weights.sum()


def distance(atoms: np.ndarray, weights: np.ndarray) -> float:
    """int |phi_p(t) - exp(-t^2/2)|^2 exp(-t^2/2) dt, in closed form."""
    pairs = weights @ np.exp(-0.5 * (atoms[:, None] - atoms) ** 2) @ weights
    single = weights @ np.exp(-(atoms**2) / 4)
    return float(np.sqrt(2 * np.pi) * (pairs - np.sqrt(2) * single + 1 / np.sqrt(3)))


def twins(order: int) -> tuple[float, float]:
    """Two laws on K + 2 atoms: largest relative error of their K moments; total variation."""
    atoms = np.linspace(-1, 1, order + 2)
    p = stats.binom.pmf(np.arange(order + 2), order + 1, 0.5)
    vandermonde = atoms ** np.arange(order + 1)[:, None]
    v = null_space(vandermonde)[:, 0]
    q = p + v * (p[v < 0] / -v[v < 0]).min()
    gap = np.abs(vandermonde @ (q - p)).max() / np.abs(vandermonde @ p).max()
    return float(gap), float(np.abs(q - p).sum() / 2)


def minimise(loss: str, seed: int, steps: int) -> torch.Tensor:
    """Two clusters after descending the gradient of a statistic."""
    rng = torch.Generator().manual_seed(seed)
    x = 0.2 * torch.randn(POINTS, generator=rng, dtype=torch.float64)
    x = (x + torch.where(torch.arange(POINTS) < POINTS // 2, 1.0, -1.0)).requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.02)
    function = UNIVARIATE[loss].function
    for _ in range(steps):
        optimiser.zero_grad()
        function(x).backward()
        optimiser.step()
    return x.detach()


def measure(seed: int, quick: bool) -> Iterator[Row]:
    for order in ORDERS:
        atoms, weights = gauss_hermite_atoms(order // 2 + 1)
        moments = [weights @ atoms**k for k in range(1, order + 2)]
        errors = [abs(m - normal_moment(k)) for k, m in enumerate(moments, 1)]
        apart = distance(atoms, weights)
        gap, variation = twins(order)
        yield {
            "part": "constructed", "order": order, "moment_error": max(errors), "distance": apart,
            "samples": 2 * epps_pulley_floor() / apart, "twin_error": gap, "twins": variation,
        }  # fmt: skip
    for loss in LOSSES:
        x = minimise(loss, seed, 100 if quick else 1500)
        found = {
            judge: gaussianity_test(x, judge, n_null=99 if quick else 999, seed=seed).p_value
            for judge in JUDGES
        }
        left = float(UNIVARIATE["raw_moments"].function(x))
        levels = np.linspace(0, 1, 65)
        quantiles = dict(zip((f"q{i}" for i in range(65)), np.quantile(x.numpy(), levels)))
        yield {"part": "minimised", "loss": loss, "moments": left, **found, **quantiles}
    rng = np.random.default_rng([seed, 5])
    z = rng.normal(size=(50 if quick else 500, DRAWN))
    for k in POWERS:
        off = np.sqrt(np.mean(((z**k).mean(1) / normal_moment(k) - 1) ** 2))
        formula = np.sqrt((normal_moment(2 * k) / normal_moment(k) ** 2 - 1) / DRAWN)
        yield {"part": "estimated", "order": k, "off": off, "formula": formula,
               "samples": DRAWN * (formula / 0.1) ** 2}  # fmt: skip


def judge(rows: list[Row]) -> Judgement:
    first = where(rows, seed=rows[0]["seed"], part="constructed")
    by_moments = where(rows, part="minimised", loss="raw_moments")
    by_test = where(rows, part="minimised", loss="epps_pulley")
    worst = [min(row[judge] for judge in JUDGES) for row in by_moments]
    kept = [min(row[judge] for judge in JUDGES) for row in by_test]
    four, ten = (next(row for row in first if row["order"] == k) for k in (4, 10))
    numbers = (
        over_seeds("moment loss at its end (4 under the null)", column(by_moments, "moments")),
        over_seeds("its smallest p-value by other tests", worst),
        over_seeds("the same after Epps-Pulley was minimised", kept),
        over_seeds("root mean square error of the 16th moment, n = 1,024", 
                   column(where(rows, part="estimated", order=16), "off")),
    )  # fmt: skip
    holds = numbers[0].high < 1 and numbers[1].high < 0.05
    says = (
        f"Four moments matched to a loss of {numbers[0].value:.2g} leave a sample that other tests "
        f"reject; {ten['order'] // 2 + 1} atoms share {ten['order'] + 1} moments with the normal "
        f"law. Estimating the 16th moment to 10 % takes "
        f"{where(rows, part='estimated', order=16)[0]['samples']:,.0f} samples. "
        "Epps-Pulley tells any two laws apart, but not at any sample size: the atoms with five "
        f"moments right need some {four['samples']:,.0f} samples, those with eleven "
        f"{ten['samples']:,.0f}."
    )
    return Judgement("holds" if holds else "does not hold here", says, numbers)


def draw(rows: list[Row], picture: Figure) -> None:
    left, middle, right = picture.subplots(1, 3)
    first = where(rows, seed=rows[0]["seed"], part="constructed")
    orders = column(first, "order")
    left.semilogy(orders + 1, column(first, "samples"), "o-", color=COLOURS[0])
    left.set(
        xlabel="moments shared with N(0, 1)", title="atoms: samples at which\nEpps-Pulley sees it"
    )
    levels = np.linspace(0, 1, 65)
    normal = stats.norm.ppf(np.clip(levels, 1 / 512, 1 - 1 / 512))
    for colour, loss in zip(COLOURS, LOSSES):
        for i, row in enumerate(where(rows, part="minimised", loss=loss)):
            values = [row[f"q{i}"] for i in range(65)]
            middle.plot(
                normal, values, color=colour, lw=1, label=None if i else loss.replace("_", " ")
            )
    middle.plot(normal, normal, color="black", lw=0.8, ls=":")
    middle.set(xlabel="quantiles of N(0, 1)", title="two clusters after\nminimising ...")
    middle.legend()
    for k in POWERS:
        off = column(where(rows, part="estimated", order=k), "off")
        right.errorbar(
            k, 100 * off.mean(), 200 * off.std() / len(off) ** 0.5, fmt="o", color=COLOURS[0]
        )
    formula = [100 * where(rows, part="estimated", order=k)[0]["formula"] for k in POWERS]
    right.semilogy(POWERS, formula, color=COLOURS[1], lw=1, label="formula")
    right.set(xlabel="moment", title="error of its estimate, %,\nn = 1,024")
    right.legend()


CLAIM = Claim(
    name="moments",
    number=5,
    statement="Matching finitely many moments does not determine the law, and estimating many is "
    "impractical",
    source="LeJEPA, Theorem 3",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=8,
    size=(9.5, 3.2),
)
if __name__ == "__main__":
    main(CLAIM)
