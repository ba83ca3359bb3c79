"""Each format's files, written into a folder."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from safetensors.torch import save

from isojepa.boundaries import writing
from isojepa.encoders.export.graph import write_onnx, write_torch_export
from isojepa.encoders.export.timm_names import Settings, constructor_arguments, timm_config
from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.files import write_atomically
from isojepa.runs.checkpoints import contiguous
from isojepa.runs.folder import write_json

Format = Literal["timm", "safetensors", "onnx", "torch-export"]
STANDALONE = Path(__file__).with_name("standalone")
PARTS = {
    "timm": ("pixels", "embedding", "command"),
    "safetensors": ("pixels", "embedding", "command"),
    "onnx": ("pixels", "command"),
    "torch-export": ("pixels", "command"),
}
NEEDS = {
    "timm": "timm",
    "safetensors": "timm",
    "onnx": "onnxruntime numpy pillow",
    "torch-export": "torch numpy pillow",
}
"""Packages that a folder's embed.py needs."""
FOREIGN = {
    "timm": (),
    "safetensors": (),
    "onnx": ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript"),
    "torch-export": ("torchvision", "timm", "safetensors", "onnxruntime", "onnx", "onnxscript"),
}
"""Packages that it has to do without, beside this one."""


def write_format(kind: Format, encoder: Encoder, folder: Path) -> None:
    """Write an encoder and the program `embed.py` that needs only `NEEDS[kind]`.

    Raises:
        UserError: if the format cannot express the encoder, saying which can; or for a full disk.
    """
    if kind == "timm":
        _write_timm(encoder, folder)
    elif kind == "safetensors":
        _write_safetensors(encoder, folder)
    elif kind == "onnx":
        write_onnx(encoder, folder / "encoder.onnx")
        write_json(folder / "config.json", asdict(encoder.spec))
    else:
        write_torch_export(encoder, folder / "encoder.pt2")
        write_json(folder / "config.json", asdict(encoder.spec))
    with writing(folder):
        for part in PARTS[kind]:
            shutil.copyfile(STANDALONE / f"{part}.py", folder / f"{part}.py")
        main = STANDALONE / f"embed_{kind.replace('-', '_')}.py"
        shutil.copyfile(main, folder / "embed.py")


def _write_timm(encoder: Encoder, folder: Path) -> None:
    config = timm_config(encoder)
    write_json(folder / "config.json", config)
    write_json(folder / "encoder.json", asdict(encoder.spec))
    weights = contiguous(encoder.backbone.state_dict())
    write_atomically(folder / "model.safetensors", save(weights, {"format": "pt"}))
    if encoder.spec.whitened:  # no setting of timm's expresses it: embed.py applies it
        white = contiguous(encoder.whitening.state_dict())
        write_atomically(folder / "whitening.safetensors", save(white, {"format": "pt"}))


def _write_safetensors(encoder: Encoder, folder: Path) -> None:
    arguments: Settings = constructor_arguments(encoder)
    write_json(folder / "config.json", asdict(encoder.spec) | {"arguments": arguments})
    weights = contiguous(encoder.state_dict())
    write_atomically(folder / "model.safetensors", save(weights, {"format": "pt"}))
