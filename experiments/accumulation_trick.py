"""Are a few fresh directions at each step enough? Slices, how they are drawn, and none at all.

    python experiments/accumulation_trick.py --out DIR --picture docs/images/accumulation-trick.png

A residual network learns the 1,797 digits with LeJEPA, and only SIGReg's directions differ: {4, 16,
64, 256, 1024} drawn anew at each step, as many drawn once, as many in orthogonal blocks, and all
directions in closed form. Every ten updates 512 projections of fresh views are judged by the closed
form, which no run's directions favour, and held-out digits are classified by their nearest class
mean. Some seven minutes on one core for three seeds; the curves are also written to
OUT/results.json, from which `--plot-only` draws.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor

from isojepa import LeJEPALoss, exact_sigreg
from isojepa.encoders import (
    JEPA,
    Encoder,
    EncoderSpec,
    Views,
    draw_parameters,
    glyph,
    make_views,
    normalise,
)
from isojepa.randomness import generator

SIDE, JUDGED, EVERY = 8, 512, 10
Directions = Literal["random", "fixed", "orthogonal", "exact"]
KINDS: tuple[Directions, ...] = ("random", "fixed", "orthogonal")
COLOURS = {"random": "#3d74b8", "fixed": "#d0743c", "orthogonal": "#4c9a6a", "exact": "#333333"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare."""

    out: Path
    """Folder for results.json."""
    slices: tuple[int, ...] = (4, 16, 64, 256, 1024)
    """Numbers of directions."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the weights, the views and the directions."""
    steps: int = 200
    """Updates of each run."""
    batch: int = 128
    """Digits in a batch, two views each."""
    dim: int = 32
    """Width of the projections."""
    lambd: float = 0.05
    """Weight of SIGReg."""
    gaussian: float = 14.0
    """The closed form's value, of 512 projections, that counts as Gaussian enough."""
    accuracy: float = 0.85
    """The nearest-mean accuracy that counts as learnt."""
    picture: Path | None = None
    """PNG file to draw."""
    plot_only: bool = False
    """Draw and print what an earlier run wrote."""


