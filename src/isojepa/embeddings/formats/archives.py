"""Files of several arrays -> `Samples`: which array is meant, in the same words for each format."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isojepa.boundaries import reading_each, shown
from isojepa.embeddings.formats.choosing import Shape, choose_array, few
from isojepa.embeddings.samples import Samples, samples_of

LEAST_VECTORS = 20
"""Vectors of equal length, each under its own name, from which they are taken for the samples."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """Named arrays in a file, read as a stream."""

    path: Path
    what: str
    """What the file should be, with its article: "an .npz file"."""
    arrays: Mapping[str, Shape]
    """The only array of a format without names is called ""."""
    read: Callable[[str, int], Iterator[np.ndarray]]
    """Name, rows per block -> blocks of at most that many rows."""
    notes: tuple[str, ...] = ()
    parts: str = "arrays"
    """What the format calls them."""

    def blocks(self, name: str, rows: int) -> Iterator[np.ndarray]:
        """Rows of one of them.

        Raises:
            UserError: for whatever the library raises.
        """
        yield from reading_each(self.path, self.what, self.read(name, rows))


def open_archive(archive: Archive, key: str | None) -> Samples:
    """The array called `key`, or the only one that can be meant.

    Raises:
        UserError: if it is not there, not clear, or no table of real numbers.
    """
    arrays, label = archive.arrays, shown(archive.path.name)
    if key is None and _are_vectors(arrays):
        return _stacked(archive)
    chosen = choose_array(archive.path, arrays, key)
    named = bool(chosen) and len(arrays) > 1
    name = (
        f"{label}, {shown(chosen)}" if named or (archive.parts == "tensors" and chosen) else label
    )
    notes = list(archive.notes)
    if arrays[chosen].stored:
        notes.append(f"The numbers are stored as {arrays[chosen].stored}: read as real numbers.")
    if len(arrays) > 1 and key is None:
        notes.append(
            f"Of {len(arrays)} {archive.parts}, {shown(chosen)} is the only table of real numbers: "
            "it was taken."
        )
    full_name = f"{label}, {shown(chosen)}" if chosen else label  # for what may be wrong with it
    samples = samples_of(
        full_name, *arrays[chosen][:2], lambda rows: archive.blocks(chosen, rows), notes=notes
    )
    return replace(samples, name=name)


def _are_vectors(arrays: Mapping[str, Shape]) -> bool:
    """Whether each array is a sample: many of them, all real, of one length."""
    shapes = {array.shape for array in arrays.values()}
    real = all(array.floating for array in arrays.values())
    return len(arrays) >= LEAST_VECTORS and real and len(shapes) == 1 and len(shapes.pop()) == 1


def _stacked(archive: Archive) -> Samples:
    names = list(archive.arrays)
    first = archive.arrays[names[0]]

    def read(rows: int) -> Iterator[np.ndarray]:
        for start in range(0, len(names), rows):
            parts = names[start : start + rows]
            yield np.stack([np.concatenate(list(archive.blocks(n, 2**30))) for n in parts])

    note = f"Each of the {len(names):,} {archive.parts} is a sample: {few(names, 2)}."
    return samples_of(
        shown(archive.path.name),
        (len(names), *first.shape),
        first.dtype,
        read,
        notes=(*archive.notes, note),
    )
