"""Power study: how often each test of Gaussianity rejects each alternative, at 5 %.

    python benchmarks/power.py --quick    # some fifteen seconds on one core
    python benchmarks/power.py --small    # docs/explanation/power.md: some ten minutes on one core
    python benchmarks/power.py            # the full grid: hours

Prints a table per setting; comparisons with SciPy (and with pingouin and statsmodels where they are
installed) on the same samples, and with published critical values; and last one line of JSON.
Ratios are mean rejection rates over the alternatives, relative to the sliced Epps-Pulley statistic,
SIGReg, of the same setting. `--out FILE` writes all of it as Markdown.
"""

import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.stats
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isojepa.normality import (
    MULTIVARIATE,
    UNIVARIATE,
    Calibration,
    null_distribution,
    rejection_rate,
)
from isojepa.normality.multivariate import Reduction
from isojepa.normality.statistic import Null
from isojepa.randomness import generator

Draw = Callable[[Tensor, torch.Generator], Tensor]
LEVEL = 0.05
REDUCTIONS: tuple[Reduction, ...] = ("mean", "max")
SAME_INTEGRAL = {"epps_pulley_hermite", "epps_pulley_whole_line"}  # as epps_pulley, to 1e-3


@dataclass(frozen=True, kw_only=True)
class Config:
    """The grid of settings: every combination is one table."""

    n: tuple[int, ...] = (64, 256, 1024)
    """Samples."""
    d: tuple[int, ...] = (2, 16, 128)
    """Dimensions."""
    slices: tuple[int, ...] = (16, 256)
    """Directions of the sliced tests."""
    nulls: tuple[Null, ...] = ("simple", "composite")
    """Null hypotheses; composite only where n > d."""
    trials: int = 500
    """Samples drawn from each alternative."""
    n_null: int = 2000
    """Null samples behind each p-value."""
    seed: int = 0
    """Seed of everything."""
    quick: bool = False
    """One small setting instead of the grid, to see that it runs."""
    small: bool = False
    """The grid behind docs/explanation/power.md instead of the full one."""
    out: Path | None = None
    """Markdown file to write the tables to."""


QUICK = Config(n=(64,), d=(8,), slices=(16,), nulls=("simple",), trials=100, n_null=300)
SMALL = Config(n=(64, 256), d=(2, 16, 64), slices=(8, 32), trials=100, n_null=400)
PEER_TRIALS, PEER_NULL, PUBLISHED_NULL = 500, 4000, 20_000


def shift(z: Tensor, _: torch.Generator) -> Tensor:
    """Mean of length 0.5, spread over all dimensions."""
    return z + 0.5 / math.sqrt(z.shape[-1])


def scale(z: Tensor, _: torch.Generator) -> Tensor:
    """Standard deviation 1.1."""
    return 1.1 * z


def anisotropy(z: Tensor, _: torch.Generator) -> Tensor:
    """Standard deviations from 0.7 to 1.3: condition number 3.4."""
    return z * torch.linspace(0.7, 1.3, z.shape[-1])


def student(z: Tensor, g: torch.Generator) -> Tensor:
    """Multivariate Student t with 5 degrees of freedom, unit variance."""
    chi_squared = torch.randn(*z.shape[:-1], 5, generator=g).square().sum(-1, keepdim=True)
    return z * torch.sqrt(3 / chi_squared)


def skew(z: Tensor, g: torch.Generator) -> Tensor:
    """Each coordinate chi-squared with 8 degrees of freedom, standardised: skewness 1."""
    return (torch.randn(*z.shape, 8, generator=g).square().sum(-1) - 8) / 4


def mixture(z: Tensor, g: torch.Generator) -> Tensor:
    """Two clusters along one axis, at distance 3 standard deviations, unit variance."""
    sign = torch.randn(*z.shape[:-1], generator=g).sign()
    z = z.clone()
    z[..., 0] = (z[..., 0] + 1.5 * sign) / math.sqrt(1 + 1.5**2)
    return z


def x_shape(z: Tensor, g: torch.Generator) -> Tensor:
    """An X in the first two dimensions, normal along each axis; the others normal."""
    sign = torch.randn(*z.shape[:-1], generator=g).sign()
    z = z.clone()
    z[..., 1] = sign * z[..., 0]
    return z


def cube(z: Tensor, _: torch.Generator) -> Tensor:
    """Uniform on a cube, unit variance."""
    return math.sqrt(12) * (torch.special.ndtr(z) - 0.5)


def low_rank(z: Tensor, _: torch.Generator) -> Tensor:
    """Half the dimensions are copies of the others."""
    kept = (z.shape[-1] + 1) // 2
    return torch.cat([z[..., :kept], z[..., : z.shape[-1] - kept]], -1)


