"""HDF5 files: a table of steps, or a group for each episode."""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

from isojepa.boundaries import contents, reading, reason, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.demos import episode_groups, read_demos
from isojepa.world.episodes.formats.flat import read_flat
from isojepa.world.episodes.formats.source import EpisodeSource, missing_package

File: TypeAlias = Any  # of h5py, which is imported when it is needed
Dataset: TypeAlias = Any


def read_hdf5(path: Path, camera: str | None = None) -> EpisodeSource:
    """Open an HDF5 file of the platform, LeWM or D4RL, or one with a group for each episode.

    Episodes are told by `ep_len` (and `ep_offset`), `episode_ends`, an index per step, flags at
    their ends, or by groups such as `data/demo_0`. A column of steps sorts the rows.

    Raises:
        UserError: if it cannot be read, or what it holds contradicts itself.
    """
    h5py = _h5py()
    file = _open(path, h5py)
    found: dict[str, Dataset] = {}
    with reading(path, "an HDF5 file"):

        def collect(name: str | bytes, item: object) -> None:
            if isinstance(item, h5py.Dataset):  # a name that is no text comes as bytes
                found[os.fsdecode(name)] = item

        file.visititems(collect)
        env_id = file.attrs.get("env_id")
        env_id = env_id.decode() if isinstance(env_id, bytes) else env_id
        for item in found.values():  # what damaged types and shapes raise, they raise here
            _ = (item.dtype, item.shape)
    found = {name: item for name, item in found.items() if item.shape is not None}
    env_id = None if env_id is None else str(env_id)
    others = partial(_others, path)
    groups = episode_groups(found)
    if groups:
        return read_demos(path, groups, camera, env_id=env_id, others=others)
    view = partial(_uncompressed, path)
    return read_flat(path, found, camera, env_id=env_id, view=view, others=others)


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as error:
        raise missing_package("h5py", error) from error
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  the official files are compressed with its filters
    return h5py


def _open(path: Path, h5py: ModuleType) -> File:
    try:
        return h5py.File(path, "r")
    except Exception as error:
        why = contents(path) or reason(error)
        raise UserError(
            f"{shown(path)}: not a readable HDF5 file, or a truncated one ({why})"
        ) from error


def _others(path: Path, pixels: Dataset) -> list[Path]:
    """Files that a virtual dataset takes its rows from; HDF5 gives zeros for those missing."""
    if not getattr(pixels, "is_virtual", False):
        return []
    with reading(path, "an HDF5 file"):
        names = {source.file_name for source in pixels.virtual_sources()}
    files = [path.parent / name for name in sorted(names - {"."})]
    for file in files:
        if not file.is_file():
            raise UserError(f"{shown(path)}: its frames lie in {shown(file)}, which is missing")
    return files


def _uncompressed(path: Path, pixels: Dataset) -> Callable[[np.ndarray], np.ndarray] | None:
    """Rows straight from the file's bytes, where each frame lies there whole; None elsewhere."""
    with reading(path, "an HDF5 file"):
        places = _places(path, pixels)
    if places is None:
        return None
    shape = pixels.shape[1:]
    frame = int(np.prod(shape))
    content = np.memmap(path, np.uint8, "r")

    def rows(chosen: np.ndarray) -> np.ndarray:
        out = np.empty((len(chosen), frame), np.uint8)
        for i, place in enumerate(places[chosen]):
            out[i] = content[place : place + frame]
        return out.reshape(-1, *shape)

    return rows


def _places(path: Path, pixels: Dataset) -> np.ndarray | None:
    """The byte at which each frame begins."""
    frame = int(np.prod(pixels.shape[1:]))
    if pixels.is_virtual or pixels.external or not len(pixels):
        return None
    if pixels.id.get_create_plist().get_nfilters() != 0:
        return None
    places = np.full(len(pixels), -1, np.int64)
    if pixels.chunks is None and pixels.id.get_offset() is not None:
        places = pixels.id.get_offset() + frame * np.arange(len(pixels))
    elif pixels.chunks == (1, *pixels.shape[1:]):

        def place(chunk: Any) -> None:
            places[chunk.chunk_offset[0]] = chunk.byte_offset

        pixels.id.chunk_iter(place)
    base = pixels.file.userblock_size
    if (places < 0).any() or places.max() + base + frame > path.stat().st_size:
        return None
    return places + base
