"""Runs on stacks: every page an image, those of one file on one side of the split."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from isojepa.encoders import embed, pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation import evaluate
from isojepa.encoders.modalities.images.read import READING
from isojepa.encoders.modalities.modality import Place
from isojepa.encoders.sources.folder import hold_out, list_folder
from isojepa.encoders.sources.held_out import read_held_out
from isojepa.encoders.sources.stacks import with_pages
from isojepa.progress import untracked
from isojepa.runs.checkpoints import newest_intact
from tests.encoders.sources.pictures import pixels

FILES, PAGES = 10, 4


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten stacks of four pages of 16 bits in two classes, and a file of one page in each."""
    root = tmp_path_factory.mktemp("stacks")
    for k, name in enumerate(("across", "upright")):
        (root / name).mkdir()
        for i in range(FILES // 2):
            planes = [pixels(2 * (PAGES * i + j) + k).astype(np.uint16) * 16 for j in range(PAGES)]
            tifffile.imwrite(root / name / f"{i}.tif", np.stack(planes), photometric="minisblack")
        tifffile.imwrite(root / name / "one.tif", pixels(90 + k).astype(np.uint16) * 16)
    return root


def test_a_listing_of_pages(stacks: Path) -> None:
    listing = with_pages(list_folder(stacks))
    assert len(listing.names) == FILES * PAGES + 2
    assert listing.names[:5] == [f"across/0.tif#{i}" for i in range(4)] + ["across/1.tif#0"]
    assert "across/one.tif" in listing.names
    assert np.bincount(listing.labels).tolist() == [21, 21]
    assert listing.notes == ("10 of 12 files hold 40 pages, each an image",)
    part = listing.subset([9, 1])
    expected = tifffile.imread(stacks / "across" / "2.tif")[1]
    np.testing.assert_array_equal(part.item(0).values[..., 0], expected)
    found = READING.find(Place(stacks, pages="each"), untracked)
    assert len(set(found.listing.prints.tolist())) == FILES * PAGES + 2


@pytest.mark.parametrize("seed", range(5))
def test_pages_of_a_file_are_held_out_together(stacks: Path, seed: int) -> None:
    listing = with_pages(list_folder(stacks))
    held = hold_out(listing, 0.34, seed)
    shares = np.bincount(listing.files, held) / np.bincount(listing.files)
    assert set(shares.tolist()) == {0.0, 1.0}
    assert np.bincount(listing.labels[listing.files == 0]).max() == PAGES
    assert [int(shares[:6].sum()), int(shares[6:].sum())] == [2, 2], "a third of each class's files"


def test_a_run_on_pages_is_scored_embedded_and_gone_on_with(
    quick: PretrainConfig, stacks: Path, tmp_path: Path
) -> None:
    config = replace(quick, data=stacks, pages="each", holdout=0.34)
    run = pretrain.train_encoder(config)
    record = read_held_out(run)
    assert len(record.names) == FILES * PAGES + 2
    assert json.loads((run / "encoder" / "config.json").read_text())["pages"] == "each"
    scores = evaluate.evaluate(evaluate.EvaluateConfig(run=run, device="cpu"))
    assert scores["encoder"].n_test == record.held_out.sum()
    out = tmp_path / "x.npz"
    embed.embed(embed.EmbedConfig(run=run, data=stacks / "across", out=out, device="cpu"))
    with np.load(out) as found:
        assert found["embeddings"].shape[0] == FILES * PAGES // 2 + 1
        assert "1.tif#3" in found["paths"]

    half = replace(config, out=tmp_path / "half", steps=4)
    pretrain.train_encoder(half)
    longer = replace(half, resume=True, steps=8, said=frozenset({"steps", "out", "resume"}))
    pretrain.train_encoder(longer)
    assert newest_intact(half.out / "checkpoints")[0].step == 8


def test_pages_as_files_of_their_own_give_the_same_weights(
    quick: PretrainConfig, stacks: Path, tmp_path: Path
) -> None:
    for path in stacks.rglob("*.tif"):
        planes = np.atleast_3d(tifffile.imread(path)) if path.stem == "one" else None
        values = tifffile.imread(path) if planes is None else planes.transpose(2, 0, 1)
        place = tmp_path / "apart" / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        for i, plane in enumerate(values):
            page = "" if path.stem == "one" else f"#{i}"
            Image.fromarray(plane).save(place / f"{path.stem}{page}.png")
    one = replace(quick, data=stacks, pages="each", holdout=0.0, evaluate=False)
    runs = [
        pretrain.train_encoder(replace(one, out=tmp_path / "together")),
        pretrain.train_encoder(replace(one, data=tmp_path / "apart", out=tmp_path / "single")),
    ]
    weights = [newest_intact(run / "checkpoints")[0].weights for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_first_page_alone_is_told_with_the_remedy(quick: PretrainConfig, stacks: Path) -> None:
    short = replace(quick, data=stacks, batch_size=8, steps=1, evaluate=False)
    said = (pretrain.train_encoder(short) / "log.txt").read_text()
    assert "the first of each is read (--pages each in training reads all)" in said
