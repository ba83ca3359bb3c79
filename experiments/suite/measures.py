"""A set's images as features, and what simple readers make of them: the same for every method."""

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from isojepa.encoders import Labelled, few_shot, knn_probe, linear_probe, whitening

SIDE = 32
"""Of the images whose pixels are a baseline."""
COMPONENTS = 64


@dataclass(frozen=True)
class Images:
    """One split of a set."""

    paths: list[Path]
    labels: np.ndarray | None
    factors: np.ndarray | None
    """(n, f), standardised by the training images."""


def read(folder: Path) -> tuple[Images, Images]:
    """Training and test images of a set, in the order of their names."""
    table = folder.with_suffix(".csv")
    factors: dict[str, list[float]] = {}
    if table.is_file():
        with table.open(newline="") as file:
            rows = csv.DictReader(file)
            factors = {r["path"]: [float(v) for k, v in r.items() if k != "path"] for r in rows}
    splits = []
    names = sorted({p.parent.name for p in (folder / "train").rglob("*.png")})
    for split in ("train", "test"):
        paths = sorted((folder / split).rglob("*.png"))
        if factors:
            values = np.array([factors[p.relative_to(folder).as_posix()] for p in paths])
            splits.append(Images(paths, None, values))
        else:
            splits.append(
                Images(paths, np.array([names.index(p.parent.name) for p in paths]), None)
            )
    train, test = splits
    if train.factors is not None and test.factors is not None:
        scale = StandardScaler().fit(train.factors)
        train, test = (Images(s.paths, None, scale.transform(s.factors)) for s in splits)
    return train, test


def pixels(images: Images) -> np.ndarray:
    """Pixels in [0, 1], of images at 32 px at most."""
    rows = []
    for path in images.paths:
        with Image.open(path) as image:
            small = image
            if min(image.size) > SIDE:
                small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
            rows.append(np.asarray(small, np.float32).ravel() / 255)
    return np.stack(rows)


def principal(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first components of both, as the training images have them."""
    pca = PCA(min(COMPONENTS, *train.shape), random_state=0).fit(train)
    return pca.transform(train), pca.transform(test)


@torch.no_grad()
def embed(
    network: Callable[[Tensor], Tensor],
    preprocess: Callable[[Image.Image], Tensor],
    images: Images,
    batch: int = 128,
) -> np.ndarray:
    """A network's features of the images, in batches."""
    parts = []
    for start in range(0, len(images.paths), batch):
        tensors = []
        for path in images.paths[start : start + batch]:
            with Image.open(path) as image:
                tensors.append(preprocess(image))
        parts.append(network(torch.stack(tensors)).float().cpu().numpy())
    return np.concatenate(parts)


def white(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as the product makes its own embeddings: centred and white on the training images."""
    layer = whitening(torch.from_numpy(train))
    with torch.no_grad():
        made = [layer(torch.from_numpy(x)).numpy() for x in (train, test)]
    return made[0], made[1]


def scores(
    x: np.ndarray, z: np.ndarray, train: Images, test: Images, seed: int = 0
) -> dict[str, float]:
    """Linear, k-NN and few-shot accuracy in %; for factors the R^2 in % of a ridge and of k-NN."""
    if train.factors is not None and test.factors is not None:
        return dict(_regression(x, z, train.factors, test.factors))
    assert train.labels is not None
    assert test.labels is not None
    a, b = Labelled(x, train.labels), Labelled(z, test.labels)
    found = {
        "linear": linear_probe(a, b, seed=seed).accuracy,
        "knn": knn_probe(a, b, seed=seed).accuracy,
    }
    shots = few_shot(a, b, seed=seed)
    found |= {f"shot{n}": s.mean for n, s in shots.items() if s is not None}
    return {name: 100 * value for name, value in found.items()}


def _regression(
    x: np.ndarray, z: np.ndarray, y: np.ndarray, truth: np.ndarray
) -> Iterator[tuple[str, float]]:
    scale = StandardScaler().fit(x)
    x, z = scale.transform(x), scale.transform(z)
    for name, model in (
        ("linear", RidgeCV(np.logspace(-1, 5, 13))),
        ("knn", KNeighborsRegressor(10, weights="distance")),
    ):
        wrong = (model.fit(x, y).predict(z) - truth) ** 2
        yield name, 100 * float(1 - (wrong.mean(0) / truth.var(0)).mean())
