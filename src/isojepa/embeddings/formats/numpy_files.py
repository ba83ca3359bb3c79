"""Arrays of NumPy's own formats: .npy memory-mapped, .npz as a stream; nothing is unpickled."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from scipy import sparse

from isojepa.boundaries import reading, reading_each, shown
from isojepa.embeddings.formats.archives import Archive
from isojepa.embeddings.formats.choosing import Shape
from isojepa.embeddings.samples import Samples, samples_of
from isojepa.files import load_arrays, refuse_bomb
from isojepa.runs.arrays import ArrayHeader, Readable, read_array_header

SPARSE = {"csr", "csc", "bsr"}
"""What scipy.sparse.save_npz writes with indptr and indices."""


def open_npy(path: Path) -> Samples:
    """Memory-mapped anew for each block, so that pages already read never add up."""

    def blocks(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, header.shape[0], rows):
            yield np.array(np.load(path, mmap_mode="r")[start : start + rows])

    with reading(path, "an .npy file"), path.open("rb") as file:
        header = read_array_header(file)
        start = file.tell()
    samples = samples_of(
        shown(path.name),
        header.shape,
        header.dtype,
        lambda rows: reading_each(path, "an .npy file", blocks(rows)),
    )
    with reading(path, "an .npy file"):
        held = path.stat().st_size - start
        if held < header.nbytes:
            raise ValueError(
                f"cut short: {held:,} of the {header.nbytes:,} bytes of its array {header.shape}"
            )
        np.load(path, mmap_mode="r")
    return samples


def open_npz(path: Path) -> Archive:
    """Decompressed block by block; of an array in Fortran order, all at once."""
    with reading(path, "an .npz file"):
        refuse_cut_zip(path)
    with reading(path, "an .npz file"), zipfile.ZipFile(path) as archive:
        headers = {}
        for member in archive.infolist():
            if not member.is_dir():
                name = member.filename.removesuffix(".npy")
                headers[name] = _read_member(archive, member)
    with reading(path, "an .npz file"):
        matrix = _sparse_matrix(path, headers)
    if matrix is not None:
        return matrix

    def read(name: str, rows: int) -> Iterator[np.ndarray]:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            read_array_header(file)
            yield from _stream(file, headers[name], rows)

    arrays = {name: Shape(h.shape, h.dtype) for name, h in headers.items()}
    return Archive(path=path, what="an .npz file", arrays=arrays, read=read)


def refuse_cut_zip(path: Path) -> None:
    """A zip archive has its list of contents at its end.

    Raises:
        ValueError: if it is missing.
    """
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK" and not zipfile.is_zipfile(path):
        raise ValueError("cut short: its end, where the list of contents stands, is missing")


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> ArrayHeader:
    with archive.open(member) as file:
        header = read_array_header(file)
    if header.dtype.kind != "O" and header.nbytes > member.file_size:
        raise ValueError(f"{member.filename} is cut short")
    return header


def _sparse_matrix(path: Path, headers: Mapping[str, ArrayHeader]) -> Archive | None:
    """A matrix of scipy.sparse.save_npz, made dense a block at a time."""
    if not {"format", "shape", "data"} <= set(headers):
        return None
    with load_arrays(path) as parts:
        kind = parts["format"].item()
    if (kind.decode() if isinstance(kind, bytes) else str(kind)) not in {*SPARSE, "coo", "dia"}:
        return None
    matrix = sparse.csr_matrix(sparse.load_npz(path))
    matrix.check_format(full_check=True)

    def read(_: str, rows: int) -> Iterator[np.ndarray]:
        for start in range(0, matrix.shape[0], rows):
            yield matrix[start : start + rows].toarray()

    return Archive(
        path=path,
        what="an .npz file",
        arrays={"": Shape(matrix.shape, matrix.dtype)},
        read=read,
        notes=("Sparse matrix: cells that are not stored are read as 0.",),
    )


def _stream(file: Readable, header: ArrayHeader, rows: int) -> Iterator[np.ndarray]:
    n, columns = header.shape[0], int(np.prod(header.shape[1:]))
    if header.fortran_order:
        refuse_bomb(header.nbytes, "an array in Fortran order")
        content = file.read(header.nbytes)
        yield np.frombuffer(content, header.dtype).reshape(header.shape, order="F")
        return
    for start in range(0, n, rows):
        count = min(rows, n - start) * columns
        content = file.read(count * header.dtype.itemsize)
        if len(content) < count * header.dtype.itemsize:
            raise EOFError("cut short")
        block = np.frombuffer(content, header.dtype)
        yield block.reshape(-1, *header.shape[1:])
