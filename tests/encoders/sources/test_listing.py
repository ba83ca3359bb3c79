"""Links, closed folders, side-cars, what systems leave behind and a run's own files."""

import os
from pathlib import Path

import pytest
from PIL import Image

from isojepa.encoders.sources.folder import list_folder
from isojepa.encoders.sources.listing import walk
from isojepa.errors import UserError
from tests.encoders.sources.trees import plant, touch


def test_links_to_folders_are_entered_once(tmp_path: Path) -> None:
    real, data = plant(tmp_path / "real", "b c"), plant(tmp_path / "data", "a")
    (data / "b").symlink_to(real / "b")
    (data / "again").symlink_to(real / "b")
    (data / "copy_of_a").symlink_to("a")
    (data / "a" / "up").symlink_to("..")
    (data / "a" / "far").symlink_to(tmp_path)
    (data / "c.png").symlink_to(real / "c" / "0.png")
    listing = list_folder(data)
    assert listing.names == ["a/0.png", "a/1.png", "again/0.png", "again/1.png", "c.png"]
    said = " ".join(listing.notes)
    assert all(f"'{name}'" in said for name in ("a/far", "a/up", "b"))


def test_broken_links_and_closed_folders_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = plant(tmp_path, "a b closed")
    (data / "a" / "gone.png").symlink_to("/nowhere/x.png")
    original = os.scandir

    def scandir(path: Path) -> object:  # the superuser, who may run the tests, enters everything
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_folder(data)
    reasons = dict(listing.unreachable)
    assert "nowhere" in reasons["a/gone.png"]
    assert "denied" in reasons["closed/"]
    assert "2 files or folders cannot be reached" in listing.notes[0]


def test_what_is_no_image_is_counted_apart(tmp_path: Path) -> None:
    plant(tmp_path, "a b")
    touch(tmp_path, *(f"a/{i}.xml" for i in range(3)), "a/x.json", "b/0.png:Zone.Identifier", "R")
    touch(tmp_path, "x.safetensors")
    Image.new("L", (4, 4)).save(tmp_path / "a" / "no_ending", "PNG")
    Image.new("L", (4, 4)).save(tmp_path / "a" / "odd.ending", "JPEG")
    found = walk(tmp_path)
    assert found.names == [
        "a/0.png",
        "a/1.png",
        "a/no_ending",
        "a/odd.ending",
        "b/0.png",
        "b/1.png",
    ]
    counts = {".xml": 3, ".json": 1, ".identifier": 1, "without an ending": 1, ".safetensors": 1}
    assert found.side_cars == counts
    assert "3 .xml" in " ".join(list_folder(tmp_path).notes)


@pytest.mark.parametrize(
    "name",
    ["@eaDir/0.png/THUMB.jpg", "a/@eaDir/0.png/T.jpg", "__MACOSX/._x.png", ".hidden/x.png",
     "Thumbs.db", "a/desktop.ini", "$RECYCLE.BIN/x.png", "lost+found/1.png", "#recycle/x.png",
     ".AppleDouble/0.png", "a/.ipynb_checkpoints/0-checkpoint.png"],
)  # fmt: skip
def test_what_systems_leave_behind(tmp_path: Path, name: str) -> None:
    listing = list_folder(touch(plant(tmp_path, "a b"), name))
    assert (len(listing.names), listing.class_names, listing.notes) == (4, ["a", "b"], ())


def test_runs_below_the_data_are_left_out(tmp_path: Path) -> None:
    data = plant(tmp_path / "data", "a b")
    touch(data, "mine/views.png", "mine/log.txt")
    touch(data, "other/config.json", "other/metrics.jsonl", "other/views.png")
    touch(data, "begun/log.txt", "begun/views.png", "look.png")
    out, link = data / "mine", tmp_path / "link"
    link.symlink_to(data)
    for root in (data, link):
        listing = list_folder(root, leave_out=[out, data / "look.png"])
        assert listing.class_names == ["a", "b"]
        assert len(listing.names) == 4
    inside = list_folder(data / "a", leave_out=[data])  # the run is above its data
    assert len(inside.names) == 2


def test_an_empty_folder_says_what_it_holds(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}.nii" for i in range(7)))
    (tmp_path / "x").symlink_to("/nowhere")
    with pytest.raises(UserError, match=r"no files that are images.*nowhere.*7 \.nii"):
        list_folder(tmp_path)


def test_names_of_any_bytes(tmp_path: Path) -> None:
    plant(tmp_path, "a b")
    (tmp_path / "a" / os.fsdecode(b"caf\xe9\n.png")).write_text("x")
    listing = list_folder(tmp_path)
    assert listing.names[-3] == "a/caf\udce9\n.png"
    assert listing.labels.tolist() == [0, 0, 0, 1, 1]
