"""Checkpoints with checksums, and the exported encoder."""

import hashlib
import io
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from isojepa.boundaries import writing
from isojepa.files import write_atomically
from isojepa.models.encoder import Encoder, encoder_config


class Damaged(Exception):
    """A checkpoint that is not what was written; the message says in which way."""


class Checkpoint(NamedTuple):
    """What a resumed run needs."""

    step: int
    """Number of updates made."""
    weights: dict[str, Tensor]
    state: dict[str, Any]
    """Optimisers and the like; tensors and plain containers only."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write checkpoints/step-00001000 below `folder` and remove all but the newest `keep`.

    Returns:
        The checkpoint's folder: model.safetensors, training_state.pt and meta.json with checksums.
    """
    target = folder / f"step-{checkpoint.step:08d}"
    with writing(target):
        folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder, prefix=".part-"))
        try:
            state = io.BytesIO()
            torch.save(checkpoint.state, state)
            files = {
                "model.safetensors": save(_contiguous(checkpoint.weights)),
                "training_state.pt": state.getvalue(),
            }
            checksums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
            meta = {"step": checkpoint.step, "sha256": checksums}
            files["meta.json"] = json.dumps(meta, indent=2).encode()
            for name, data in files.items():
                write_atomically(part / name, data)
            part.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)
            part.replace(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        for old in list_checkpoints(folder)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints below the folder, oldest first."""
    return sorted(folder.glob("step-*"))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint and check it against its checksums.

    Raises:
        Damaged: if a file is missing, cut short or edited.
    """
    try:
        meta = json.loads((path / "meta.json").read_text())
        for name, expected in meta["sha256"].items():
            if hashlib.sha256((path / name).read_bytes()).hexdigest() != expected:
                raise Damaged(f"{path / name} was cut short or edited: its checksum differs")
        weights = load((path / "model.safetensors").read_bytes())
        state = torch.load(path / "training_state.pt", map_location="cpu", weights_only=True)
        return Checkpoint(int(meta["step"]), weights, state)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path} is incomplete: {error}") from error


def newest_intact(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that passes its checks, and what is wrong with the newer ones."""
    complaints: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path), complaints
        except Damaged as error:
            complaints.append(str(error))
    return None, complaints


def export_encoder(folder: Path, encoder: Encoder) -> None:
    """Write the encoder so that `load_encoder(folder)` rebuilds it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", save(_contiguous(encoder.state_dict())))
    write_atomically(folder / "config.json", encoder_config(encoder))


def _contiguous(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: x.detach().cpu().contiguous() for name, x in weights.items()}
