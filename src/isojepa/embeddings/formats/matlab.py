"""Variables of MATLAB's .mat files, of all versions."""

import faulthandler
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import io, sparse

from isojepa.boundaries import reading
from isojepa.embeddings.formats.archives import Archive
from isojepa.embeddings.formats.choosing import Shape
from isojepa.embeddings.formats.hdf5 import open_hdf5


def open_mat(path: Path) -> Archive:
    """All variables; up to version 7.2 the file is read whole, later ones are HDF5."""
    with reading(path, "a .mat file"), path.open("rb") as file:
        start = file.read(520)
    if start.startswith(b"MATLAB 7.3") or start.startswith(b"\x89HDF") or b"\x89HDF" in start[512:]:
        return open_hdf5(path, matlab=True)
    with reading(path, "a .mat file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names and encodings
        if not _survives(path):
            raise ValueError("it is damaged: SciPy's reader crashes on it")
        content = io.loadmat(path)
        arrays: dict[str, np.ndarray | sparse.csr_matrix] = {
            name: sparse.csr_matrix(value) if sparse.issparse(value) else np.asarray(value)
            for name, value in content.items()
            if not name.startswith("__")
        }

    def read(name: str, rows: int) -> Iterator[np.ndarray]:
        value = arrays[name]
        for start in range(0, value.shape[0], rows):
            part = value[start : start + rows]
            yield part if isinstance(part, np.ndarray) else part.toarray()

    shapes = {name: Shape(value.shape, value.dtype) for name, value in arrays.items()}
    return Archive(path=path, what="a .mat file", arrays=shapes, read=read, parts="variables")


def _survives(path: Path) -> bool:
    """Whether SciPy's reader lives through a file: tried in a child, as a damaged one can kill."""
    if not hasattr(os, "fork"):
        return True
    child = os.fork()
    if child == 0:
        try:
            faulthandler.disable()
            io.loadmat(path)
        finally:
            os._exit(0)  # what is raised is raised again in the parent
    _, status = os.waitpid(child, 0)
    return not os.WIFSIGNALED(status)
