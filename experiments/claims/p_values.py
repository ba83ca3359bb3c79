"""Claim 15: what a test has over a distance is interpretation: a p-value means the same everywhere.

SIGReg's value has a mean of about 1.06 under N(0, I) whatever n and d, and a spread that depends on
both: one threshold on the loss is another test at every n and d. Its p-value, (1 + number of
simulated null statistics at least as large) / (1 + their number), is at most 0.05 in 5 % of
Gaussian samples whatever n, d, M slices and statistic.

Over n in {32, 128, 512}, d in {2, 16, 128} and M in {16, 64}:

- how often Gaussian samples are rejected, by p <= 0.05 and by the threshold on the loss that is
  right at n = 128, d = 16, M = 64; the same for the statistics whose size differs altogether;
- a training batch: the loss of one and the same slightly wide law, N(0, 1.1^2 I), and its p-value,
  at batch 32 to 512: what can be compared between batch sizes, and what cannot. E T = 1.06-ish + n
  times the distance of the laws.
"""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure

from claim import COLOURS, Claim, Judgement, Row, column, main, over_seeds, where
from isojepa.normality import Calibration, null_distribution

SAMPLES, DIMENSIONS, SLICES = (32, 128, 512), (2, 16, 128), (16, 64)
OTHERS = ("cramer_von_mises", "anderson_darling", "raw_moments")
AT = {"n": 128, "d": 16, "slices": 64}
BATCHES = (32, 64, 128, 256, 512)


