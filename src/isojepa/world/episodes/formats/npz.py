"""NumPy's .npz archives of columns, such as OGBench's: frames are read from them piece by piece."""

import io
import zipfile
from pathlib import Path

import numpy as np

from isojepa.boundaries import contents, reason, shown
from isojepa.errors import UserError
from isojepa.files import refuse_bomb
from isojepa.runs.arrays import read_array_header
from isojepa.world.episodes.formats.flat import read_flat
from isojepa.world.episodes.formats.source import EpisodeSource


def read_npz(path: Path, camera: str | None = None) -> EpisodeSource:
    """Open an archive of columns with a row per step, episodes told as in HDF5 files.

    Raises:
        UserError: if it cannot be read, or what it holds contradicts itself.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
        found = {name.removesuffix(".npy"): NpzArray(path, name) for name in names}
    except Exception as error:
        why = contents(path) or reason(error)
        raise UserError(
            f"{shown(path)}: not a readable .npz archive, or a truncated one ({why})"
        ) from error
    return read_flat(path, found, camera)


class NpzArray:
    """An array in an archive: shape and type at once, rows in order without reading all."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._file: io.BufferedIOBase | None = None
        self._at = 0
        with self._open() as file:
            self.shape, self._fortran, self.dtype = read_array_header(file)

    def _open(self) -> io.BufferedIOBase:
        return zipfile.ZipFile(self._path).open(self._name)  # type: ignore[return-value]

    def __getitem__(self, rows: slice | tuple[()]) -> np.ndarray:
        if not isinstance(rows, slice) or self._fortran or not self.shape:
            refuse_bomb(int(np.prod(self.shape, dtype=float)) * self.dtype.itemsize, self._name)
            with self._open() as file:
                whole = np.lib.format.read_array(file, allow_pickle=False)
            return whole[rows]
        start, stop, _ = rows.indices(self.shape[0])
        row = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        if self._file is None or start < self._at:
            self._file, self._at = self._open(), 0
            read_array_header(self._file)
        while self._at < start:
            n = min(start - self._at, max(1, 2**24 // max(1, row)))
            _read(self._file, n * row)
            self._at += n
        content = _read(self._file, (stop - start) * row)
        self._at = stop
        return np.frombuffer(content, self.dtype).reshape(stop - start, *self.shape[1:])


def _read(file: io.BufferedIOBase, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError("the archive ends too early")
    return content
