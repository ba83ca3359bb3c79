"""Checkpoints with checksums, and the exported encoder."""

import hashlib
import io
import json
import math
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.files import refuse_packed, write_atomically
from isojepa.runs.typed import Sparse, read_result, write_result

Export = Callable[[Path], None]
LARGEST = 1e18
"""Of a weight: norms and optimisers take squares, and beyond 1.8e19 these are no float32."""
BEST = "best"
BEFORE = ".before-"
FILES = {"model.safetensors", "training_state.pt", "meta.json"}


class Damaged(UserError):
    """A checkpoint that is not what was written; the message says in which way."""


@dataclass(frozen=True, kw_only=True)
class Meta:
    """What meta.json holds."""

    step: int
    sha256: dict[str, str]
    """Of the other files, by their names."""
    scores: Sparse[dict[str, float] | None] = None
    """Of the best checkpoint."""


class Checkpoint(NamedTuple):
    """What a resumed run needs."""

    step: int
    """Number of updates made."""
    weights: dict[str, Tensor]
    state: dict[str, Any]
    """Optimisers and the like; tensors and plain containers only."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write checkpoints/step-00001000 below `folder` and remove all but the newest `keep`.

    Only what this function wrote is ever removed: complete checkpoints under exactly such a name
    that are older than this one. Copies under other names stay, and so do newer ones.

    Returns:
        The checkpoint's folder: model.safetensors, training_state.pt and meta.json with checksums.
    """
    target = folder / _name(checkpoint.step)
    _write(target, checkpoint)
    older = [p for p in list_checkpoints(folder) if _step(p) < checkpoint.step and _is_ours(p)]
    for old in older[: max(0, len(older) - keep + 1)]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def save_best(
    folder: Path, checkpoint: Checkpoint, scores: dict[str, float], export: Export
) -> Path:
    """Write checkpoints/best: a checkpoint that no pruning removes, with its scores.

    Args:
        export: writes what else belongs into the folder, such as the encoder.

    Returns:
        Its folder, which `load_checkpoint`, `read_best` and `load_encoder` read.
    """
    target = folder / BEST
    _write(target, checkpoint, scores=scores, export=export)
    return target


class Best(NamedTuple):
    """What is known of the best checkpoint."""

    step: int
    scores: dict[str, float]


def read_best(folder: Path) -> Best | None:
    """Update and scores of checkpoints/best below `folder`; None without a readable one."""
    try:
        meta = read_result(Meta, folder / BEST / "meta.json")
    except UserError:
        return None
    return None if meta.scores is None else Best(meta.step, meta.scores)


