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

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.batches import training_batches
from isojepa.encoders.modalities.modality import (
    Batch,
    Dataset,
    Given,
    Modality,
    Network,
    Networks,
    Place,
    Reading,
    Viewing,
    Views,
)
from isojepa.encoders.modalities.registry import (
    MODALITIES,
    modality,
    modality_of,
    modality_of_encoder,
)
from isojepa.encoders.modalities.stored import export_encoder, load_encoder
from isojepa.progress import untracked
from isojepa.runs.typed import to_json


class Example(NamedTuple):
    """A modality at work on a small source of two classes, one sample of which is held out."""

    kind: Modality
    dataset: Dataset
    views: Callable[[Batch, int], Views]
    network: Network
    recipe: object


def image_files(folder: Path) -> tuple[Path, dict]:
    generator = np.random.default_rng(0)
    for i in range(9):
        place = folder / "ab"[i % 2]
        place.mkdir(exist_ok=True)
        pixels = generator.integers(0, 256, (20 + i, 24, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return folder, {"model": "resnet_nano", "image_size": 16, "local_size": 8}


def long_table(folder: Path) -> tuple[Path, dict]:
    generator = np.random.default_rng(0)
    lines = ["id,time,a,b,label"]
    for i in range(9):
        for t in generator.permutation(20 + i):
            a, b = generator.normal(size=2)
            lines.append(f"s{i},{t},{a:.4f},{b if t % 7 else ''},{'xy'[i % 2]}")
    (folder / "series.csv").write_text("\n".join(lines))
    return folder / "series.csv", {"length": 16}


def rows(folder: Path) -> tuple[Path, dict]:
    generator = np.random.default_rng(0)
    lines = ["a,b,colour,label"]
    for i in range(9):
        a, b = generator.normal(size=2)
        lines.append(
            f"{a:.4f},{'' if i % 4 == 3 else b},{['red', 'blue', ''][i % 3]},{'xy'[i % 2]}"
        )
    (folder / "rows.csv").write_text("\n".join(lines))
    return folder / "rows.csv", {}


SOURCES = {"images": image_files, "series": long_table, "tables": rows}
"""(folder) -> (what --data names, further settings)"""


@pytest.fixture(scope="module", params=SOURCES)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    folder = tmp_path_factory.mktemp("source")
    data, settings = SOURCES[request.param](folder)
    config = PretrainConfig(
        data=data, out=folder / "run", global_views=2, local_views=1, **settings
    )
    kind = modality(request.param)
    source = kind.read.find(Place(data), untracked)
    choices, form = kind.read.choose(Given(config, source, None, False, None, lambda _: None))
    dataset = replace(kind.read.read(source, form, untracked), held_out=np.arange(9) == 4)
    spec = kind.network.spec(config, choices, dataset, dataset.statistics(range(9)))
    recipe = kind.views.recipe(config, choices)
    views = partial(kind.views.views, recipe=recipe, spec=spec, seed=3, device=torch.device("cpu"))
    return Example(kind, dataset, views, kind.network.network(spec, None, pretrained=False), recipe)


@pytest.mark.parametrize("name", MODALITIES)
def test_a_modality_is_three_files_with_the_names_agreed_on(name: str) -> None:
    assert name in SOURCES
    kind = modality(name)
    for part, contract in ((kind.read, Reading), (kind.views, Viewing), (kind.network, Networks)):
        assert isinstance(part, contract)
        assert contract.__abstractmethods__
        assert not getattr(part, "__abstractmethods__", None)
        assert all(hasattr(part, name) for name in contract.__annotations__)


def test_a_path_is_of_the_kind_that_it_looks_like(example: Example) -> None:
    assert modality_of(example.dataset.listing.root) == example.kind
    assert modality_of_encoder(example.network) == example.kind


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
    for part, field in zip(turned, whole):
        same = field[[7, 2]][tuple(slice(size) for size in part.shape)]  # but for the filling up
        torch.testing.assert_close(part, same, rtol=0, atol=0, equal_nan=True)


def test_views_are_a_function_of_step_and_place_in_the_global_batch(example: Example) -> None:
    indices = torch.arange(9)
    order = {"batch_size": 8, "seed": 0, "start": 2, "stop": 3}
    (whole,) = training_batches(example.dataset, indices, **order)
    made = example.views(whole, 2)
    sizes = [name for name in ("large", "small") if getattr(made, name) is not None]
    assert all(getattr(made, name).shape[1] == 8 for name in sizes)
    shares = [
        example.views(batch, 2)
        for rank in range(3)
        for batch in training_batches(example.dataset, indices, rank=rank, world=3, **order)
    ]
    for size in sizes:
        joined = torch.cat([getattr(share, size) for share in shares], 1)
        torch.testing.assert_close(joined, getattr(made, size))
        assert not torch.equal(getattr(example.views(whole, 3), size), getattr(made, size))


def test_a_network_reads_views_of_all_sizes_and_prepared_samples(example: Example) -> None:
    network = example.network.eval()
    (batch,) = training_batches(
        example.dataset, torch.arange(9), batch_size=4, seed=0, start=0, stop=1
    )
    large, local = example.views(batch, 0)
    smaller = [] if local is None else [local[0]]
    for x in (large[0], *smaller, network.prepare(*batch.samples)):
        embedding = network(x)
        assert embedding.shape == (4, network.embedding_dim)
        assert embedding.isfinite().all()


def test_an_encoder_is_stored_and_loaded(example: Example, tmp_path: Path) -> None:
    export_encoder(tmp_path, example.network)
    loaded = load_encoder(tmp_path)
    assert type(loaded) is type(example.network)
    assert loaded.spec == example.network.spec
    assert example.kind.read.form_of(loaded.spec) is not None
    samples = example.dataset.read([3, 1])
    expected = example.network.eval()(example.network.prepare(*samples))
    assert torch.equal(loaded(loaded.prepare(*samples)), expected)
    assert isinstance(example.kind.network.in_words(loaded.spec), str)


def test_samples_as_numbers_and_as_pictures(example: Example, tmp_path: Path) -> None:
    raw = example.kind.read.raw(example.dataset, np.array([0, 5, 2]))
    assert raw.shape[0] == 3
    assert np.isfinite(raw).all()
    pictures = example.kind.read.pictures(example.dataset, torch.tensor([0, 5, 2]))
    assert pictures.dtype == np.uint8
    assert pictures.shape[0] == 3
    assert pictures.shape[-1] in (1, 3)
    assert max(pictures.shape[1:3]) <= 64
    assert to_json(example.kind.read.recorded(example.dataset))
    path = tmp_path / "views.png"
    example.kind.views.write_preview(path, example.dataset, torch.arange(9), example.recipe, seed=0)
    with Image.open(path) as image:
        assert min(image.size) > 32
