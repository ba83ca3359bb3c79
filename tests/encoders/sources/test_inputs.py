"""What `--data` may name besides one folder: several, and lists of paths."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from isojepa import cli
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.folder import list_folder
from isojepa.encoders.sources.inputs import list_images
from isojepa.encoders.sources.named_parts import distinct
from isojepa.errors import UserError
from isojepa.runs.resume import merge_for_resume
from isojepa.runs.settings import as_json
from tests.encoders.sources.trees import plant, touch

PLACES = {"data": Path("photos"), "out": Path("run")}


def contents(listing: object) -> list[str]:
    """What the items hold, each with its name."""
    return [listing.item(i).open("rb").read().decode() for i in range(len(listing.names))]


def test_several_folders_are_one_listing(tmp_path: Path) -> None:
    one = plant(tmp_path / "one", "cat dog")
    two = plant(tmp_path / "two", "dog emu")
    listing = list_images((one, two))
    assert listing.names == [f"{a}/{b}/{i}.png" for a, b in
                             (("one", "cat"), ("one", "dog"), ("two", "dog"), ("two", "emu"))
                             for i in range(2)]  # fmt: skip
    assert listing.class_names == ["cat", "dog", "emu"]
    assert listing.labels.tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
    assert listing.test is None
    assert contents(listing) == [name.partition("/")[2] for name in listing.names]
    part = listing.subset([6, 1]).subset([1, 0])
    assert contents(part) == ["cat/1.png", "emu/0.png"]
    assert contents(list_images((one,))) == contents(list_folder(one))


def test_a_folder_named_test_beside_others_is_held_out(tmp_path: Path) -> None:
    train, test = plant(tmp_path / "train", "a b"), plant(tmp_path / "val", "a b")
    listing = list_images((train, test))
    assert listing.test.tolist() == [False] * 4 + [True] * 4
    assert listing.class_names == ["a", "b"]
    assert any("val: held out" in note for note in listing.notes)
    assert list_images(test).test is None
    both = plant(tmp_path / "both", "train/a train/b test/a test/b")
    assert list_images((both, train)).test.sum() == 4


def test_places_are_told_apart_by_the_shortest_names() -> None:
    assert distinct([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert distinct([Path("/x/images"), Path("/y/images")]) == ["x/images", "y/images"]


def test_labels_of_several_folders_from_a_table(tmp_path: Path) -> None:
    one, two = plant(tmp_path / "one", "p"), plant(tmp_path / "two", "p")
    rows = "path,label\none/p/0.png,x\none/p/1.png,y\ntwo/p/0.png,x\n"
    (tmp_path / "t.csv").write_text(rows)
    assert list_images((one, two), tmp_path / "t.csv").labels.tolist() == [0, 1, 0, -1]


def test_a_list_names_files_relative_to_itself(tmp_path: Path) -> None:
    touch(tmp_path, "photos/a/1.png", "photos/b/2.png", "far/b/3.png", "lists/x")
    text = f"\ufeff# mine\n\n../photos/b/2.png\n  ../photos/a/1.png  \n{tmp_path}/far/b/3.png\n"
    (tmp_path / "lists" / "some.txt").write_text(text, encoding="utf-8")
    listing = list_images(tmp_path / "lists" / "some.txt")
    assert listing.names == ["far/b/3.png", "photos/a/1.png", "photos/b/2.png"]
    assert sorted(contents(listing)) == ["far/b/3.png", "photos/a/1.png", "photos/b/2.png"]
    (tmp_path / "lists" / "near.txt").write_text("../photos/b/2.png\n../photos/a/1.png\n")
    listing = list_images(tmp_path / "lists" / "near.txt")
    assert listing.names == ["a/1.png", "b/2.png"]
    assert listing.class_names == ["a", "b"]


def test_missing_files_of_a_list_are_named_by_line(tmp_path: Path) -> None:
    touch(tmp_path, "1.png", "2.png")
    (tmp_path / "x.txt").write_text("1.png\ngone.png\n./1.png\n2.png\n.\n")
    listing = list_images(tmp_path / "x.txt")
    assert listing.names == ["1.png", "2.png"]
    assert [why.split(" of ")[0] for _, why in listing.unreachable] == ["line 2", "line 5"]
    assert listing.unreachable[0][1].endswith("no such file")
    assert any("lines 1 and 3" in note for note in listing.notes)


WRONG = {
    "gone.txt": (None, "no such folder"),
    "empty.txt": (b"# nothing\n\n", "no path in it"),
    "none.txt": (b"a.png\nb.png\n", r"none of its 2 files is there, .*a\.png' \(line 1\)"),
    "binary.txt": (b"\x00\x01" * 9, "no text"),
    "notes.pdf": (b"%PDF", r"give a folder, or a file that ends in \.txt"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_list_is_refused_in_a_line(tmp_path: Path, name: str) -> None:
    content, words = WRONG[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        list_images(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_folders_given_twice_or_inside_each_other_are_refused(tmp_path: Path) -> None:
    data = plant(tmp_path, "a b")
    with pytest.raises(UserError, match="given twice"):
        list_images((data, data / "a" / ".."))
    with pytest.raises(UserError, match=r"a: lies in .* read twice"):
        list_images((data, data / "a"))


def test_fingerprints_know_a_picture_in_any_place(tmp_path: Path) -> None:
    one = plant(tmp_path / "one", "a b")
    shutil.copytree(one, tmp_path / "two")
    both = with_fingerprints(list_images((one, tmp_path / "two")))
    np.testing.assert_array_equal(both.prints[:4], both.prints[4:])
    assert len(set(both.prints.tolist())) == 4


def test_one_place_or_several_on_a_command_line_and_in_a_record() -> None:
    def parse(*words: str) -> object:
        return cli.parse(["pretrain", *words, "--out", "run"], cli.verbs()).data

    assert parse("--data", "a") == Path("a")
    assert parse("--data", "a", "b") == (Path("a"), Path("b"))
    assert PretrainConfig(data=["a"], out="run").data == Path("a")
    assert PretrainConfig(data=("a", Path("b")), out="run").data == (Path("a"), Path("b"))
    with pytest.raises(UserError, match="--data: give at least one path"):
        PretrainConfig(data=(), out="run")
    for data in (Path("a"), (Path("a"), Path("b"))):
        stored = as_json(PretrainConfig(**{**PLACES, "data": data}))
        resumed = merge_for_resume(
            PretrainConfig(said=frozenset({"out"}), **PLACES, resume=True), stored
        )
        assert resumed.data == data
        assert replace(resumed, steps=3).data == data