ALTERNATIVES: dict[str, Draw] = {
    "none": lambda z, _: z,
    "shift": shift,
    "scale": scale,
    "anisotropy": anisotropy,
    "student": student,
    "skew": skew,
    "mixture": mixture,
    "x": x_shape,
    "cube": cube,
    "rank": low_rank,
}


def calibrations(n: int, d: int, null: Null, config: Config) -> Iterator[tuple[str, Calibration]]:
    """Every test that this setting allows, with a label."""
    common = partial(Calibration, n=n, d=d, null=null, n_null=config.n_null, seed=config.seed)
    for name in MULTIVARIATE:
        yield name, common(statistic=name)
    for name, statistic in UNIVARIATE.items():
        if name in SAME_INTEGRAL or null not in statistic.nulls:
            continue
        reductions: tuple[Reduction, ...] = ("mean",) if statistic.tail == "both" else REDUCTIONS
        for slices in config.slices:
            for reduction in reductions:
                label = f"{name}, {reduction} of {slices}"
                yield label, common(statistic=name, slices=slices, reduction=reduction)


def setting(n: int, d: int, null: Null, config: Config) -> dict[str, dict[str, float]]:
    """Rejection rates, test by alternative, at one n, d and null hypothesis."""
    tests = dict(calibrations(n, d, null, config))
    rates: dict[str, dict[str, float]] = {label: {} for label in tests}
    progress = Console(stderr=True)
    for i, (name, bend) in enumerate(ALTERNATIVES.items()):
        g = generator(config.seed, n, d, i + 1)
        z = bend(torch.randn(config.trials, n, d, generator=g), g)
        for label, c in track(tests.items(), f"n={n} d={d} {null}: {name}", console=progress):
            rates[label][name] = rejection_rate(z, c, level=LEVEL)
    return rates


class Page(NamedTuple):
    """A table with a title, for the screen and for Markdown."""

    title: str
    first: str
    rows: dict[str, list[str]]
    columns: list[str]

    def show(self) -> None:
        table = Table(self.first, *self.columns, title=self.title)
        for label, cells in self.rows.items():
            table.add_row(label, *cells)
        Console(width=160).print(table)

    def markdown(self) -> str:
        head = [f"## {self.title}", "", "| " + " | ".join([self.first, *self.columns]) + " |"]
        head.append("|---|" + "---:|" * len(self.columns))
        return "\n".join(head + [f"| {k} | " + " | ".join(v) + " |" for k, v in self.rows.items()])


def mean_power(row: dict[str, float]) -> float:
    return float(np.mean([rate for name, rate in row.items() if name != "none"]))


PEERS: dict[str, tuple[str, Null, Callable[[np.ndarray], float]]] = {
    "scipy kstest": (
        "kolmogorov_smirnov",
        "simple",
        lambda x: scipy.stats.kstest(x, "norm").pvalue,
    ),
    "scipy cramervonmises": (
        "cramer_von_mises",
        "simple",
        lambda x: scipy.stats.cramervonmises(x, "norm").pvalue,
    ),
    "scipy shapiro": ("shapiro_wilk", "composite", lambda x: scipy.stats.shapiro(x).pvalue),
    "scipy jarque_bera": ("jarque_bera", "composite", lambda x: scipy.stats.jarque_bera(x).pvalue),
}
if importlib.util.find_spec("statsmodels"):
    from statsmodels.stats.diagnostic import lilliefors, normal_ad

    PEERS["statsmodels lilliefors"] = (
        "kolmogorov_smirnov",
        "composite",
        lambda x: lilliefors(x)[1],
    )
    PEERS["statsmodels normal_ad"] = ("anderson_darling", "composite", lambda x: normal_ad(x)[1])
if importlib.util.find_spec("pingouin"):
    from pingouin import multivariate_normality

    PEERS["pingouin multivariate_normality"] = (
        "henze_zirkler",
        "composite",
        lambda x: multivariate_normality(x).pval,
    )


def against_peers(config: Config) -> dict[str, dict[str, tuple[float, float]]]:
    """Rejection rates, (ours, the peer's), on the same samples; 2 dimensions for pingouin."""
    n, compared = 64, ("none", "student", "skew", "mixture", "cube")
    trials, n_null = (100, 300) if config.quick else (PEER_TRIALS, PEER_NULL)
    rates: dict[str, dict[str, tuple[float, float]]] = {}
    for label, (name, null, peer) in PEERS.items():
        d = 2 if name in MULTIVARIATE else 1
        c = Calibration(statistic=name, n=n, d=d, null=null, n_null=n_null, seed=config.seed)
        rates[label] = {}
        for alternative in compared:
            g = generator(config.seed, n, d, 99)
            normal = torch.randn(trials, n, d, generator=g, dtype=torch.float64)
            z = ALTERNATIVES[alternative](normal, g).double()
            theirs = np.mean([peer(x.squeeze(-1).numpy()) <= LEVEL for x in z])
            rates[label][alternative] = (rejection_rate(z, c, level=LEVEL), float(theirs))
    return rates