def measure(seed: int, quick: bool) -> Iterator[Row]:
    repeats, nulls = (100, 99) if quick else (200, 499)
    rng = torch.Generator().manual_seed(seed)
    known = _null("epps_pulley", **AT, nulls=nulls, seed=seed)
    threshold = float(known[1].quantile(0.95))
    for d in DIMENSIONS[:2] if quick else DIMENSIONS:
        for n in SAMPLES[:2] if quick else SAMPLES:
            for slices in SLICES:
                yield {**_rates("epps_pulley", n, d, slices, threshold, rng, repeats, nulls, seed),
                       "part": "null"}  # fmt: skip
    for statistic in OTHERS:
        row = _rates(statistic, 128, 16, 64, threshold, rng, repeats, nulls, seed)
        yield {**row, "part": "null"}
    for n in BATCHES[:3] if quick else BATCHES:
        test, null = _null("epps_pulley", n, 16, 64, nulls, seed)
        value = test.evaluate(1.1 * torch.randn(repeats // 2, n, 16, generator=rng))
        p = test.p_values(value, null)
        yield {"part": "batch", "n": n, "loss": float(value.mean()), "p": float(p.median()),
               "power": float((p <= 0.05).double().mean())}  # fmt: skip


def _null(
    statistic: str, n: int, d: int, slices: int, nulls: int, seed: int
) -> tuple[Calibration, torch.Tensor]:
    test = Calibration(statistic=statistic, n=n, d=d, slices=slices, n_null=nulls, seed=seed)
    return test, null_distribution(test)


def _rates(
    statistic: str, n: int, d: int, slices: int, threshold: float, rng: torch.Generator,
    repeats: int, nulls: int, seed: int,
) -> Row:  # fmt: skip
    test, null = _null(statistic, n, d, slices, nulls, seed)
    blocks = [torch.randn(20, n, d, generator=rng) for _ in range(repeats // 20)]
    value = torch.cat([test.evaluate(z) for z in blocks])
    p = test.p_values(value, null)
    return {
        "statistic": statistic, "n": n, "d": d, "slices": slices, "loss": float(value.mean()),
        "spread": float(value.std()), "by_p": float((p <= 0.05).double().mean()),
        "by_loss": float((value > threshold).double().mean()),
    }  # fmt: skip


def judge(rows: list[Row]) -> Judgement:
    nulls = where(rows, part="null")
    seeds = sorted({row["seed"] for row in rows})
    cells = sorted({(r["statistic"], r["n"], r["d"], r["slices"]) for r in nulls})

    def rate(name: str, cell: tuple) -> float:
        keys = dict(zip(("statistic", "n", "d", "slices"), cell))
        return float(column(where(nulls, **keys), name).mean())

    by_p, by_loss = ([rate(name, cell) for cell in cells] for name in ("by_p", "by_loss"))
    loss_ep = [rate("by_loss", cell) for cell in cells if cell[0] == "epps_pulley"]
    widest = max(row["n"] for row in where(rows, part="batch"))
    numbers = (
        over_seeds("rejected at 5 % by p-value, all cells",
                   [column(where(nulls, seed=s), "by_p").mean() for s in seeds]),
        over_seeds("the cell least well calibrated, by p-value",
                   column(_worst(nulls, cells, by_p), "by_p")),
        over_seeds("the cell least well calibrated, by loss (Epps-Pulley)",
                   column(_worst(nulls, cells, by_loss, only="epps_pulley"), "by_loss")),
        over_seeds("loss of N(0, 1.1² I) at the smallest batch",
                   column(where(rows, part="batch", n=BATCHES[0]), "loss")),
        over_seeds(f"loss of N(0, 1.1² I) at batch {widest}",
                   column(where(rows, part="batch", n=widest), "loss")),
    )  # fmt: skip
    off = max(abs(v - 0.05) for v in by_p)
    holds = off < 0.04 and max(abs(v - 0.05) for v in loss_ep) > 2 * off
    says = (
        f"p-values reject Gaussian samples in {100 * min(by_p):.1f} to {100 * max(by_p):.1f} % of "
        f"cases at every n, d and M and for every statistic; one threshold on the loss in "
        f"{100 * min(loss_ep):.0f} to {100 * max(loss_ep):.0f} %. What a p-value does not do is "
        "measure how wrong the embeddings are: for one and the same law it falls as the batch "
        "grows. For that, compare (loss - floor) / n."
    )
    return Judgement("holds" if holds else "does not hold here", says, numbers)


def _worst(rows: list[Row], cells: list[tuple], rates: list[float], only: str = "") -> list[Row]:
    """The rows of the cell whose rate is farthest from 5 %."""
    which = [i for i, cell in enumerate(cells) if only in ("", cell[0])]
    cell = cells[max(which, key=lambda i: abs(rates[i] - 0.05))]
    return where(rows, **dict(zip(("statistic", "n", "d", "slices"), cell)))


def draw(rows: list[Row], picture: Figure) -> None:
    left, middle, right = picture.subplots(1, 3)
    nulls = where(rows, part="null", statistic="epps_pulley", slices=64)
    sizes = sorted({row["n"] for row in nulls})
    for colour, d in zip(COLOURS, sorted({row["d"] for row in nulls})):
        parts = [where(nulls, d=d, n=n) for n in sizes]
        left.plot(sizes, [column(p, "spread").mean() for p in parts], "o-", ms=4, color=colour)
        for name, style in (("by_p", "o-"), ("by_loss", "s--")):
            means = np.array([column(p, name).mean() for p in parts])
            word = "p-value" if name == "by_p" else "loss"
            middle.plot(sizes, 100 * means, style, ms=4, color=colour, label=f"d = {d}, {word}")
    left.set(
        xscale="log",
        xlabel="samples n",
        title="spread of the loss of N(0, I)\n(its mean: 1.05)",
        ylim=(0, None),
    )
    middle.axhline(5, color="black", ls=":", lw=1)
    middle.set(xscale="log", xlabel="samples n", title="N(0, I) rejected, %")
    batch = where(rows, part="batch")
    sizes = sorted({row["n"] for row in batch})
    for colour, name, word in zip(COLOURS[3:], ("loss", "p"), ("loss", "median p-value")):
        means = [column(where(batch, n=n), name).mean() for n in sizes]
        right.plot(sizes, means, "o-", ms=4, color=colour, label=word)
    right.set(xscale="log", yscale="log", xlabel="batch size n", title="one law, N(0, 1.1² I)")
    right.legend()
    for axes in (left, middle, right):
        axes.set_xticks(sizes, [str(n) for n in sizes])
        axes.minorticks_off()
    picture.legend(*middle.get_legend_handles_labels(), loc="outside right center", title="middle")


CLAIM = Claim(
    name="p_values",
    number=15,
    statement="A test gives what a distance does not: a p-value, which means the same at every n, "
    "d and batch size",
    source="the article behind this project, statement 4; LeJEPA, Section 4",
    measure=measure,
    judge=judge,
    draw=draw,
    seeds=3,
    size=(11.0, 3.3),
)
if __name__ == "__main__":
    main(CLAIM)
