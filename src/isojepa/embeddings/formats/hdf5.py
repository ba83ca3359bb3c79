"""Datasets of HDF5 files, MATLAB 7.3's among them, read a block of rows at a time."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import numpy as np

from isojepa.boundaries import reading, shown
from isojepa.embeddings.formats.archives import Archive
from isojepa.embeddings.formats.choosing import Shape
from isojepa.errors import UserError


def open_hdf5(path: Path, matlab: bool = False) -> Archive:
    """All datasets by their paths, such as features/train.

    Args:
        matlab: whether axes are in MATLAB's order, the last one first.
    """
    library = _library(path)
    with reading(path, "an HDF5 file"), library.File(path, "r") as file:
        arrays: dict[str, Shape] = {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, library.Dataset) and item.shape is not None:
                shape = item.shape[::-1] if matlab else item.shape
                arrays[name] = Shape(tuple(shape), np.dtype(item.dtype))

        file.visititems(visit)
        # MATLAB keeps the contents of cells and structures apart, under this name.
        arrays = {name: shape for name, shape in arrays.items() if not name.startswith("#refs#")}

    def read(name: str, rows: int) -> Iterator[np.ndarray]:
        for start in range(0, arrays[name].shape[0], rows):
            with library.File(path, "r") as file:
                data = file[name]
                if matlab:
                    yield np.asarray(data[..., start : start + rows]).T
                else:
                    yield np.asarray(data[start : start + rows])

    return Archive(path=path, what="an HDF5 file", arrays=arrays, read=read, parts="datasets")


def _library(path: Path) -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f"{shown(path)}: reading it needs h5py: pip install h5py, or 'isojepa[world]'"
        ) from error
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  # compression filters beyond gzip
    return h5py
