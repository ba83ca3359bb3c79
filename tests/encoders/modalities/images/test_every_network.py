"""Every family of timm trains one update at its nearest size, or is refused in one line.

One small network of each kind in `make test`; the smallest of each of timm's modules under `slow`
(20 minutes on one core). With `-s` the slow ones print what became of each.
"""

import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.sizes import reader
from isojepa.encoders.modalities.stored import load_encoder
from isojepa.errors import UserError

LARGEST = 150e6  # weights of networks that are trained; of larger ones only the shapes are tried
KINDS = [  # network, size asked for, side of the global views, of the local views if any
    ("test_vit", 64, 64, 32),
    ("test_convnext", None, 64, 32),
    ("test_vit_relpos", None, 64, None),  # its positions are those of the built size
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(0, 255, (80, 80, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def one_update(model: str, photos: Path, out: Path, **settings: object) -> dict:
    """Train one update of two images; the run's settled configuration."""
    settings = {"local_views": 2, **settings}
    config = PretrainConfig(
        data=photos, out=out, model=model, steps=1, batch_size=2, recipe="photo",
        projector_hidden=32, projection_dim=8, slices=16, device="cpu", tensorboard=False,
        evaluate=False, **settings,
    )  # fmt: skip
    pretrain.train_encoder(config)
    return json.loads((out / "config.json").read_text())["config"]


def trained(name: str, photos: Path, out: Path, **settings: object) -> dict:
    """One update, with local views where the network reads any; and what was saved is loaded."""
    try:
        settled = one_update(name, photos, out, **settings)
    except UserError as error:
        if not str(error).startswith("--local-views"):
            raise
        shutil.rmtree(out)
        settled = one_update(name, photos, out, **settings, local_views=0)
    encoder = load_encoder(out)
    size = settled["image_size"]
    embedding = encoder(torch.zeros(2, encoder.spec.channels, size, size))
    assert embedding.shape == (2, encoder.embedding_dim)
    assert embedding.isfinite().all()
    return settled


@pytest.mark.parametrize(("name", "asked", "large", "small"), KINDS)
def test_one_of_each_kind(
    name: str, asked: int | None, large: int, small: int | None, photos: Path, tmp_path: Path
) -> None:
    settled = trained(name, photos, tmp_path / "run", image_size=asked)
    assert settled["image_size"] == large
    assert (settled["local_size"] if settled["local_views"] else None) == small


@cache
def smallest(module: str) -> tuple[str, int]:
    """The network of one of timm's modules that has the fewest weights, and their number."""

    def weights(name: str) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in timm.create_model(name, num_classes=0).parameters())

    return min(((name, weights(name)) for name in timm.list_models(module=module)), key=by_count)


def by_count(named: tuple[str, int]) -> int:
    return named[1]


@pytest.mark.slow
@pytest.mark.parametrize("module", timm.list_modules())
def test_the_smallest_of_each_module(module: str, photos: Path, tmp_path: Path) -> None:
    name, weights = smallest(module)
    try:
        if weights > LARGEST:
            size = reader(name, 3).image_size(64, asked=False)
            print(f"{name}: shapes only, {size} px")
            return
        settled = trained(name, photos, tmp_path / "run")
    except UserError as error:
        told = str(error)
    else:
        local = settled["local_size"] if settled["local_views"] else None
        print(f"{name}: trained at {settled['image_size']} px, local views {local}")
        return
    print(f"{name}: refused: {told}")
    assert "\n" not in told
    assert name in told
