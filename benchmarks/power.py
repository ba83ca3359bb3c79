"""Power study: how often each test of Gaussianity rejects each alternative, at 5 %.

    python benchmarks/power.py --quick    # some ten seconds on one core
    python benchmarks/power.py            # the full grid: hours

Prints a table per setting, one comparison with SciPy (and with pingouin and statsmodels where they
are installed) on the same samples, and last one line of JSON. Ratios are mean rejection rates over
the alternatives, relative to the sliced Epps-Pulley statistic, SIGReg, of the same setting.
"""

import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.stats
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isojepa.normality.calibration import Calibration, rejection_rate
from isojepa.normality.multivariate import MULTIVARIATE, Reduction
from isojepa.normality.statistic import Null
from isojepa.normality.univariate import UNIVARIATE
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


QUICK = Config(n=(64,), d=(8,), slices=(16,), nulls=("simple",), trials=100, n_null=300, quick=True)


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


def show(rates: dict[str, dict[str, float]], title: str) -> None:
    table = Table("test", *ALTERNATIVES, title=title)
    for label, row in rates.items():
        table.add_row(label, *(f"{100 * rate:.0f}" for rate in row.values()))
    Console(width=160).print(table)


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
    n, compared = config.n[0], ("none", "student", "skew", "mixture", "cube")
    rates: dict[str, dict[str, tuple[float, float]]] = {}
    for label, (name, null, peer) in PEERS.items():
        d = 2 if name in MULTIVARIATE else 1
        c = Calibration(statistic=name, n=n, d=d, null=null, n_null=config.n_null, seed=config.seed)
        rates[label] = {}
        for alternative in compared:
            g = generator(config.seed, n, d, 99)
            normal = torch.randn(config.trials, n, d, generator=g, dtype=torch.float64)
            z = ALTERNATIVES[alternative](normal, g).double()
            theirs = np.mean([peer(x.squeeze(-1).numpy()) <= LEVEL for x in z])
            rates[label][alternative] = (rejection_rate(z, c, level=LEVEL), float(theirs))
    return rates


def run(config: Config) -> None:
    config = QUICK if config.quick else config
    ratios: dict[str, float] = {}
    rejection: dict[str, dict[str, dict[str, float]]] = {}
    for n in config.n:
        for d in config.d:
            for null in config.nulls:
                if null == "composite" and n <= d:
                    continue
                title = f"n={n} d={d} {null}"
                rates = rejection[title] = setting(n, d, null, config)
                show(rates, f"{title}: rejections in %, {config.trials} samples each")
                sigreg = mean_power(rates[f"epps_pulley, mean of {config.slices[-1]}"])
                for label, row in rates.items():
                    ratios[f"{title}: {label}"] = round(mean_power(row) / sigreg, 3)
    peers = against_peers(config)
    table = Table("peer", *next(iter(peers.values())), title="rejections in %, ours / the peer's")
    for label, pairs in peers.items():
        table.add_row(
            label, *(f"{100 * ours:.0f} / {100 * its:.0f}" for ours, its in pairs.values())
        )
    Console(width=160).print(table)
    result = {"benchmark": "power", "ratios": ratios, "rejection": rejection, "peers": peers}
    print(json.dumps(result))


if __name__ == "__main__":
    run(tyro.cli(Config))
