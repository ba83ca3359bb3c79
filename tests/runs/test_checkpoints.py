"""Checkpoints: whole or absent, checked when read, the newest few kept."""

import errno
import os
import shutil
from contextlib import suppress
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.runs.checkpoints import (
    Checkpoint,
    Damaged,
    clear_leftovers,
    list_checkpoints,
    load_checkpoint,
    newest_intact,
    read_best,
    save_best,
    save_checkpoint,
    sealed,
    unsealed,
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
    folder = tmp_path / "checkpoints"
    kept = save_checkpoint(folder, checkpoint(5))
    part = folder / ".part-abc"
    part.mkdir()
    (part / "model.safetensors").write_bytes(b"half")
    (part / ".part-xyz").write_bytes(b"")
    own = folder / ".part-of-mine"
    own.mkdir()
    (own / "thesis.tex").write_text("years of work")
    (tmp_path / "encoder").mkdir()
    for place in (tmp_path, tmp_path / "encoder"):
        (place / ".part-file").write_bytes(b"half")
    clear_leftovers(tmp_path)
    assert {p.name for p in folder.iterdir()} == {kept.name, own.name}
    assert not list(tmp_path.glob("**/.part-file"))


def test_the_best_is_never_without_a_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each of the operations that replace it, one of the two is there in the end."""
    folder = tmp_path / "checkpoints"
    for killed_at in range(6):
        shutil.rmtree(folder, ignore_errors=True)
        save_best(folder, checkpoint(1), {"probe": 0.1}, lambda _: None)
        calls = iter(range(100))

        def killed(
            *words: Any, before: Any, calls: Any = calls, at: int = killed_at, **more: Any
        ) -> Any:
            if next(calls) >= at:
                raise KeyboardInterrupt
            return before(*words, **more)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", partialmethod(killed, before=Path.replace))
            patch.setattr(shutil, "rmtree", partial(killed, before=shutil.rmtree))
            with suppress(KeyboardInterrupt):
                save_best(folder, checkpoint(2), {"probe": 0.2}, lambda _: None)
        clear_leftovers(tmp_path)
        found = read_best(folder)
        assert found is not None
        assert load_checkpoint(folder / "best").step == found.step


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_a_flipped_bit_of_weights_is_refused_by_name(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "model.safetensors"
    weights = {"w": torch.arange(6).reshape(2, 3).to(dtype), "b": torch.tensor(1).to(dtype)}
    content = sealed(weights)
    path.write_bytes(content)
    assert all(torch.equal(x, weights[name]) for name, x in unsealed(path).items())
    assert load(content).keys() == weights.keys(), "any reader of safetensors takes it"
    refused: list[str] = []
    for bit in range(8 * len(content)):
        harmed = bytearray(content)
        harmed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(harmed)
        try:
            read = unsealed(path)
        except Damaged as error:
            refused.append(str(error))
            continue
        assert read.keys() == weights.keys(), "what passes is what was written"
        assert all(torch.equal(x, weights[name]) for name, x in read.items())
    assert all("model.safetensors" in words for words in refused)
    assert len(refused) > 7 * len(content)
    path.write_bytes(save(weights))  # of a version that wrote no digest
    assert unsealed(path).keys() == weights.keys()


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
