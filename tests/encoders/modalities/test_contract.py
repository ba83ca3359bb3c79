"""Every modality keeps the one contract: what it reads, views and embeds fits what is shared."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from isojepa.encoders.modalities.batches import training_batches
from isojepa.encoders.modalities.images import modality as images
from isojepa.encoders.modalities.images.encoder import EncoderSpec
from isojepa.encoders.modalities.images.recipes import small
from isojepa.encoders.modalities.modality import Batch, Dataset, Modality, Views
from isojepa.encoders.sources.folder import list_folder


class Example(NamedTuple):
    """A modality at work on a small source of two classes, one sample of which is held out."""

    dataset: Dataset
    views: Callable[[Batch, int], Views]
    network: nn.Module


def of_images(folder: Path, modality: Modality) -> Example:
    generator = np.random.default_rng(0)
    for i in range(9):
        place = folder / "ab"[i % 2]
        place.mkdir(exist_ok=True)
        pixels = generator.integers(0, 256, (20 + i, 24, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
    dataset = modality.read(list_folder(folder), side=20, channels=3)
    dataset = replace(dataset, held_out=np.arange(9) == 4)
    mean, std = dataset.statistics(range(9))
    spec = EncoderSpec(model="resnet_nano", image_size=16, channels=3, mean=mean, std=std, side=20)
    recipe = replace(small(16, n_global=2, n_local=1), local_size=8)
    views = partial(modality.views, recipe=recipe, spec=spec, seed=3, device=torch.device("cpu"))
    return Example(dataset, views, modality.network(spec))


@pytest.fixture(scope="module", params=[(images, of_images)], ids=["images"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    modality, make = request.param
    return make(tmp_path_factory.mktemp("source"), modality)


def test_a_dataset_has_length_labels_items_and_statistics(example: Example) -> None:
    dataset = example.dataset
    assert isinstance(dataset, Dataset)
    assert dataset.labels is not None
    assert len(dataset) == len(dataset.labels) == len(dataset.held_out) == 9
    assert set(dataset.labels) == {0, 1}
    assert dataset.held_out.sum() == 1
    mean, std = dataset.statistics([0, 1, 2])
    assert len(mean) == len(std)
    assert min(std) > 0


def test_items_come_in_the_order_asked_for(example: Example) -> None:
    whole, turned = example.dataset.read(range(9)), example.dataset.read(torch.tensor([7, 2]))
    assert all(len(field) == 9 for field in whole)
    assert all(torch.equal(part, field[[7, 2]]) for part, field in zip(turned, whole))


def test_views_are_a_function_of_step_and_place_in_the_global_batch(example: Example) -> None:
    indices = torch.arange(9)
    order = {"batch_size": 8, "seed": 0, "start": 2, "stop": 3}
    (whole,) = training_batches(example.dataset, indices, **order)
    made = example.views(whole, 2)
    assert made.small is not None
    assert made.large.shape[1] == made.small.shape[1] == 8
    shares = [
        example.views(batch, 2)
        for rank in range(3)
        for batch in training_batches(example.dataset, indices, rank=rank, world=3, **order)
    ]
    for size in ("large", "small"):
        joined = torch.cat([getattr(share, size) for share in shares], 1)
        torch.testing.assert_close(joined, getattr(made, size))
        assert not torch.equal(getattr(example.views(whole, 3), size), getattr(made, size))


def test_a_network_reads_views_of_all_sizes_and_prepared_samples(example: Example) -> None:
    network = example.network.eval()
    (batch,) = training_batches(
        example.dataset, torch.arange(9), batch_size=4, seed=0, start=0, stop=1
    )
    large, local = example.views(batch, 0)
    assert local is not None
    for x in (large[0], local[0], network.prepare(*batch.samples)):
        embedding = network(x)
        assert embedding.shape == (4, network.embedding_dim)
        assert embedding.isfinite().all()
