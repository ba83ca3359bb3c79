"""Checkpoints: whole or absent, checked when read, the newest few kept."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.runs.checkpoints import (
    Checkpoint,
    Damaged,
    clear_leftovers,
    list_checkpoints,
    load_checkpoint,
    newest_intact,
    save_checkpoint,
)


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.full((3,), float(step))}, {"seconds": 1.5, "probe": None})


def test_round_trip_and_retention(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, checkpoint(step), keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-00000002", "step-00000010"]
    loaded, complaints = newest_intact(tmp_path)
    assert complaints == []
    assert loaded.step == 10
    assert loaded.weights["w"].tolist() == [10, 10, 10]
    assert loaded.state == {"seconds": 1.5, "probe": None}
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".part")]


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def edit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [shorten, edit, Path.unlink])
@pytest.mark.parametrize("name", ["model.safetensors", "training_state.pt", "meta.json"])
def test_harm_is_noticed_and_the_one_before_is_used(
    tmp_path: Path, name: str, harm: object
) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    newest = save_checkpoint(tmp_path, checkpoint(2))
    harm(newest / name)
    if (name, harm) == ("meta.json", edit):
        return  # a changed letter in the table of checksums may leave it true
    with pytest.raises(Damaged):
        load_checkpoint(newest)
    loaded, complaints = newest_intact(tmp_path)
    assert loaded.step == 1
    assert "step-00000002" in complaints[0]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, checkpoint(1))
    write_atomically(tmp_path / "file", "before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left.*kept"):
        save_checkpoint(tmp_path, checkpoint(2))
    with pytest.raises(UserError, match="No space left"):
        write_atomically(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text() == "before"
    assert newest_intact(tmp_path)[0].step == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "step-00000001"]


def test_a_read_only_place_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    with pytest.raises(UserError, match="Read-only file system"):
        write_atomically(tmp_path / "file", "text")


def test_pruning_takes_nothing_but_its_own_older_checkpoints(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(180))
    mine = ["step-00000180-best", "step-00009000-copy", "step-900", "step-00000180 (2)", "step-old"]
    for name in mine:
        shutil.copytree(tmp_path / "step-00000180", tmp_path / name)
    annotated = save_checkpoint(tmp_path, checkpoint(185), keep=9)
    (annotated / "notes.txt").write_text("good one")
    newer = save_checkpoint(tmp_path, checkpoint(9500), keep=9)
    for step in (190, 200):
        assert save_checkpoint(tmp_path, checkpoint(step), keep=1).is_dir()
    left = {p.name for p in tmp_path.iterdir()}
    assert left == {*mine, annotated.name, newer.name, "step-00000200"}
    assert newest_intact(tmp_path)[0].step == 9500


def test_a_resume_takes_only_exact_names(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(5))
    shutil.copytree(tmp_path / "step-00000005", tmp_path / "step-00000900-copy")
    (tmp_path / "step-00001000").write_text("a file")
    assert newest_intact(tmp_path)[0].step == 5


def test_an_edited_step_is_damage(tmp_path: Path) -> None:
    meta = save_checkpoint(tmp_path, checkpoint(5)) / "meta.json"
    meta.write_text(meta.read_text().replace('"step": 5', '"step": 50'))
    with pytest.raises(Damaged, match="edited"):
        load_checkpoint(meta.parent)


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    kept = save_checkpoint(tmp_path, checkpoint(5))
    part = tmp_path / ".part-abc"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half")
    (part / ".part-xyz").write_bytes(b"")
    own = tmp_path / ".part-of-mine"
    own.mkdir()
    (own / "thesis.tex").write_text("years of work")
    clear_leftovers(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {kept.name, own.name}


@pytest.mark.parametrize("seed", range(40))
def test_random_harm_is_damage_or_harmless(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = save_checkpoint(tmp_path, checkpoint(5))
    file = path / sorted(p.name for p in path.iterdir())[seed % 3]
    content = bytearray(file.read_bytes())
    for at in rng.integers(0, len(content), 1 + seed % 3):
        content[at] = rng.integers(0, 256)
    file.write_bytes(content[: len(content) - int(rng.integers(0, 2) * rng.integers(0, 40))])
    try:
        loaded = load_checkpoint(path)
    except Damaged as error:
        assert path.name in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert loaded.step == 5
        assert loaded.weights["w"].tolist() == [5, 5, 5]
