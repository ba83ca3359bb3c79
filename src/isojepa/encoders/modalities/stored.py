"""A trained encoder in a folder: what rebuilds it, and its weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from isojepa.boundaries import reading, shown, writing
from isojepa.encoders.modalities.modality import Network
from isojepa.encoders.modalities.registry import FIRST, is_known, modality
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.runs.checkpoints import sealed, unsealed
from isojepa.runs.typed import from_json, read_json


def load_encoder(path: str | Path, backbone: nn.Module | None = None) -> Network:
    """Load a trained encoder, in eval mode, on the CPU.

    Args:
        path: a run folder, its `encoder` folder, or a copy of the latter.
        backbone: the module that was trained, if it was passed from Python rather than named.

    Raises:
        UserError: if there is no encoder, or its files are damaged.
    """
    folder = Path(path)
    if (folder / "encoder" / "config.json").is_file():
        folder = folder / "encoder"
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise UserError(f"{path}: no trained encoder here (encoder/config.json is missing)")
    content = read_json(folder / "config.json")
    name = content.get("modality", FIRST) if isinstance(content, dict) else FIRST
    if not is_known(name):
        raise UserError(f"{shown(folder / 'config.json')}: damaged (modality is {name!r})")
    kind = modality(name)
    spec: Any = from_json(kind.network.Spec, content, folder / "config.json")
    if spec.model == "custom" and backbone is None:
        raise UserError(f"{path}: trained from a module of your own; pass it as backbone=...")
    weights = unsealed(folder / "model.safetensors")
    encoder = kind.network.network(spec, backbone, pretrained=False)
    with reading(folder / "model.safetensors", "the weights of what config.json describes"):
        encoder.load_state_dict(weights)
    return encoder.eval()


def export_encoder(folder: Path, encoder: Network) -> None:
    """Write the encoder so that `load_encoder(folder)` rebuilds it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", sealed(encoder.state_dict()))
    write_atomically(folder / "config.json", json.dumps(asdict(encoder.spec), indent=2))
