"""One word for a device in every verb."""

from typing import Literal

import torch

from isojepa.errors import UserError

Device = Literal["auto", "cpu", "cuda", "mps"]


def choose_device(name: Device) -> torch.device:
    """The device of that name; auto: the GPU if there is one.

    Raises:
        UserError: if PyTorch finds no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no CUDA device; use --device cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: PyTorch finds no Apple GPU; use --device cpu")
    return torch.device(name)