@dataclass(frozen=True)
class Digits:
    """Pixels, (n, 1, 8, 8) of bytes, and labels; a third is held out."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def read_digits() -> Digits:
    data = load_digits()
    pixels = torch.from_numpy(data.images).float()[:, None] / 16 * 255
    images, labels = pixels.round().byte(), torch.from_numpy(data.target)
    order = torch.randperm(len(images), generator=generator(7))
    held_out, kept = order[:600], order[600:]
    return Digits(images[kept], labels[kept], images[held_out], labels[held_out])


def views_of(images: Tensor, seed: int, step: int) -> Views:
    recipe, n = glyph(SIDE, n_global=2), len(images)
    parameters = draw_parameters(recipe, torch.ones(n), seed=seed, step=step, first=0, total=n)
    return make_views(images, parameters, recipe, [0.5], [0.5])


class Judge:
    """The same fresh views and held-out digits for every run of a seed."""

    def __init__(self, digits: Digits, seed: int) -> None:
        self.digits = digits
        chosen = torch.randperm(len(digits.train), generator=generator(seed, 11))[:JUDGED]
        self.views = views_of(digits.train[chosen], seed + 1000, 0)

    @torch.no_grad()
    def __call__(self, jepa: JEPA) -> tuple[float, float]:
        """The closed form of one view's projections, and nearest-mean accuracy on held-out digits.

        With the statistics of the batch, as in training: averages would lag behind the weights.
        """
        gaussian = float(exact_sigreg(jepa(self.views)[1][0].double()))
        d = self.digits
        train, test = (
            jepa.encoder(normalise(x.float()[None] / 255, [0.5], [0.5])[0])
            for x in (d.train, d.test)
        )
        means = torch.stack([train[d.train_labels == c].mean(0) for c in range(10)])
        right = torch.cdist(test, means).argmin(1) == d.test_labels
        return gaussian, float(right.float().mean())


def train(
    kind: Directions, slices: int, seed: int, digits: Digits, config: Config
) -> dict[str, Any]:
    """One run; its two curves, and the seconds it took, judging left out."""
    torch.manual_seed(seed)
    spec = EncoderSpec(
        model="resnet_nano", image_size=SIDE, channels=1, mean=[0.5], std=[0.5], side=SIDE
    )
    jepa = JEPA(Encoder(spec), hidden=256, out=config.dim)
    objective = LeJEPALoss(lambd=config.lambd, slices=slices, seed=seed, directions=kind)
    optimiser = torch.optim.AdamW(jepa.parameters(), lr=2e-3, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=config.steps, pct_start=0.1, cycle_momentum=False
    )
    judge = Judge(digits, seed)
    curve, seconds = [(0, 0.0, *judge(jepa))], 0.0
    for step in range(config.steps):
        start = time.perf_counter()
        batch = torch.randperm(len(digits.train), generator=generator(seed, step))[: config.batch]
        terms = objective(jepa(views_of(digits.train[batch], seed, step))[1])
        optimiser.zero_grad()
        terms.loss.backward()
        optimiser.step()
        schedule.step()
        seconds += time.perf_counter() - start
        if (step + 1) % EVERY == 0:
            curve.append((step + 1, seconds, *judge(jepa)))
            if not math.isfinite(curve[-1][2]):
                raise RuntimeError(f"{kind} {slices}: diverged at step {step + 1}")
    return {"kind": kind, "slices": slices, "seed": seed, "curve": curve}


def runs(config: Config) -> Iterator[dict[str, Any]]:
    digits = read_digits()
    for seed in config.seeds:
        for kind in KINDS:
            for slices in config.slices:
                yield train(kind, slices, seed, digits, config)
        yield train("exact", 1, seed, digits, config)


def first(run: dict[str, Any], column: int, reached: bool, at: float) -> tuple[float, float]:
    """Step and second at which a column first is above (`reached`) or below `at`; else infinite."""
    for row in run["curve"]:
        if (row[column] >= at) if reached else (row[column] <= at):
            return row[0], row[1]
    return math.inf, math.inf


def cell(values: list[float], digits: int = 0) -> str:
    """Median [lowest, highest]; a dash if a run never got there."""
    low, middle, high = min(values), float(np.median(values)), max(values)
    words = ["-" if math.isinf(v) else f"{v:.{digits}f}" for v in (middle, low, high)]
    return f"{words[0]} [{words[1]}, {words[2]}]"


def summarise(results: list[dict[str, Any]], config: Config) -> Table:
    table = Table(
        "directions", "number", f"steps to {config.gaussian:g}", "seconds", "at the end",
        f"steps to {100 * config.accuracy:.0f} %", "accuracy at the end",
        title=r"Median \[lowest, highest] over seeds",
    )  # fmt: skip
    for kind, slices in dict.fromkeys((r["kind"], r["slices"]) for r in results):
        same = [r for r in results if (r["kind"], r["slices"]) == (kind, slices)]
        gaussian = [first(r, 2, False, config.gaussian) for r in same]
        learnt = [first(r, 3, True, config.accuracy) for r in same]
        table.add_row(
            kind,
            "all" if kind == "exact" else f"{slices}",
            cell([s for s, _ in gaussian]),
            cell([t for _, t in gaussian], 1),
            cell([r["curve"][-1][2] for r in same], 2),
            cell([s for s, _ in learnt]),
            cell([100 * r["curve"][-1][3] for r in same], 1),
        )
    return table


def draw(results: list[dict[str, Any]], config: Config, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9})
    panels = (*config.slices, "final")
    figure, axes = pyplot.subplots(
        1, len(panels), figsize=(14.0, 3.4), dpi=110, sharey=True, layout="constrained"
    )
    exact = [r for r in results if r["kind"] == "exact"]
    for slices, panel in zip(config.slices, axes):
        for kind in (*KINDS, "exact"):
            same = [r for r in results if r["kind"] == kind and r["slices"] == slices] or exact
            for i, r in enumerate(same):
                steps, _, values, _ = zip(*r["curve"])
                panel.plot(steps, values, color=COLOURS[kind], linewidth=1.3, alpha=0.85,
                           label=kind if i == 0 else None)  # fmt: skip
        panel.set(title=f"{slices} directions", yscale="log", xlabel="update")
    axes[0].set_ylabel("SIGReg of 512 projections, closed form")
    axes[0].legend(frameon=False)
    last = axes[-1]
    for kind in KINDS:
        ends = [[r["curve"][-1][2] for r in results if r["kind"] == kind and r["slices"] == m]
                for m in config.slices]  # fmt: skip
        last.plot(config.slices, [np.median(e) for e in ends], "o-", color=COLOURS[kind])
        for m, e in zip(config.slices, ends):
            last.plot([m, m], [min(e), max(e)], color=COLOURS[kind], linewidth=1)
    last.axhline(np.median([r["curve"][-1][2] for r in exact]), color=COLOURS["exact"])
    last.set(title="at the end", xscale="log", xlabel="directions")
    for panel in axes:
        panel.axhline(1.0595, color="#999999", linestyle=":", linewidth=1)
        panel.spines[["top", "right"]].set_visible(False)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def main(config: Config) -> None:
    path = config.out / "results.json"
    if config.plot_only:
        results = json.loads(path.read_text())
    else:
        config.out.mkdir(parents=True, exist_ok=True)
        results = []
        for result in runs(config):
            results.append(result)
            name = f"{result['kind']} {result['slices']} seed {result['seed']}"
            step, seconds, gaussian, accuracy = result["curve"][-1]
            reached = f"{gaussian:.2f}, {100 * accuracy:.1f} %"
            print(f"{name}: {step} steps, {seconds:.1f} s, {reached}", flush=True)
            path.write_text(json.dumps(results))
    Console(width=130).print(summarise(results, config))
    if config.picture is not None:
        draw(results, config, config.picture)


if __name__ == "__main__":
    main(tyro.cli(Config))
