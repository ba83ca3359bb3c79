"""What folders say: a table of trees with the classes and the split that are to be read."""

from pathlib import Path

import pytest

from isojepa.encoders.sources.folder import list_folder
from isojepa.encoders.sources.roles import role
from tests.encoders.sources.trees import plant, touch

AB = "ab"
LAYOUTS = [
    # tree, classes, folders of the test part, folders left out, a word of the note
    ("a b", AB, None, "", ""),
    ("train/a train/b val/a val/b", AB, "val", "", ""),
    ("Training/a Training/b Validation/a Validation/b", AB, "Validation", "", ""),
    ("train/a train/b val/a val/b test/a test/b", AB, "val test", "", ""),
    ("train/a train/b val/a val/b annotations", AB, "val", "annotations", "annotations"),
    ("train/a train/b val/a val/b docs misc", AB, "val", "docs misc", "left out"),
    ("train test unlabeled", "", "test", "", ""),
    ("train/a train/b test/a test/b unlabelled", AB, "test", "", ""),
    ("train test extra", "", "test", "", ""),
    ("train test1", "", "test1", "", ""),
    ("train", "", None, "", "--holdout"),
    ("train/a train/b", AB, None, "", "--holdout"),
    ("train/a train/b dev/a dev/b", AB, "dev", "", ""),
    ("train/a train/b hold-out/a hold-out/b", AB, "hold-out", "", ""),
    ("trainset/a trainset/b testset/a testset/b", AB, "testset", "", ""),
    ("train_images test_images", "", "test_images", "", ""),
    ("train2017 val2017 unlabeled2017", "", "val2017", "", ""),
    ("Training_Set/a Training_Set/b Test-Data/a Test-Data/b", AB, "Test-Data", "", ""),
    ("seg_train/seg_train/a seg_train/seg_train/b seg_test/seg_test/a seg_test/seg_test/b",
     AB, "seg_test", "", ""),
    ("trainA trainB testA testB", "", "testA testB", "", ""),
    ("data/train/a data/train/b data/val/a data/val/b", AB, "data/val", "", "data/"),
    ("photos/a photos/b", AB, None, "", "photos/"),
    ("images/train images/val labels/train labels/val", "", "images/val", "labels", "labels"),
    ("train/images train/masks val/images val/masks", "", "val/images", "train/masks val/masks",
     "masks"),
    ("images masks", "", None, "masks", "masks"),
    ("JPEGImages Annotations SegmentationClass", "", None, "Annotations SegmentationClass", ""),
    ("a/images a/masks b/images b/masks", AB, None, "a/masks b/masks", "masks"),
    ("mask no_mask", ["mask", "no_mask"], None, "", ""),
    ("a b masks", AB, None, "masks", "masks"),
    ("a b unlabeled", AB, None, "", "unlabeled"),
    ("train/a train/b test", AB, "test", "", ""),
    ("train/a train/b test/unknown", AB, "test", "", ""),
    ("a b test", AB, "test", "", ""),
    ("a b test/a test/b", AB, "test", "", ""),
    ("a/train a/test b/train b/test", AB, "a/test b/test", "", "each hold"),
    ("s1/train/a s1/train/b s1/test/a s1/test/b s2/train/a s2/train/b s2/test/a s2/test/b",
     AB, "s1/test s2/test", "", "below them"),
    ("train/a train/b test/a", AB, "test", "", "'b': 1 class in the training folder only"),
    ("train/a test/a test/b", AB, "test", "", "'b': 1 class in the test folder only"),
    ("train/Ab train/C test/ab test/c", ["Ab", "C"], "test", "", "'Ab', 'ab'"),
    ("train/cafe\u0301 train/b test/caf\u00e9 test/b", ["b", "cafe\u0301"], "test", "", "one"),
    ("train/A train/a test/A test/a", ["A", "a"], "test", "", "2 classes"),
    ("car plane train", ["car", "plane", "train"], None, "", "'train': taken for a class"),
    ("train pictures_of_mine", "", None, "", "taken neither for a split"),
    ("train/a train/b mine", AB, None, "mine", "'mine/'"),
    ("test_tube train_station bus", ["bus", "test_tube", "train_station"], None, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("tree", "classes", "test", "out", "words"), LAYOUTS, ids=lambda x: str(x))
def test_layouts(
    tmp_path: Path, tree: str, classes: list[str] | str, test: str | None, out: str, words: str
) -> None:
    plant(tmp_path, tree)
    listing = list_folder(tmp_path)

    def below(name: str, folders: str) -> bool:
        return any(name.startswith(f"{folder}/") for folder in folders.split())

    kept = {f"{folder}/{i}.png" for folder in tree.split() for i in range(2)}
    assert set(listing.names) == {name for name in kept if not below(name, out)}
    assert (listing.class_names or []) == list(classes)
    if test is None:
        assert listing.test is None
    else:
        assert listing.test.tolist() == [below(name, test) for name in listing.names]
    for name, label in zip(listing.names, [] if listing.labels is None else listing.labels):
        folders = name.lower().replace("e\u0301", "\u00e9").split("/")
        said = None if label < 0 else listing.class_names[label]
        assert said is None or said.lower().replace("e\u0301", "\u00e9") in folders
    assert words in " ".join(listing.notes)


def test_a_hundred_unlabelled_pictures_beside_the_classes_are_none(tmp_path: Path) -> None:
    listing = list_folder(touch(plant(tmp_path, "train/a train/b test"), "train/extra/1.png"))
    assert listing.class_names == ["a", "b"]
    assert listing.labels[listing.test].tolist() == [-1, -1]
    assert (listing.labels[~listing.test] == -1).sum() == 1


@pytest.mark.parametrize(
    "name", ["cat", "no_mask", "000", "训练", "dataset", "n01440764", "trainer"]
)
def test_names_without_a_role(name: str) -> None:
    assert role(name) is None