PUBLISHED: tuple[tuple[str, Null, str, Callable[[float, int], float], float], ...] = (
    # Stephens (1986), in D'Agostino and Stephens, tables 4.2 (mean and variance known) and 4.7.
    ("kolmogorov_smirnov", "simple", "Stephens",
     lambda s, n: s * (n**0.5 + 0.12 + 0.11 / n**0.5), 1.358),
    ("cramer_von_mises", "simple", "Stephens",
     lambda s, n: (s - 0.4 / n + 0.6 / n**2) * (1 + 1 / n), 0.461),
    ("watson", "simple", "Stephens",
     lambda s, n: (s - 0.1 / n + 0.1 / n**2) * (1 + 0.8 / n), 0.187),
    ("anderson_darling", "simple", "Stephens", lambda s, _: s, 2.492),
    ("kolmogorov_smirnov", "composite", "Stephens",
     lambda s, n: s * (n**0.5 - 0.01 + 0.85 / n**0.5), 0.895),
    ("cramer_von_mises", "composite", "Stephens", lambda s, n: s * (1 + 0.5 / n), 0.126),
    ("watson", "composite", "Stephens", lambda s, n: s * (1 + 0.5 / n), 0.117),
    ("anderson_darling", "composite", "Stephens",
     lambda s, n: s * (1 + 0.75 / n + 2.25 / n**2), 0.752),
    # Shapiro and Wilk (1965), table 6, n = 50: the 5 % point.
    ("shapiro_wilk", "composite", "Shapiro and Wilk", lambda s, _: s, 0.947),
)  # fmt: skip
"""Statistic, null hypothesis, source, modification for n, and the published value at 5 %."""


def against_published(config: Config, n: int = 50) -> dict[str, tuple[float, float]]:
    """Critical values at 5 %, (ours, by simulation; published), in the published modification."""
    values = {}
    for name, null, source, modify, published in PUBLISHED:
        n_null = 2000 if config.quick else PUBLISHED_NULL
        c = Calibration(statistic=name, n=n, d=1, null=null, n_null=n_null, seed=config.seed)
        level = 0.05 if c.properties.tail == "small" else 0.95
        ours = float(torch.quantile(null_distribution(c, dtype=torch.float64), level))
        values[f"{name}, {null} ({source})"] = (modify(ours, n), published)
    return values


def run(config: Config) -> None:
    chosen = QUICK if config.quick else SMALL if config.small else config
    config = replace(chosen, quick=config.quick, out=config.out)
    ratios: dict[str, float] = {}
    rejection: dict[str, dict[str, dict[str, float]]] = {}
    pages = []
    for n in config.n:
        for d in config.d:
            for null in config.nulls:
                if null == "composite" and n <= d:
                    continue
                title = f"n={n} d={d} {null}"
                rates = rejection[title] = setting(n, d, null, config)
                heading = f"{title}: rejections in %, {config.trials} samples each"
                pages.append(
                    Page(heading, "test", {k: [f"{100 * r:.0f}" for r in row.values()]
                                           for k, row in rates.items()}, list(ALTERNATIVES))
                )  # fmt: skip
                pages[-1].show()
                sigreg = mean_power(rates[f"epps_pulley, mean of {config.slices[-1]}"])
                for label, row in rates.items():
                    ratios[f"{title}: {label}"] = round(mean_power(row) / sigreg, 3)
    peers, published = against_peers(config), against_published(config)
    rows = {
        label: [f"{100 * ours:.0f} / {100 * its:.0f}" for ours, its in pairs.values()]
        for label, pairs in peers.items()
    }
    title = f"Rejections in %, ours / the peer's, n=64, {PEER_TRIALS} samples each"
    pages.append(Page(title, "peer", rows, list(next(iter(peers.values())))))
    rows = {label: [f"{ours:.3f}", f"{its:.3f}"] for label, (ours, its) in published.items()}
    pages.append(Page("Critical values at 5 %, n=50", "statistic", rows, ["ours", "published"]))
    for page in pages[-2:]:
        page.show()
    if config.out is not None:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text("\n\n".join(page.markdown() for page in pages) + "\n")
    result = {
        "benchmark": "power",
        "ratios": ratios,
        "rejection": rejection,
        "peers": peers,
        "published": published,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    run(tyro.cli(Config))
