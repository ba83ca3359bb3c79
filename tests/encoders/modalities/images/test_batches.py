"""The order of the data is a function of (seed, epoch), whatever the ranks and the start."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from isojepa.encoders.modalities.batches import training_batches
from isojepa.encoders.modalities.images.images import ImageSet, read_images
from isojepa.encoders.modalities.images.preview import draw_preview
from isojepa.encoders.modalities.images.recipes import photo
from isojepa.encoders.sources.folder import list_folder
from isojepa.randomness import epoch_order


def numbered(folder: Path, n: int = 11) -> ImageSet:
    for i in range(n):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(folder / f"{i:02d}.png")
    return read_images(list_folder(folder), side=4, channels=1)


def contents(batches: object) -> list[list[int]]:
    return [batch.samples.pixels[:, 0, 0, 0].tolist() for batch in batches]


def test_an_epoch_visits_everything_once_but_the_incomplete_batch(tmp_path: Path) -> None:
    images = numbered(tmp_path)
    made = contents(
        training_batches(images, torch.arange(11), batch_size=5, seed=0, start=0, stop=4)
    )
    first, second = made[0] + made[1], made[2] + made[3]
    assert first == epoch_order(11, seed=0, epoch=0)[:10].tolist()
    assert second == epoch_order(11, seed=0, epoch=1)[:10].tolist()
    assert len(set(first)) == 10


def test_resuming_is_starting_later(tmp_path: Path) -> None:
    images = numbered(tmp_path)
    settings = {"batch_size": 3, "seed": 4, "stop": 8}
    whole = contents(training_batches(images, torch.arange(11), start=0, **settings))
    assert contents(training_batches(images, torch.arange(11), start=5, **settings)) == whole[5:]


def test_ranks_share_the_global_batch(tmp_path: Path) -> None:
    images = numbered(tmp_path)
    settings = {"batch_size": 5, "seed": 0, "start": 0, "stop": 3}
    whole = contents(training_batches(images, torch.arange(11), **settings))
    ranks = [
        list(training_batches(images, torch.arange(11), rank=r, world=2, **settings))
        for r in range(2)
    ]
    assert [a + b for a, b in zip(*map(contents, ranks))] == whole
    assert [(b[0].first, b[0].total) for b in ranks] == [(0, 5), (2, 5)]


def test_only_the_given_indices_are_used(tmp_path: Path) -> None:
    images = replace(numbered(tmp_path))
    chosen = torch.tensor([1, 3, 5, 7])
    made = contents(training_batches(images, chosen, batch_size=2, seed=0, start=0, stop=6))
    assert {i for batch in made for i in batch} == {1, 3, 5, 7}


def test_preview_is_a_picture_of_the_expected_size(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    images = numbered(tmp_path / "images")
    draw_preview(tmp_path / "views.png", images, torch.arange(11), photo(128), seed=0, rows=3)
    with Image.open(tmp_path / "views.png") as picture:
        assert picture.size == (9 * 136, 3 * 136)
