"""The suite's sets: made alike twice, split without overlap, of the kinds that they say."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage")
pytest.importorskip("mlxtend")
sys.path.insert(0, str(Path(__file__).parents[2] / "experiments" / "suite"))
import made
import patches
import sets

NEEDS = {"icons": "qtawesome", "letters": "fontpkg_roboto", "documents": "fontpkg_roboto",
         "spectrograms": "sktime", "simulator": "stable_worldmodel"}  # fmt: skip
"""Packages beside those of the `test` extra."""


def pictures(name: str) -> list[made.Picture]:
    if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"needs {NEEDS[name]}")
    return list(sets.maker(name)(0.02, 0))


@pytest.mark.parametrize("name", sets.SETS)
def test_a_set_is_made_alike_twice_and_has_both_splits(name: str) -> None:
    found, again = pictures(name), pictures(name)
    assert len(found) == len(again)
    assert all((a.pixels == b.pixels).all() and a[:2] == b[:2] for a, b in zip(found, again))
    assert {p.split for p in found} == {"train", "test"}
    assert len({p.pixels.shape for p in found}) == 1
    assert all(p.pixels.dtype == np.uint8 for p in found)
    by_split = {s: {p.pixels.tobytes() for p in found if p.split == s} for s in made.SPLITS}
    assert not by_split["train"] & by_split["test"]
    labels = {s: {p.label for p in found if p.split == s} for s in made.SPLITS}
    assert labels["test"] <= labels["train"]
    assert (labels["train"] == {None}) == (found[0].factors is not None)


@pytest.mark.parametrize("name", [n for n, k in sets.SETS.items() if k.colour == "nuisance"])
def test_where_colour_is_a_nuisance_hues_say_little_of_the_class(name: str) -> None:
    found = pictures(name)
    y = np.array([p.label for p in found])
    x = np.stack([p.pixels.mean((0, 1)) for p in found])
    x = x - x.mean(1, keepdims=True)  # how much ink there is may differ, its hue may not
    between = np.concatenate([x[y == c].mean(0) - x.mean(0) for c in np.unique(y)]).std()
    assert between < 0.75 * x.std(0).mean()


def test_there_are_eight_sets_of_every_kind_and_two_are_kept() -> None:
    kinds = sets.SETS.values()
    assert len(sets.SETS) >= 8
    assert sum(k.reserved for k in kinds) == 2
    assert {k.colour for k in kinds} == {"none", "signal", "nuisance"}
    assert any(k.upright for k in kinds)
    assert any(k.small for k in kinds)
    assert any(not k.upright for k in kinds)


def test_patches_of_the_two_splits_share_no_pixel() -> None:
    image = np.arange(200 * 200, dtype=float).reshape(200, 200)
    counts: dict[made.Split, int] = {"train": 50, "test": 50}
    seen: dict[str, set[float]] = {"train": set(), "test": set()}
    for split, patch in patches.cut(image, 20, counts, np.random.default_rng(0), 0.0):
        seen[split] |= set(patch.ravel().tolist())
    assert seen["train"]
    assert seen["test"]
    assert not seen["train"] & seen["test"]


def test_a_folder_is_as_the_product_reads_it(tmp_path: Path) -> None:
    folder = sets.made("digits", tmp_path, 0.1)
    from isojepa.encoders.sources.folder import hold_out, list_folder

    listing = list_folder(folder, None, [])
    held = hold_out(listing, 0.2, 0)
    assert [name.startswith("test/") for name in listing.names] == held.tolist()
    assert listing.class_names is not None
    assert sorted(listing.class_names) == [str(i) for i in range(10)]
    with Image.open(folder / listing.names[0]) as image:
        assert image.size == (8, 8)


def test_factors_stand_beside_the_folder(tmp_path: Path) -> None:
    if importlib.util.find_spec("stable_worldmodel") is None:
        pytest.skip("needs stable_worldmodel")
    folder = sets.made("simulator", tmp_path, 0.01)
    rows = folder.with_suffix(".csv").read_text().splitlines()
    assert rows[0] == "path,agent_x,agent_y,block_x,block_y,cos,sin"
    assert len(rows) == 1 + sum(1 for _ in folder.rglob("*.png"))
