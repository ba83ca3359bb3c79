"""Does training leave a collapsed state? Plain against decoupled SIGReg on a real encoder.

    python experiments/never_stuck.py --out docs/images/never-stuck.png    # 3 min, one core

The digits of scikit-learn, the encoder resnet_nano and a projector, trained with LeJEPA from two
collapsed states: the projector's last layer scaled so that embeddings have standard deviation 1e-4
(point), and replaced by a matrix of rank 1 in which all dimensions are the same (line). From the
point also by gradient descent with momentum, which, unlike AdamW, does not rescale what is small.
The last start is the untouched network, for comparison.

Then the same without a network: gradient descent on 256 embeddings in 64 dimensions.

Prints, per start and objective, the standard deviation and the effective rank of the projections
after some updates, means over seeds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
import tyro
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import Tensor, nn

from isojepa import LeJEPALoss, SIGReg
from isojepa.embeddings.label_free import effective_rank
from isojepa.encoders import JEPA, Encoder, EncoderSpec, draw_parameters, glyph, make_views
from isojepa.randomness import generator

matplotlib.use("Agg")
from matplotlib import pyplot

COLOURS = {"plain": "#d0743c", "decoupled": "#3d74b8"}
OPTIONS: dict[str, dict] = {"plain": {}, "decoupled": {"scale": "decoupled"}}


@dataclass(frozen=True, kw_only=True)
class Config:
    """LeJEPA on 8 x 8 digits, from collapsed weights."""

    steps: int = 120
    """Updates."""
    batch: int = 64
    """Images per update, two views of each."""
    dim: int = 32
    """Dimension of the projections."""
    lr: float = 1e-3
    """Of AdamW, constant."""
    descent: float = 0.03
    """Learning rate of gradient descent."""
    lambd: float = 0.05
    """Weight of SIGReg."""
    std: float = 1e-4
    """Standard deviation of the projections that start on a point."""
    seeds: int = 3
    """Runs of each."""
    out: Path | None = None
    """PNG file to draw."""


class Point(NamedTuple):
    """State of the projections before an update."""

    loss: float
    std: float
    """Root mean square over dimensions, around the mean."""
    rank: float
    """Effective, around the mean."""


def network(config: Config, seed: int) -> JEPA:
    torch.manual_seed(seed)
    spec = EncoderSpec(
        model="resnet_nano", image_size=16, channels=1, mean=[0.3], std=[0.35], side=16
    )
    return JEPA(Encoder(spec), 128, config.dim)


@torch.no_grad()
def to_a_point(model: JEPA, projections: Tensor, config: Config) -> None:
    last = model.projector[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(config.std / projections.flatten(0, 1).std(0).mean())
    last.bias.zero_()


@torch.no_grad()
def to_a_line(model: JEPA, projections: Tensor, config: Config) -> None:
    last = model.projector[-1]
    assert isinstance(last, nn.Linear)
    along = torch.ones(config.dim, 1)  # mean 0 and standard deviation 1 in every dimension
    last.weight.copy_(along @ last.weight[:1])
    last.weight.div_(projections[..., 0].std())
    last.bias.copy_(-projections[..., 0].mean() / projections[..., 0].std())


STARTS: dict[str, Callable[[JEPA, Tensor, Config], None]] = {
    "point": to_a_point,
    "point, gradient descent": to_a_point,
    "line": to_a_line,
    "untouched": lambda *_: None,
}


def train(start: str, objective: str, seed: int, config: Config) -> Iterator[Point]:
    digits = torch.from_numpy(load_digits().images / 16).float().unsqueeze(1)
    squares = (nn.functional.interpolate(digits, size=16, mode="bilinear") * 255).byte()
    recipe = glyph(16, n_global=2)
    model, loss = network(config, seed), LeJEPALoss(lambd=config.lambd, **OPTIONS[objective])
    sigreg, head = loss.sigreg, model.projector[-1]
    assert isinstance(sigreg, SIGReg)
    assert isinstance(head, nn.Linear)
    sigreg.seed = seed

    def project(step: int) -> Tensor:
        chosen = torch.randint(len(squares), (config.batch,), generator=generator(seed, step))
        parameters = draw_parameters(
            recipe, torch.ones(config.batch), seed=seed, step=step, first=0, total=config.batch
        )
        return model(make_views(squares[chosen], parameters, recipe, [0.3], [0.35]))[1]

    with torch.no_grad():
        projections = project(0)
        if start == "line":
            projections = projections - head.bias
    STARTS[start](model, projections, config)
    optimiser: torch.optim.Optimizer
    if start.endswith("gradient descent"):
        optimiser = torch.optim.SGD(model.parameters(), lr=config.descent, momentum=0.9)
    else:
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.05)
    for step in range(config.steps + 1):
        projections = project(step)
        terms = loss(projections)
        view = projections[0].detach()
        yield Point(
            terms.loss.item(),
            view.var(0).mean().sqrt().item(),
            effective_rank(view.numpy(), centred=True),
        )
        optimiser.zero_grad()
        terms.loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


def embeddings_alone(config: Config, n: int = 256, d: int = 64) -> dict[tuple[str, str], Tensor]:
    """Gradient descent on the embeddings themselves, learning rate 1: nothing but the statistic."""
    curves = {}
    for start in ("a point", "a line"):
        for objective, options in OPTIONS.items():
            runs = []
            for seed in range(config.seeds):
                g = generator(seed, n)
                z = torch.randn(n, d, generator=g)
                z = 1e-4 * (z if start == "a point" else z + 1e4 * torch.randn(n, 1, generator=g))
                z.requires_grad_()
                sigreg, run = SIGReg(seed=seed, **options), []
                for _ in range(config.steps + 1):
                    value, now = sigreg(z), z.detach()
                    run.append((
                        value.item(), now.var(0).mean().sqrt().item(), effective_rank(now.numpy())
                    ))  # fmt: skip
                    (gradient,) = torch.autograd.grad(value, z)
                    z.data.sub_(gradient)
                runs.append(run)
            curves[f"{start}, embeddings alone", objective] = torch.tensor(runs)
    return curves


def draw(curves: dict[tuple[str, str], Tensor], config: Config, out: Path) -> None:
    pyplot.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9})
    figure, grid = pyplot.subplots(3, len(STARTS), figsize=(11.6, 6.6), dpi=130, sharex=True)
    for column, start in enumerate(STARTS):
        for objective, colour in COLOURS.items():
            for axes, which in zip(grid[:, column], (1, 2, 0)):
                for seed, run in enumerate(curves[start, objective]):
                    label = None if seed else objective
                    axes.plot(run[:, which], color=colour, label=label, linewidth=1.3, alpha=0.8)
        grid[0, column].set(title=f"start: {start}", yscale="log", ylim=(5e-5, 3))
        grid[0, column].title.set_weight("bold")
        grid[1, column].set(ylim=(0, config.dim))
        grid[2, column].set(xlabel="updates", yscale="log")
    grid[0, 0].set_ylabel("standard deviation")
    grid[1, 0].set_ylabel(f"effective rank, of {config.dim}")
    grid[2, 0].set_ylabel("its own loss")
    for axes in grid.flat:
        axes.grid(axis="y", color="#eceef1")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, ncols=2, loc="lower center")
    figure.tight_layout(rect=(0, 0.05, 1, 1))
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)


def run(config: Config) -> None:
    torch.set_num_threads(1)
    curves = {
        (start, objective): torch.tensor(
            [list(train(start, objective, seed, config)) for seed in range(config.seeds)]
        )
        for start in STARTS
        for objective in OPTIONS
    }
    at = [round(share * config.steps) for share in (0, 0.1, 0.25, 0.5, 1)]
    table = Table("start", "objective", *(f"std / rank at {i}" for i in at))
    for (start, objective), runs in (curves | embeddings_alone(config)).items():
        mean = runs.mean(0)
        table.add_row(start, objective, *(f"{mean[i, 1]:.2g} / {mean[i, 2]:.1f}" for i in at))
    Console(width=120).print(table)
    if config.out is not None:
        draw(curves, config, config.out)


if __name__ == "__main__":
    run(tyro.cli(Config))
