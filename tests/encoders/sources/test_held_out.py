"""What is held out, and the record by which a run knows its images again."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from isojepa.encoders.sources.fingerprints import WHOLE, fingerprint, with_fingerprints
from isojepa.encoders.sources.folder import Listing, hold_out, list_folder, why_no_scores
from isojepa.encoders.sources.held_out import (
    HeldOut,
    read_held_out,
    recognise,
    record_of,
    repeated,
    write_held_out,
)
from tests.encoders.sources.trees import plant


def recorded(data: Path) -> tuple[Listing, HeldOut]:
    listing = with_fingerprints(list_folder(data))
    return listing, record_of(listing, hold_out(listing, 0.25, seed=0))


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    data = plant(tmp_path / "data", "a b unlabeled", n=4)
    (data / "a" / os.fsdecode(b"caf\xe9\t\\n\n.png")).write_text("odd")
    _, record = recorded(data)
    write_held_out(tmp_path, record)
    again = read_held_out(tmp_path)
    assert again.names == record.names
    assert again.labels == record.labels
    assert set(again.labels) == {"a", "b", None}
    np.testing.assert_array_equal(again.held_out, record.held_out)
    np.testing.assert_array_equal(again.prints, record.prints)
    assert read_held_out(data) is None


def test_images_are_known_again_by_their_contents(tmp_path: Path) -> None:
    data = plant(tmp_path / "data", "a b", n=8)
    listing, record = recorded(data)
    held = {name for name, h in zip(record.names, record.held_out) if h}
    assert len(held) == 4
    moved = shutil.move(data, tmp_path / "elsewhere")
    found = recognise(record, with_fingerprints(list_folder(Path(moved))))
    assert (found.held_out == record.held_out).all()
    assert (found.moved, found.changed, found.new, found.missing) == (0, [], [], [])

    data = Path(moved)
    (data / "a" / "0.png").rename(data / "b" / "other.png")  # moved and renamed
    (data / "a" / "1.png").write_text("changed")
    (data / "a" / "2.png").unlink()
    (data / "a" / "new.png").write_text("new")
    (data / "b" / "0.png").write_text(record.names[9])  # now what b/1.png is
    listing = with_fingerprints(list_folder(data))
    found = recognise(record, listing)
    assert (found.changed, found.new, found.missing) == (["a/1.png"], ["a/new.png"], ["a/2.png"])
    assert found.moved == 2
    part = dict(zip(listing.names, found.held_out))
    place = dict(zip(listing.names, found.places.tolist()))
    assert part["b/other.png"] == ("a/0.png" in held)
    assert place["b/other.png"] == 0
    assert place["b/0.png"] == place["b/1.png"] == 9
    assert place["a/new.png"] == -1
    assert not part["a/new.png"]


def test_other_pictures_under_the_same_names_are_not_the_runs(tmp_path: Path) -> None:
    _, record = recorded(plant(tmp_path / "data", "a b"))
    for path in (tmp_path / "data").rglob("*.png"):
        path.write_text(path.read_text() + "!")
    found = recognise(record, with_fingerprints(list_folder(tmp_path / "data")))
    assert not found.by_content.any()
    assert len(found.changed) == 4


def test_what_lies_on_both_sides_counts_as_trained_on(tmp_path: Path) -> None:
    data = plant(tmp_path / "data", "train/a train/b test/a test/b")
    shutil.copy(data / "train/a/0.png", data / "test/a/copy.png")
    shutil.copy(data / "train/a/0.png", data / "train/b/copy.png")  # on one side only
    _, record = recorded(data)
    assert repeated(record) == 1
    (data / "test/a/copy.png").rename(data / "test/a/moved.png")
    listing = with_fingerprints(list_folder(data))
    assert recognise(record, listing).trained_on[listing.names.index("test/a/moved.png")]


@pytest.mark.parametrize("size", [1, 100, WHOLE, WHOLE + 1, 3 * WHOLE])
def test_a_fingerprint_sees_size_beginning_and_end(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x"
    content = bytearray(size)

    def mark() -> int:
        path.write_bytes(content)
        return fingerprint(path)

    marks = {mark()}
    for at in (0, size // 2, size - 1):
        content[at] += 1
        marks.add(mark())
    content.append(0)
    marks.add(mark())
    assert len(marks) == (5 if size <= WHOLE else len(marks))
    assert len(marks) >= 4
    assert fingerprint(tmp_path / "none") == 0 not in marks


def listing_of(sizes: list[int], *, test: np.ndarray | None = None) -> Listing:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    names = [f"{label}/{i}.png" for i, label in enumerate(labels)]
    return Listing(Path(), names, labels, [str(i) for i in range(len(sizes))], test)


@pytest.mark.parametrize(
    ("sizes", "fraction", "held"),
    [([50, 10], 0.2, 12), ([2] * 24, 0.2, 10), ([1] * 24, 0.2, 0), ([1] * 10 + [2] * 10, 0.2, 6),
     ([2] * 10, 0.9, 10), ([100, 2, 2, 2], 0.2, 21), ([3] * 7, 0.1, 2), ([7, 7], 0.0, 0)],
)  # fmt: skip
def test_small_classes_share_what_is_held_out(sizes: list[int], fraction: float, held: int) -> None:
    listing = listing_of(sizes)
    chosen = hold_out(listing, fraction, seed=0)
    assert chosen.sum() == held
    left = np.bincount(listing.labels[~chosen], minlength=len(sizes))
    assert (left >= 1).all()  # of every class something can be learnt
    order = np.random.default_rng(0).permutation(len(chosen)).tolist()
    assert (hold_out(listing.subset(order), fraction, seed=0) == chosen[order]).all()
    renumbered = listing._replace(labels=listing.labels.max() - listing.labels)
    assert (hold_out(renumbered, fraction, seed=0) == chosen).all()


def test_an_unlabelled_test_folder_leaves_labelled_images_to_test_on() -> None:
    listing = listing_of([10, 10, 5], test=np.arange(25) >= 20)
    listing = listing._replace(labels=np.where(listing.test, -1, listing.labels))
    held = hold_out(listing, 0.2, seed=0)
    assert held[20:].all()
    assert held[:20].sum() == 4
    assert (hold_out(listing, 0.2, seed=0, pooled=False) == listing.test).all()


@pytest.mark.parametrize(
    ("labels", "held", "words"),
    [
        (None, [0, 0, 1], "no labels"),
        ([-1, -1, -1], [0, 0, 1], "no label"),
        ([0, 0, -1], [0, 1, 0], "one class only"),
        ([0, 1, 2], [0, 0, 1], "3 classes of one image each: is this a class folder"),
        ([0, 0, 1, 1], [0, 0, 0, 0], "none of the 4 labelled samples is held out"),
        ([0, 0, 1, 1], [0, 0, 1, 1], "are of 1 class,"),
        ([0, 0, 1, 1], [1, 1, 1, 1], "are of 0 classes,"),
        ([0, 0, 1, 1], [0, 1, 0, 1], "one labelled image each"),
        ([0, 0, 0, 1, 1], [0, 0, 1, 0, 1], None),
    ],
)
def test_why_there_are_no_scores(labels: list | None, held: list, words: str | None) -> None:
    numbers = None if labels is None else np.array(labels)
    why = why_no_scores(numbers, np.array(held, bool))
    assert why is None if words is None else words in why
