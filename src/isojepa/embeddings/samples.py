"""Samples that may be larger than memory: read block by block, as often as needed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64, Shaped

from isojepa.errors import UserError

BLOCK_ELEMENTS = 2**22
"""Numbers in a block: 32 MB in float64."""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """n rows of d numbers, one sample a row, wherever they are."""

    name: str
    """What a reader calls them, such as sample.npz or sample.npz, embeddings."""
    n: int
    d: int
    dtype: np.dtype
    """As stored."""
    read: Callable[[int], Iterator[np.ndarray]]
    """Rows per block -> the blocks, (b, d) or (b,), in order; every call starts again."""
    columns: tuple[str, ...] = ()
    """Names of the dimensions; empty if the file gives none."""
    notes: tuple[str, ...] = ()
    """Choices made while reading, in plain words."""

    def blocks(self) -> Iterator[tuple[int, Float[np.ndarray, "b d"]]]:
        """The first row's number and the rows, block by block; float32, or float64 if as precise.

        Raises:
            UserError: if the file turns out shorter or longer than it said.
        """
        kind = np.float32 if self.dtype.itemsize < 4 or self.dtype == np.float32 else np.float64
        start = 0
        for block in self.read(max(1, BLOCK_ELEMENTS // self.d)):
            with np.errstate(invalid="ignore", over="ignore"):  # NaN and beyond float32: by scan
                x = np.ascontiguousarray(block.reshape(len(block), self.d), dtype=kind)
            yield start, x
            start += len(block)
        if start != self.n:
            raise UserError(f"{self.name}: {start:,} rows, but {self.n:,} were announced")

    def column(self, index: int) -> str:
        """What a reader calls a dimension."""
        return self.columns[index] if self.columns else f"column {index}"


def from_array(x: Shaped[np.ndarray, " n *d"], name: str = "array") -> Samples:
    """Samples in memory, (n, d) or (n,)."""

    def read(rows: int) -> Iterator[np.ndarray]:
        yield from (x[start : start + rows] for start in range(0, len(x), rows))

    return samples_of(name, x.shape, x.dtype, read)


def samples_of(
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype,
    read: Callable[[int], Iterator[np.ndarray]],
    *,
    columns: tuple[str, ...] = (),
    notes: Sequence[str] = (),
) -> Samples:
    """Samples of an array of a file; fields as of `Samples`.

    Raises:
        UserError: unless it is a table of real numbers.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiub":
        what = {"O": "Python objects", "c": "complex numbers", "U": "text", "S": "text"}
        what |= {"M": "dates", "m": "durations", "V": "records or raw bytes"}
        raise UserError(
            f"{name}: holds {what.get(dtype.kind, dtype.name)}, where numbers are needed; "
            "save a floating-point array (n, d)"
        )
    if len(shape) == 1:
        notes = (*notes, f"One axis only: read as {shape[0]:,} samples of one dimension.")
    elif len(shape) != 2:
        raise UserError(
            f"{name}: shape {shape}, where (n, d) is needed, one sample a row; "
            "save x.reshape(-1, x.shape[-1])"
        )
    if dtype.kind in "iub":
        notes = (*notes, f"The numbers are stored as {dtype.name}: read as real numbers.")
    if 0 in shape:
        raise UserError(f"{name}: shape {shape}, so there are no samples")
    d = 1 if len(shape) == 1 else shape[1]
    return Samples(
        name=name, n=shape[0], d=d, dtype=dtype, read=read, columns=columns, notes=tuple(notes)
    )


def draw_rows(n: int, most: int, seed: int) -> Int64[np.ndarray, " m"]:
    """Numbers of at most `most` of n rows, ascending, drawn without replacement."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))
