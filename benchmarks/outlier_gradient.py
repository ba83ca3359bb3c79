"""How hard each family of tests pulls at one outlier: gradient against its position.

    python benchmarks/outlier_gradient.py --out docs/images/outlier-gradient.png    # 5 s

The argument of the LeJEPA article for characteristic functions, to be seen: a moment's gradient
grows without bound as the outlier moves out, that of the characteristic function's distance is
bounded. It also shows what the argument leaves out: far out, that gradient all but vanishes, as
does that of Cramer-von Mises, so neither of them fetches an outlier back.

Prints a table and, last, one line of JSON: the largest gradient of each statistic over positions
up to 20, relative to Epps-Pulley's.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor

from isojepa.normality import UNIVARIATE

matplotlib.use("Agg")
from matplotlib import pyplot

FAMILIES: dict[str, dict[str, tuple[str, str]]] = {
    "moments": {
        "extended_jarque_bera": ("Jarque-Bera with mean and variance", "-"),
        "raw_moments": ("raw moments up to the fourth", "--"),
        "mean_and_variance": ("mean and variance", ":"),
    },
    "distribution function": {
        "anderson_darling": ("Anderson-Darling", "-"),
        "cramer_von_mises": ("Cramér-von Mises", "--"),
        "wasserstein": ("Wasserstein", ":"),
    },
    "characteristic function": {
        "epps_pulley": ("Epps-Pulley, 17 knots on [0, 3]", "-"),
        "epps_pulley_whole_line": ("Epps-Pulley, whole line", "--"),
    },
}
COLOURS = {"moments": "#d0743c", "distribution function": "#8a6bb1"}
COLOURS |= {"characteristic function": "#3d74b8"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """One outlier among n - 1 standard normal samples."""

    n: int = 128
    """Samples, the outlier included."""
    furthest: float = 20.0
    """Last position of the outlier, in standard deviations."""
    draws: int = 20
    """Samples over which gradients are averaged."""
    seed: int = 0
    """Of the samples."""
    out: Path | None = None
    """PNG file to draw."""


def gradients(name: str, positions: Tensor, config: Config) -> Tensor:
    """Mean over draws of |dT/dx| at the outlier, for each of its positions."""
    generator = torch.Generator().manual_seed(config.seed)
    others = torch.randn(
        config.draws, 1, config.n - 1, generator=generator, dtype=torch.float64
    ).expand(-1, len(positions), -1)
    outlier = positions[None, :, None].expand(config.draws, -1, -1)
    x = torch.cat([others, outlier], -1).requires_grad_()
    (gradient,) = torch.autograd.grad(UNIVARIATE[name].function(x).sum(), x)
    return gradient[..., -1].abs().mean(0)


def draw(positions: Tensor, found: dict[str, Tensor], config: Config, out: Path) -> None:
    pyplot.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9})
    figure, axes = pyplot.subplots(figsize=(9.0, 4.2), dpi=130)
    for family, statistics in FAMILIES.items():
        for name, (title, style) in statistics.items():
            axes.plot(
                positions, found[name], style, color=COLOURS[family], label=title, linewidth=1.8
            )
    axes.set(
        yscale="log",
        ylim=(1e-4, 1e4),
        xlim=(0, config.furthest),
        xlabel="position of the outlier, standard deviations",
        ylabel="|dT/dx| at the outlier",
        title=f"Pull on one outlier among {config.n - 1} standard normal samples",
    )
    axes.title.set_fontweight("bold")
    axes.grid(axis="y", color="#eceef1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def run(config: Config) -> None:
    positions = torch.linspace(0, config.furthest, 401, dtype=torch.float64)
    found = {
        name: gradients(name, positions, config)
        for statistics in FAMILIES.values()
        for name in statistics
    }
    table = Table("family", "statistic", "at 2", "at 5", "at 10", "at 20", "largest")
    at = [int((positions - place).abs().argmin()) for place in (2, 5, 10, 20)]
    for family, statistics in FAMILIES.items():
        for name, (title, _) in statistics.items():
            values = found[name]
            cells = [f"{float(values[i]):.3g}" for i in at]
            table.add_row(family, title, *cells, f"{float(values.max()):.3g}")
    Console(width=120).print(table)
    if config.out is not None:
        draw(positions, found, config, config.out)
    least = float(found["epps_pulley"].max())
    ratios = {name: round(float(values.max()) / least, 3) for name, values in found.items()}
    print(json.dumps({"benchmark": "outlier_gradient", "ratios": ratios}))


if __name__ == "__main__":
    run(tyro.cli(Config))
