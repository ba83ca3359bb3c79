"""Checkpoints: whole or absent, checked when read, the newest few kept."""

import errno
import os
from pathlib import Path

import pytest
import torch

from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.models.checkpoint import (
    Checkpoint,
    Damaged,
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
