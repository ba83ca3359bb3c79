"""Arrays of NumPy's own formats: .npy memory-mapped, .npz as a stream."""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isojepa.diagnosis.choosing import Shape, choose_array
from isojepa.diagnosis.samples import Samples, check_shape
from isojepa.errors import UserError


class Header(NamedTuple):
    """The head of an .npy file."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


def open_npy(path: Path) -> Samples:
    """Memory-mapped anew for each block, so that pages already read never add up."""

    def read(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, header.shape[0], rows):
            yield np.array(np.load(path, mmap_mode="r")[start : start + rows])

    with path.open("rb") as file:
        header = _read_header(path.name, file)
    fields = check_shape(path.name, header.shape, header.dtype)
    try:
        np.load(path, mmap_mode="r")
    except ValueError as error:
        raise UserError(f"{path}: cut short or damaged ({error})") from error
    return Samples(name=path.name, read=read, **fields)


def open_npz(path: Path, key: str | None) -> Samples:
    """Decompressed block by block; of an array in Fortran order, all at once."""
    try:
        with zipfile.ZipFile(path) as archive:
            headers = {}
            for member in archive.namelist():
                with archive.open(member) as file:
                    headers[member.removesuffix(".npy")] = _read_header(path.name, file)
    except (zipfile.BadZipFile, EOFError) as error:
        raise UserError(f"{path}: not an .npz file, or cut short ({error})") from error
    arrays = {name: Shape(h.shape, h.dtype.kind == "f") for name, h in headers.items()}
    chosen = choose_array(path, arrays, key)
    header = headers[chosen]

    def read(rows: int) -> Iterator[np.ndarray]:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(f"{chosen}.npy") as file:
                _read_header(path.name, file)
                yield from _stream(file, header, rows)
        except (zipfile.BadZipFile, EOFError, zipfile.zlib.error) as error:  # type: ignore[attr-defined]
            raise UserError(f"{path}: {chosen} is damaged ({error})") from error

    samples = Samples(
        name=path.name if len(headers) == 1 else f"{path.name}, {chosen}",
        read=read,
        **check_shape(f"{path.name}, {chosen}", header.shape, header.dtype),
    )
    if len(headers) == 1 or key is not None:
        return samples
    note = f"Of {len(headers)} arrays, {chosen} is the only table of real numbers: it was taken."
    return replace(samples, notes=(note, *samples.notes))


def _read_header(name: str, file: Any) -> Header:
    try:
        version = np.lib.format.read_magic(file)
        parse: Any = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        return Header(*parse(file))
    except ValueError as error:
        raise UserError(f"{name}: not an array of NumPy's, or cut short ({error})") from error


def _stream(file: Any, header: Header, rows: int) -> Iterator[np.ndarray]:
    n, columns = header.shape[0], int(np.prod(header.shape[1:]))
    if header.fortran_order:
        yield np.frombuffer(file.read(), header.dtype).reshape(header.shape, order="F")
        return
    for start in range(0, n, rows):
        count = min(rows, n - start) * columns
        content = file.read(count * header.dtype.itemsize)
        if len(content) < count * header.dtype.itemsize:
            raise EOFError("cut short")
        yield np.frombuffer(content, header.dtype).reshape(-1, columns)
