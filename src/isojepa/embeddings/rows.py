"""One pass over all rows: moments, duplicated rows, unusable rows, and some to look at."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped, UInt64

from isojepa.embeddings.moments import Moments, Part, Sums
from isojepa.embeddings.plausible import Implausible, Range
from isojepa.embeddings.samples import Samples, draw_rows
from isojepa.embeddings.turns import in_turns
from isojepa.errors import UserError

Progress = Callable[[int], object]
"""Called with the number of rows done since the last call."""


class Duplicates(NamedTuple):
    """Rows equal to an earlier row, bit for bit up to the sign of zero."""

    repeats: int
    """How many rows repeat an earlier one."""
    groups: tuple[tuple[int, ...], ...]
    """The numbers of equal rows, at most ten of each; the largest groups first."""
    multiplicity: float
    """Mean over rows of how many are equal to it, itself included: n / multiplicity rows would be
    as informative."""


class RowSummary(NamedTuple):
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
    sample: Float[np.ndarray, "m d"]
    """Rows kept, drawn at random, all of them if there are few; of equal ones the first."""
    sample_rows: Int64[np.ndarray, " m"]
    """Their numbers, ascending."""


def summarise_rows(
    samples: Samples,
    *,
    drop_nonfinite: bool = False,
    most: int = 4096,
    seed: int = 0,
    shared: bool = False,
    progress: Progress = lambda _: None,
) -> RowSummary:
    """Read all rows once.

    Args:
        drop_nonfinite: leave out rows with NaN or infinite numbers instead of refusing them.
        most: rows kept to look at.
        seed: of the choice of these rows.
        shared: whether all processes call this, to share the blocks.

    Raises:
        UserError: for rows that are not finite unless dropped, or fewer than two rows.
    """
    chosen = draw_rows(samples.n, most, seed)
    collected = _Collected(samples, chosen)
    blocks = samples.blocks()
    for start, block in blocks:  # each process looks for what decides what is usual
        collected.take(collected.look(start, block))
        progress(len(block))
        if collected.settled:
            break
    for size, found in in_turns(blocks, collected.look, shared=shared):
        collected.take(found)
        progress(size)
    return collected.summary(drop_nonfinite)


class Look(NamedTuple):
    """What is found in one block."""

    here: slice
    finite: Bool[np.ndarray, " b"]
    digests: UInt64[np.ndarray, " b"]
    sample: Float[np.ndarray, "m d"]
    implausible: list[Implausible]
    part: Part | None
    """Of the usable rows; None if there are none."""
    low: Float[np.ndarray, " d"]
    high: Float[np.ndarray, " d"]


class _Collected:
    """What is known of the rows so far."""

    def __init__(self, samples: Samples, chosen: Int64[np.ndarray, " m"]) -> None:
        n, d = samples.n, samples.d
        self.name, self.n, self.chosen = samples.name, n, chosen
        self.finite, self.plausible = np.ones(n, dtype=bool), np.ones(n, dtype=bool)
        self.digests = np.empty(n, dtype=np.uint64)
        self.usual: Range | None = None
        self.sums = Sums(n, d)
        self.low, self.high = np.full(d, np.inf), np.full(d, -np.inf)
        self.sample: list[np.ndarray] = []
        self.implausible: list[Implausible] = []

    @property
    def settled(self) -> bool:
        """Whether what is found in a block does not depend on the blocks before it any more."""
        return self.usual is not None and self.sums.shifted

    def look(self, start: int, block: Float[np.ndarray, "b d"]) -> Look:
        """What is in a block; only the first that has finite rows decides over later ones."""
        here = slice(start, start + len(block))
        chosen = self.chosen[(self.chosen >= here.start) & (self.chosen < here.stop)]
        finite = np.isfinite(block).all(1)
        seen = here, finite, row_digests(block), block[chosen - start]
        block = block if finite.all() else block[finite]
        found: list[Implausible] = []
        if len(block):
            self.usual = Range.of(self.name, block) if self.usual is None else self.usual
            rows = np.flatnonzero(finite) + start
            found = self.usual.beyond(block, rows)
            if found:
                block = block[~np.isin(rows, [row.number for row in found])]
        if not len(block):
            return Look(*seen, found, None, self.low, self.high)
        self.sums.begin(block)
        return Look(*seen, found, self.sums.part(block), block.min(0), block.max(0))

    def take(self, found: Look) -> None:
        """Count what was found in a block."""
        self.finite[found.here], self.digests[found.here] = found.finite, found.digests
        self.sample.append(found.sample)
        self.implausible += found.implausible
        self.plausible[[row.number for row in found.implausible]] = False
        if found.part is not None:
            self.low = np.minimum(self.low, found.low)
            self.high = np.maximum(self.high, found.high)
            self.sums.take(found.part)

    def summary(self, drop_nonfinite: bool) -> RowSummary:
        nonfinite = self.n - int(self.finite.sum())
        if nonfinite and not drop_nonfinite:
            raise UserError(
                f"{self.name}: {nonfinite:,} of {self.n:,} rows hold NaN or infinite "
                f"numbers, the first is row {int(self.finite.argmin())}; --drop-nonfinite leaves "
                "them out"
            )
        kept = self.finite & self.plausible
        n = int(kept.sum())
        if n < 2:
            raise UserError(f"{self.name}: {n} usable rows, where at least 2 are needed")
        usable = kept[self.chosen]
        usable[usable] = _first_of_each(self.digests[self.chosen[usable]])
        return RowSummary(
            moments=self.sums.moments(),
            kept=None if n == self.n else kept,
            nonfinite=nonfinite,
            first_nonfinite=int(self.finite.argmin()) if nonfinite else -1,
            implausible=tuple(self.implausible),
            duplicates=find_duplicates(self.digests, np.flatnonzero(kept)),
            constant=np.flatnonzero(self.low == self.high),
            sample=np.concatenate(self.sample)[usable],
            sample_rows=self.chosen[usable],
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
    multiplicity = float((sizes.astype(np.float64) ** 2).sum() / len(order))
    return Duplicates(int((sizes - 1).sum()), groups, multiplicity)