def clear_leftovers(run: Path) -> None:
    """Remove what a process that was killed while it wrote has left in a run's folders.

    A checkpoint that was about to be replaced is put back where its successor did not come.
    """
    for part in (*run.glob(".part-*"), *run.glob("*/.part-*")):
        if part.is_file():
            part.unlink(missing_ok=True)
    folder = run / "checkpoints"
    for before in folder.glob(f"{BEFORE}*"):
        target = folder / before.name.removeprefix(BEFORE)
        if target.exists():
            shutil.rmtree(before, ignore_errors=True)
        else:
            before.replace(target)
    for part in folder.glob(".part-*"):
        names = {p.name for p in part.iterdir()} if part.is_dir() else {part.name}
        if all(name in FILES | {"encoder"} or name.startswith(".part-") for name in names):
            shutil.rmtree(part, ignore_errors=True)


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints below the folder, oldest first: folders named exactly as they are written."""
    found = [p for p in folder.glob("step-*") if re.fullmatch(r"step-\d{8,}", p.name)]
    return sorted((p for p in found if p.is_dir() and p.name == _name(_step(p))), key=_step)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _is_ours(path: Path) -> bool:
    return not path.is_symlink() and {p.name for p in path.iterdir()} == FILES


def _write(
    target: Path,
    checkpoint: Checkpoint,
    *,
    scores: dict[str, float] | None = None,
    export: Export | None = None,
) -> None:
    """A checkpoint's folder, whole or not at all; one of that name before is replaced."""
    folder = target.parent
    with writing(target):
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder, prefix=".part-"))
        try:
            state = io.BytesIO()
            torch.save(checkpoint.state, state)
            files = {
                "model.safetensors": save(contiguous(checkpoint.weights)),
                "training_state.pt": state.getvalue(),
            }
            checksums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            for name, data in files.items():
                write_atomically(part / name, data)
            meta = Meta(step=checkpoint.step, sha256=checksums, scores=scores)
            write_result(part / "meta.json", meta)
            if export is not None:
                export(part)
            part.chmod(0o755)
            before = folder / f"{BEFORE}{target.name}"
            shutil.rmtree(before, ignore_errors=True)
            if target.exists():
                target.replace(before)
            part.replace(target)
            shutil.rmtree(before, ignore_errors=True)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint and check it against its checksums.

    Raises:
        Damaged: if a file is missing, cut short or edited.
    """
    with reading(path, "a checkpoint", lambda why: Damaged(f"{shown(path)} is damaged: {why}")):
        meta = _read_meta(path)
        for name in sorted(FILES - {"meta.json"}):
            expected = meta.sha256[name]
            if hashlib.sha256((path / name).read_bytes()).hexdigest() != expected:
                raise Damaged(f"{shown(path / name)} was cut short or edited: its checksum differs")
        weights = load((path / "model.safetensors").read_bytes())
        if unusable := what_is_wrong(weights):
            raise Damaged(f"{shown(path)} is of no use: {unusable}")
        refuse_packed(path / "training_state.pt")
        state = torch.load(path / "training_state.pt", map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise Damaged(f"{shown(path)} holds no training state")
        step = meta.step
        if path.name.startswith("step-") and path in list_checkpoints(path.parent):
            step = _step(path)
        if step != meta.step or step < 0:
            raise Damaged(f"{shown(path / 'meta.json')} was edited: it is of update {meta.step}")
        return Checkpoint(step, weights, state)


def _read_meta(path: Path) -> Meta:
    try:
        return read_result(Meta, path / "meta.json")
    except UserError as error:
        raise Damaged(str(error)) from error


def what_is_wrong(weights: dict[str, Tensor]) -> str | None:
    """Why nobody can compute with weights: numbers that are none, or absurd; None if all are well.

    A weight of 3e38, as a flipped bit of an exponent makes it, is finite; its gradient is not.
    """
    for name, x in weights.items():
        if not x.is_floating_point() or not x.numel():
            continue
        largest = x.detach().abs().max().item()  # NaN if one is
        if not math.isfinite(largest):
            return "the weights became infinite or NaN"
        if largest > LARGEST:
            return (
                f"the weights became infinite or NaN, or as good as that ({largest:.0e} in {name})"
            )
    return None


def set_aside(folder: Path, step: int) -> Path | None:
    """Rename the checkpoint of an update, so that the one before it is the newest.

    Returns:
        Where it is now; None if there is none before it, or it cannot be renamed.
    """
    found = list_checkpoints(folder)
    path = folder / _name(step)
    aside = path.with_name(f"diverges-{path.name}")
    if path not in found[1:]:
        return None
    try:
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    except OSError:
        return None
    return aside


DIGEST = "sha256"


def sealed(weights: dict[str, Tensor]) -> bytes:
    """A safetensors file that holds, in its metadata, a digest of its tensors.

    Anything that reads safetensors reads it; `unsealed` also notices a flipped bit.
    """
    copies = contiguous(weights)
    return save(copies, {DIGEST: _digest(copies)})


def unsealed(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, checked against its digest if it has one.

    Raises:
        Damaged: if they are not what was written, or the file cannot be read.
    """
    with reading(path, "weights", lambda why: Damaged(f"{shown(path)} is damaged: {why}")):
        content = path.read_bytes()
        weights = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        told = header.get("__metadata__", {}).values()  # by its length: a key may be damaged too
        digest = next((value for value in told if len(value) == 64), None)
        if digest not in (None, _digest(weights)):
            raise Damaged(f"{shown(path)} is damaged: its checksum differs")
        return weights


def _digest(weights: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(weights):
        x = weights[name]
        found.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        found.update(x.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def newest_intact(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that passes its checks, and what is wrong with the newer ones."""
    complaints: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path), complaints
        except Damaged as error:
            complaints.append(str(error))
    return None, complaints


def contiguous(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU; safetensors takes no two that share memory, as layers used twice do."""
    seen: set[int] = set()
    copies: dict[str, Tensor] = {}
    for name, x in weights.items():
        copy = x.detach().cpu().contiguous()
        copies[name] = copy.clone() if copy.data_ptr() in seen else copy
        seen.add(copy.data_ptr())
    return copies
