"""One pass over all rows: moments, duplicated rows, unusable rows, and some to look at."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped, UInt64

from isojepa.embeddings.moments import Moments, Sums
from isojepa.embeddings.plausible import Implausible, Range
from isojepa.embeddings.samples import Samples, spread_rows
from isojepa.errors import UserError

Progress = Callable[[int], object]
"""Called with the number of rows done since the last call."""


class Duplicates(NamedTuple):
    """Rows equal to an earlier row, bit for bit up to the sign of zero."""

    repeats: int
    """How many rows repeat an earlier one."""
    groups: tuple[tuple[int, ...], ...]
    """The numbers of equal rows, at most ten of each; the largest groups first."""
    crowding: float
    """Mean over rows of how many are equal to it, itself included: n / crowding rows would be as
    informative."""


class Scan(NamedTuple):
    """What one pass over the rows finds."""

    moments: Moments
    """Of the rows kept."""
    kept: Bool[np.ndarray, " n"] | None
    """Which rows are finite and plausible; None if all are."""
    nonfinite: int
    """Rows with NaN or infinite numbers, left out."""
    first_nonfinite: int
    """The first of them; -1 if there are none."""
    implausible: tuple[Implausible, ...]
    """Rows with a number that no measurement gives, left out; in the file's order."""
    duplicates: Duplicates
    constant: Int64[np.ndarray, " c"]
    """Columns that never change."""
    rows: Int64[np.ndarray, " m"]
    """Numbers of the rows in `sample`, ascending."""
    sample: Float[np.ndarray, "m d"]
    """Rows kept, drawn at random, all of them if there are few; of equal ones the first."""


def scan(
    samples: Samples,
    *,
    drop_nonfinite: bool = False,
    most: int = 4096,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> Scan:
    """Read all rows once.

    Args:
        drop_nonfinite: leave out rows with NaN or infinite numbers instead of refusing them.
        most: rows kept to look at.
        seed: of the choice of these rows.

    Raises:
        UserError: for rows that are not finite unless dropped, or fewer than two rows.
    """
    d = samples.d
    wanted = spread_rows(samples.n, most, seed)
    finite, plausible = np.ones(samples.n, dtype=bool), np.ones(samples.n, dtype=bool)
    digests = np.empty(samples.n, dtype=np.uint64)
    usual: Range | None = None
    sums = Sums(samples.n, d)
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    sample: list[np.ndarray] = []
    beyond: list[Implausible] = []
    for start, block in samples.blocks():
        here = slice(start, start + len(block))
        finite[here] = np.isfinite(block).all(1)
        digests[here] = row_digests(block)
        sample.append(block[wanted[(wanted >= here.start) & (wanted < here.stop)] - start])
        if not finite[here].all():
            block = block[finite[here]]
        if len(block):
            usual = Range.of(samples.name, block) if usual is None else usual
            found = usual.beyond(block, np.flatnonzero(finite[here]) + start)
            if found:
                beyond += found
                plausible[[row.number for row in found]] = False
                block = block[plausible[here][finite[here]]]
        if len(block):
            low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
            sums.add(block)
        progress(here.stop - here.start)
    nonfinite = samples.n - int(finite.sum())
    if nonfinite and not drop_nonfinite:
        raise UserError(
            f"{samples.name}: {nonfinite:,} of {samples.n:,} rows hold NaN or infinite "
            f"numbers, the first is row {int(finite.argmin())}; --drop-nonfinite leaves them out"
        )
    kept = finite & plausible
    n = int(kept.sum())
    if n < 2:
        raise UserError(f"{samples.name}: {n} usable rows, where at least 2 are needed")
    usable = kept[wanted]
    usable[usable] = _first_of_each(digests[wanted[usable]])
    return Scan(
        moments=sums.moments(),
        kept=None if n == samples.n else kept,
        nonfinite=nonfinite,
        first_nonfinite=int(finite.argmin()) if nonfinite else -1,
        implausible=tuple(beyond),
        duplicates=find_duplicates(digests, np.flatnonzero(kept)),
        constant=np.flatnonzero(low == high),
        rows=wanted[usable],
        sample=np.concatenate(sample)[usable],
    )


def _first_of_each(digests: UInt64[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
    first = np.zeros(len(digests), dtype=bool)
    first[np.unique(digests, return_index=True)[1]] = True
    return first


def row_digests(block: Shaped[np.ndarray, "b d"]) -> UInt64[np.ndarray, " b"]:
    """64 bits of each row's BLAKE2b digest: equal for equal rows, and practically only for them."""
    rows = np.ascontiguousarray(block + np.zeros((), block.dtype))  # -0 becomes 0
    digests = (hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.frombuffer(b"".join(digests), dtype=np.uint64)


def find_duplicates(
    digests: UInt64[np.ndarray, " n"], among: Int64[np.ndarray, " r"], show: int = 5
) -> Duplicates:
    """Group the rows `among` by digest."""
    order = among[np.argsort(digests[among], kind="stable")]
    sorted_digests = digests[order]
    starts = np.flatnonzero(np.r_[True, sorted_digests[1:] != sorted_digests[:-1]])
    sizes = np.diff(np.r_[starts, len(order)])
    largest = np.argsort(-sizes, kind="stable")[:show]
    groups = tuple(
        tuple(int(row) for row in order[starts[i] : starts[i] + min(sizes[i], 10)])
        for i in largest
        if sizes[i] > 1
    )
    crowding = float((sizes.astype(np.float64) ** 2).sum() / len(order))
    return Duplicates(int((sizes - 1).sum()), groups, crowding)
