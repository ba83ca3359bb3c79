"""Tensors of .safetensors and .pt files, memory-mapped; nothing is ever unpickled."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from isojepa.boundaries import reading, shown
from isojepa.embeddings.formats.aliases import utf8_name
from isojepa.embeddings.formats.archives import Archive
from isojepa.embeddings.formats.choosing import Shape
from isojepa.embeddings.formats.numpy_files import refuse_cut_zip
from isojepa.errors import UserError
from isojepa.files import refuse_packed

KNOWN = {torch.float64, torch.float32, torch.float16}
"""Real types that NumPy has too."""
NUMERIC = {torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool}
DEEPEST = 16
"""Dictionaries and lists within each other that are looked into."""


def open_safetensors(path: Path) -> Archive:
    """Opened anew for each block, so that pages already read never add up."""
    arrays: dict[str, Shape] = {}
    with reading(path, "a .safetensors file"), safe_open(utf8_name(path), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118
            part = file.get_slice(name)
            size = tuple(part.get_shape())
            first = part[:1] if size and size[0] else file.get_tensor(name)
            arrays[name] = _shape(size, first.dtype)

    def read(name: str, rows: int) -> Iterator[np.ndarray]:
        for start in range(0, arrays[name].shape[0], rows):
            with safe_open(utf8_name(path), framework="pt") as file:
                yield to_numpy(file.get_slice(name)[start : start + rows])

    what = "a .safetensors file"
    return Archive(path=path, what=what, arrays=arrays, read=read, parts="tensors")


def open_pt(path: Path) -> Archive:
    """A tensor, or dictionaries, lists and tuples of them, as `torch.save` writes them."""
    tensors, notes = _load_tensors(path)
    arrays = {name: _shape(tuple(t.shape), t.dtype) for name, t in tensors.items()}
    del tensors

    def read(name: str, rows: int) -> Iterator[np.ndarray]:
        for start in range(0, arrays[name].shape[0], rows):
            tensor = _load_tensors(path)[0][name]
            if tensor.layout != torch.strided:
                wanted = torch.arange(start, min(start + rows, len(tensor)))
                yield to_numpy(tensor.index_select(0, wanted).to_dense())
            else:
                yield to_numpy(tensor[start : start + rows])

    what = "a file of torch.save"
    return Archive(path=path, what=what, arrays=arrays, read=read, notes=notes, parts="tensors")


def _shape(size: tuple[int, ...], dtype: torch.dtype) -> Shape:
    stored = "" if dtype in KNOWN | NUMERIC or not dtype.is_floating_point else str(dtype)
    kind = to_numpy(torch.zeros(1).to(dtype)).dtype
    return Shape(size, kind, stored.removeprefix("torch.") if dtype != torch.bfloat16 else "")


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The same numbers; of types that NumPy lacks, such as bfloat16 and float8, in float32."""
    if tensor.dtype.is_floating_point and tensor.dtype not in KNOWN:
        tensor = tensor.float()
    return tensor.numpy(force=True)


@contextmanager
def _safe_unpickling(path: Path) -> Iterator[None]:
    """What PyTorch refuses to unpickle is no damage: say what it is."""
    try:
        yield
    except pickle.UnpicklingError as error:
        if not re.search("Unsupported (global|class)|reduce|instantiate", str(error)):
            # PyTorch's own words advise to unpickle it all the same.
            raise ValueError("damaged, or not written by torch.save") from error
        found = re.search(r"(?:GLOBAL|global|class) `?([\w.]+)", str(error))
        more = f"more than tensors ({found[1]})" if found else "more than tensors"
        raise UserError(
            f"{shown(path)}: holds {more}, and opening that would run its code; "
            "save the tensor alone with torch.save(x, ...)"
        ) from error


def _load_tensors(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a file by name, a tensor alone has the name ""; and what is said of them."""
    with reading(path, "a file of torch.save"), _safe_unpickling(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of old protocols and of sparse layouts
        refuse_cut_zip(path)
        _check_beginning(path)
        refuse_packed(path)
        content = torch.load(
            utf8_name(path), map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
        notes: list[str] = []
        tensors = dict(_tensors("", content, notes, DEEPEST))
    if not tensors:
        raise UserError(
            f"{shown(path)}: holds no tensor, nor a dictionary or list of any, but "
            f"{_kind(content)}; save the tensor with torch.save(x, ...)"
        )
    return tensors, tuple(notes)


def _check_beginning(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(2)
    if start != b"PK" and start[:1] != b"\x80":
        raise ValueError("it does not begin as the files of torch.save do")


def _kind(content: object) -> str:
    if isinstance(content, Mapping):
        kinds = sorted({type(value).__name__ for value in content.values()})
        return f"a dictionary of {', '.join(kinds)}" if kinds else "an empty dictionary"
    return f"a {type(content).__name__}"


def _tensors(
    name: str, content: object, notes: list[str], depth: int
) -> Iterator[tuple[str, Tensor]]:
    """All tensors inside, called by their way there, as in model.weight or 0.x."""
    if isinstance(content, Tensor):
        yield name, _plain(content, name, notes)
    elif depth == 0:
        return
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _tensors(_below(name, key), value, notes, depth - 1)
    elif isinstance(content, list | tuple):
        joined = _joined(name, content, notes)
        if joined is not None:
            yield name, joined
        else:
            for i, value in enumerate(content):
                if isinstance(value, Tensor | Mapping | list | tuple):
                    yield from _tensors(_below(name, i), value, notes, depth - 1)


def _below(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)


def _plain(tensor: Tensor, name: str, notes: list[str]) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_quantized:
        return tensor.dequantize()
    if tensor.layout != torch.strided:
        where = f"Sparse tensor {name}".strip()
        notes.append(f"{where}: cells that are not stored are read as 0.")
        return tensor.to_sparse_coo().coalesce()
    return tensor


def _joined(name: str, parts: list[object] | tuple[object, ...], notes: list[str]) -> Tensor | None:
    """Lists that are one table: of numbers, of vectors of one length, or of batches of rows."""
    if not parts:
        return None
    tensors = [p.detach() for p in parts if isinstance(p, Tensor) and p.layout == torch.strided]
    if len(tensors) == len(parts):
        shapes = [tuple(t.shape) for t in tensors]
        if len({t.dtype for t in tensors}) > 1 or isinstance(parts, tuple):
            return None
        what = f"The list {name}" if name else "The list"
        if len(set(shapes)) == 1 and len(shapes[0]) == 1:
            notes.append(f"{what} of {len(parts):,} vectors is read as a table, one a row.")
            return torch.stack(tensors)
        if len(parts) > 2 and _are_batches(shapes):
            notes.append(f"{what} of {len(parts):,} batches is read as one table.")
            return torch.cat(tensors)
        return None
    if all(isinstance(p, list | tuple) for p in parts) and not _holds_tensors(parts):
        try:
            return torch.tensor(parts, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            return None
    return None


def _holds_tensors(parts: object) -> bool:
    if isinstance(parts, list | tuple):
        return any(map(_holds_tensors, parts))
    return not isinstance(parts, int | float)


def _are_batches(shapes: list[tuple[int, ...]]) -> bool:
    """Whether all are tables of one width and length, but for a shorter one at the end."""
    if any(len(shape) != 2 or shape[1] != shapes[0][1] for shape in shapes):
        return False
    return len({s[0] for s in shapes[:-1]}) == 1 and shapes[-1][0] <= shapes[0][0]
