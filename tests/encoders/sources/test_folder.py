"""What a folder's layout and a labels table say."""

from pathlib import Path

import numpy as np
import pytest

from isojepa.encoders.sources.folder import UNLABELLED, hold_out, list_folder
from isojepa.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_class_folders(tmp_path: Path) -> None:
    listing = list_folder(touch(tmp_path, "cat/1.png", "cat/deep/2.png", "dog/1.png", ".hidden/x"))
    assert listing.names == ["cat/1.png", "cat/deep/2.png", "dog/1.png"]
    assert listing.class_names == ["cat", "dog"]
    assert listing.labels.tolist() == [0, 0, 1]
    assert listing.test is None


def test_one_folder_or_none_are_no_classes(tmp_path: Path) -> None:
    assert list_folder(touch(tmp_path / "a", "1.png", "2.png")).labels is None
    assert list_folder(touch(tmp_path / "b", "only/1.png", "only/2.png")).labels is None
    assert list_folder(touch(tmp_path / "c", "x/1.png", "y/1.png", "loose.png")).labels is None


def test_split_folders(tmp_path: Path) -> None:
    names = ["train/cat/1.png", "train/dog/1.png", "val/cat/2.png", "val/dog/3.png"]
    listing = list_folder(touch(tmp_path, *names))
    assert listing.class_names == ["cat", "dog"]
    assert listing.test.tolist() == [False, False, True, True]
    assert hold_out(listing, 0.9, seed=0).tolist() == [False, False, True, True]


def test_hold_out_is_stratified_and_independent_of_other_files(tmp_path: Path) -> None:
    names = [f"{c}/{i}.png" for c, n in (("a", 50), ("b", 10)) for i in range(n)]
    listing = list_folder(touch(tmp_path, *names))
    held = hold_out(listing, 0.2, seed=0)
    assert np.bincount(listing.labels[held]).tolist() == [10, 2]
    assert (held == hold_out(listing, 0.2, seed=0)).all()
    assert (held != hold_out(listing, 0.2, seed=1)).any()
    assert not hold_out(listing, 0.0, seed=0).any()
    order = list(reversed(range(60)))
    assert (hold_out(listing.subset(order), 0.2, seed=0) == held[order]).all()


def test_labels_from_a_table(tmp_path: Path) -> None:
    root = touch(tmp_path / "images", "a.png", "b.png", "c.png")
    table = tmp_path / "labels.csv"
    table.write_text("path,label\na.png,cat\nc.png, dog \n")
    listing = list_folder(root, table)
    assert listing.class_names == ["cat", "dog"]
    assert listing.labels.tolist() == [0, UNLABELLED, 1]
    table.write_text("a.png,cat\n")
    assert list_folder(root, table).labels.tolist() == [0, UNLABELLED, UNLABELLED]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("path,label\nmissing.png,cat\n", "missing.png"),
        ("path,label\na.png\n", "line 2"),
        ("", "line 1"),
        ("a,b,c\n", "line 1"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, content: str, words: str) -> None:
    root = touch(tmp_path / "images", "a.png")
    (tmp_path / "labels.csv").write_text(content)
    with pytest.raises(UserError, match=words):
        list_folder(root, tmp_path / "labels.csv")


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        list_folder(tmp_path / "none")
    with pytest.raises(UserError, match="holds no files"):
        list_folder(tmp_path)
    with pytest.raises(UserError, match=r"labels.*no such file"):
        list_folder(touch(tmp_path, "a.png"), tmp_path / "none.csv")
