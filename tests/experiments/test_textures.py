"""The texture patches: no pixel shared, no mean or contrast to read the class from, repeatable."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("skimage")


def load() -> ModuleType:
    path = Path(__file__).parents[2] / "experiments" / "textures.py"
    specification = importlib.util.spec_from_file_location("textures", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


textures = load()


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("name", textures.PHOTOGRAPHS)
def test_no_test_patch_shares_a_pixel_with_a_training_patch(name: str, size: int) -> None:
    covered = {}
    for test in (False, True):
        mask = np.zeros(textures.photograph(name).shape, bool)
        for top, left in textures.candidate_corners(mask.shape, size, test):
            mask[top : top + size, left : left + size] = True
        covered[test] = mask
    assert covered[False].any()
    assert covered[True].any()
    assert not (covered[False] & covered[True]).any()


def test_patches_are_what_their_corners_say_and_share_brightness_and_contrast() -> None:
    images, corners = textures.cut("coffee", False, 32, 100, np.random.default_rng(0))
    assert len({tuple(corner) for corner in corners}) == 100
    top, left = corners[0]
    source = textures.photograph("coffee")[top : top + 32, left : left + 32]
    assert np.corrcoef(source.ravel(), images[0].ravel())[0, 1] > 0.95
    # Clipping to [0, 255] takes a little from patches with a few very bright or dark pixels.
    np.testing.assert_allclose(images.mean((1, 2)), 128, atol=6)
    np.testing.assert_allclose(np.median(images.std((1, 2))), 40, atol=0.5)


def test_normalise_removes_brightness_and_contrast() -> None:
    noise = np.random.default_rng(0).normal(size=(5, 32, 32)).astype(np.float32).clip(-3, 3)
    brighter = noise * np.arange(1, 6, dtype=np.float32)[:, None, None] + 90
    difference = textures.normalise(noise).astype(int) - textures.normalise(brighter)
    assert np.abs(difference).max() <= 1


def test_folder_layout_and_repeatability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textures, "PHOTOGRAPHS", {"brick": 1, "text": 1})
    for out, seed in (("first", 0), ("again", 0), ("other", 1)):
        textures.main(textures.Config(out=tmp_path / out, per_class=6, seed=seed))
    written = sorted(str(p.relative_to(tmp_path / "first")) for p in tmp_path.glob("first/*/*/*"))
    assert written[:2] == ["test/brick/0001.png", "test/brick/0002.png"]
    assert len(written) == 2 * (6 + 2)
    first, again, other = (
        np.stack([np.asarray(Image.open(tmp_path / out / name)) for name in written])
        for out in ("first", "again", "other")
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_mistakes_end_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="lower --per-class"):
        textures.cut("text", True, 32, 10_000, np.random.default_rng(0))
    (tmp_path / "train").mkdir()
    with pytest.raises(SystemExit, match="choose another --out"):
        textures.main(textures.Config(out=tmp_path))
    with pytest.raises(SystemExit, match="--size"):
        textures.Config(out=tmp_path, size=8)
