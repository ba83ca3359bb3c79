"""Tensors of .safetensors and .pt files, memory-mapped; nothing is ever unpickled."""

import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from isojepa.diagnosis.choosing import Shape, choose_array
from isojepa.diagnosis.samples import Samples, check_shape
from isojepa.errors import UserError

FLOATING = ("F64", "F32", "F16", "BF16")
"""Types of safetensors that NumPy, or PyTorch on its way to NumPy, can read as real numbers."""


def open_safetensors(path: Path, key: str | None) -> Samples:
    """Opened anew for each block, so that pages already read never add up."""
    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            arrays = {
                name: Shape(tuple(part.get_shape()), part.get_dtype() in FLOATING)
                for name, part in slices.items()
            }
            chosen = choose_array(path, arrays, key)
            first = slices[chosen][:1] if len(arrays[chosen].shape) else torch.zeros(0)
    except SafetensorError as error:
        raise UserError(f"{path}: not a .safetensors file, or damaged ({error})") from error

    def read(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, arrays[chosen].shape[0], rows):
            with safe_open(path, framework="pt") as file:
                yield _to_numpy(file.get_slice(chosen)[start : start + rows])

    return _samples(path, chosen, arrays, _to_numpy(first).dtype, read, key)


def open_pt(path: Path, key: str | None) -> Samples:
    """A tensor, or a dictionary of tensors, as `torch.save` writes them."""
    tensors = _load_tensors(path)
    arrays = {
        name: Shape(tuple(tensor.shape), tensor.is_floating_point())
        for name, tensor in tensors.items()
    }
    chosen = choose_array(path, arrays, key)
    dtype = _to_numpy(tensors[chosen].flatten()[:1]).dtype
    del tensors

    def read(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, arrays[chosen].shape[0], rows):
            yield _to_numpy(_load_tensors(path)[chosen][start : start + rows])

    return _samples(path, chosen, arrays, dtype, read, key)


def _samples(
    path: Path,
    chosen: str,
    arrays: dict[str, Shape],
    dtype: np.dtype,
    read: Callable[[int], Iterator[np.ndarray]],
    key: str | None,
) -> Samples:
    name = f"{path.name}, {chosen}" if chosen else path.name
    fields = check_shape(name, arrays[chosen].shape, dtype)
    samples = Samples(name=name, read=read, **fields)
    if len(arrays) == 1 or key is not None:
        return samples
    note = f"Of {len(arrays)} tensors, {chosen} is the only table of real numbers: it was taken."
    return replace(samples, notes=(note, *samples.notes))


def _load_tensors(path: Path) -> dict[str, Tensor]:
    """The dense tensors of a file by name; a tensor alone has the name ""."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of old protocols
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: holds more than tensors, and opening that would run its code; "
            "save the tensor alone with torch.save(x, ...)"
        ) from error
    except Exception as error:  # whatever rubbish provokes in the unpickler
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: not a file of torch.save, or damaged ({reason})") from error
    found: dict[str, Any] = content if isinstance(content, dict) else {"": content}
    tensors = {
        str(name): value.detach()
        for name, value in found.items()
        if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    }
    if not tensors:
        raise UserError(f"{path}: holds no tensor, nor a dictionary with one")
    return tensors


def _to_numpy(tensor: Tensor) -> np.ndarray:
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True)
