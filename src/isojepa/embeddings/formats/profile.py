"""What the values of a column say of it: one pass over a table, whatever its format."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Int64, Shaped

from isojepa.embeddings.formats.cells import (
    NEARLY,
    is_number,
    is_vector_text,
    to_numbers,
    unwrapped,
)

MANY = 1000
"""Different values of a column that are told apart; no classification has more."""
LOOKED_AT = 50
"""Cells of text from which it is judged whether they are vectors."""
STEADY = 1e-6
"""Relative to the step; how far the steps of a clock may differ by rounding."""


@dataclass
class Profile:
    """What was seen of a column so far."""

    name: str
    rows: int = 0
    numbers: int = 0
    """Cells with a number, infinite ones too."""
    missing: int = 0
    bad: int = 0
    """Cells with something else in them."""
    first_bad: tuple[int, str] | None = None
    """Row and content."""
    cells: list[str] = field(default_factory=list)
    """The first of these."""
    kind: np.dtype | None = None
    """Of the numbers, as stored; None for text."""
    text: bool = False
    """Whether the numbers were written as text."""
    tidied: bool = False
    """Whether that text needs more than a plain parser."""
    boolean: bool = False
    lists: bool = False
    """Whether the cells are lists of numbers."""
    nested: bool = False
    """Whether they are lists of lists."""
    other: bool = False
    """Whether they are neither text nor numbers: dates, records and the like."""
    whole: bool = True
    low: float = np.inf
    high: float = -np.inf
    rising: bool = True
    """Whether each number is larger than the one before."""
    steady: bool = True
    """Whether each differs from the one before by as much."""
    values: set[float] | None = field(default_factory=set)
    """The different ones; None if there are more than `MANY`, or they are not whole."""
    last: float = np.nan
    step: float = np.nan
    sums: tuple[int, int] = (0, 0)
    """Of whole numbers and of their squares, modulo 2^64."""

    def add(self, column: pa.Array, comma: bool) -> None:
        """Take in the next rows."""
        column = unwrapped(column)
        start, self.rows = self.rows, self.rows + len(column)
        self.boolean |= pa.types.is_boolean(column.type)
        if is_list(column.type):
            inner = column.type.value_type
            self.nested |= is_list(inner)
            self.lists |= is_number(inner) or pa.types.is_null(inner)
            self.other |= not (self.lists or self.nested)
            self.missing += column.null_count
            return
        found = to_numbers(column, comma)
        if found is None:
            self.other = True
            return
        if not pa.types.is_null(column.type):
            self._take_kind(column.type, found.values.dtype)
        self.tidied |= found.tidied
        if found.bad is not None:
            self._take_bad(start, column, found.bad)
        numbers = found.values[~np.isnan(found.values)]
        bad = 0 if found.bad is None else int(found.bad.sum())
        self.missing += len(column) - len(numbers) - bad
        if len(numbers):
            self._take_numbers(numbers)

    def _take_kind(self, stored: pa.DataType, kind: np.dtype) -> None:
        if pa.types.is_string(stored) or pa.types.is_large_string(stored):
            self.text = True
        elif pa.types.is_integer(stored):
            kind = np.dtype(stored.to_pandas_dtype())
        self.kind = kind if self.kind is None else np.result_type(kind, self.kind)

    def _take_bad(self, start: int, column: pa.Array, bad: Bool[np.ndarray, " n"]) -> None:
        self.bad += int(bad.sum())
        if len(self.cells) < LOOKED_AT:
            rows = np.flatnonzero(bad)[: LOOKED_AT - len(self.cells)]
            cells = [str(column[row].as_py()) for row in rows.tolist()]
            if self.first_bad is None:
                self.first_bad = (start + int(rows[0]), cells[0])
            self.cells += cells

    def _take_numbers(self, x: Shaped[np.ndarray, " n"]) -> None:
        x = x.astype(np.float64, copy=False)
        first = self.numbers == 0
        self.numbers += len(x)
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        if self.rising or self.steady:
            self._take_steps(x if first else np.r_[self.last, x])
        self.last = float(x[-1])
        if not self.whole:
            return
        if not (np.isfinite(x).all() and (np.floor(x) == x).all()):
            self.whole, self.values = False, None
            return
        if np.abs(x).max() < 2**53:
            exact = x.astype(np.int64).astype(np.uint64)
            sums = (int(exact.sum()), int((exact * exact).sum()))
            self.sums = ((self.sums[0] + sums[0]) % 2**64, (self.sums[1] + sums[1]) % 2**64)
        if self.values is not None:
            self.values |= set(np.unique(x).tolist())
            self.values = self.values if len(self.values) <= MANY else None

    def _take_steps(self, x: Shaped[np.ndarray, " n"]) -> None:
        if len(x) < 2:
            return
        with np.errstate(invalid="ignore", over="ignore"):
            steps = np.diff(x)
            self.rising = self.rising and bool((steps > 0).all())
            self.step = float(steps[0]) if np.isnan(self.step) else self.step
            # Numbers written with few digits step unevenly by the last of them.
            allowed = STEADY * abs(self.step) + 4 * np.spacing(np.abs(x).max())
            self.steady = self.steady and bool((np.abs(steps - self.step) <= allowed).all())

    @property
    def is_text(self) -> bool:
        """Whether most cells hold something else than a number."""
        return self.other or self.bad > self.numbers

    @property
    def is_empty(self) -> bool:
        """Whether no cell holds anything."""
        return self.missing == self.rows and not (self.lists or self.nested or self.other)

    @property
    def is_vectors(self) -> bool:
        """Whether the cells are vectors written as text."""
        return self.is_text and self._most(is_vector_text)

    @property
    def is_nearly_numbers(self) -> bool:
        """Whether the cells that are no numbers would be in another notation."""
        return self._most(lambda cell: NEARLY.fullmatch(cell.strip()) is not None)

    def _most(self, fits: Callable[[str], bool]) -> bool:
        return bool(self.cells) and sum(map(fits, self.cells)) > 0.8 * len(self.cells)

    @property
    def is_constant(self) -> bool:
        """Whether all numbers are the same."""
        return self.low == self.high

    @property
    def counts(self) -> bool:
        """Whether the numbers number the rows, in order or not, or rise by the same step."""
        if self.numbers < 3 or self.is_constant:
            return False
        return (self.steady and self.step != 0) or (self.whole and (self.rising or self._permuted))

    @property
    def _permuted(self) -> bool:
        """Whether they are lo, lo + 1, ..., hi in any order: their sums and squares say so."""
        n = self.numbers
        if self.high - self.low != n - 1 or max(abs(self.low), abs(self.high)) >= 2**53:
            return False
        low = int(self.low)
        total = n * low + n * (n - 1) // 2
        squares = n * low**2 + low * n * (n - 1) + (n - 1) * n * (2 * n - 1) // 6
        return self.sums == (total % 2**64, squares % 2**64)

    @property
    def differ(self) -> bool:
        """Whether whole numbers differ in practically every row, as those of ids do."""
        if not self.whole:
            return False
        if self.values is None:
            return self.high - self.low > 10 * MANY
        return len(self.values) >= 0.99 * self.numbers

    @property
    def few(self) -> bool:
        """Whether there are as few different whole numbers as of classes, -1 for none of them."""
        if not self.whole or self.values is None or self.low < -1:
            return False
        return len(self.values) <= max(2, min(MANY, self.numbers // 5))


def is_list(kind: pa.DataType) -> bool:
    """Whether a type holds lists."""
    return (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def lengths(column: pa.Array) -> Int64[np.ndarray, " n"]:
    """How many numbers each list holds; -1 for a list that is not there."""
    sizes = pc.fill_null(pc.list_value_length(column).cast(pa.int64()), -1)
    return sizes.to_numpy(zero_copy_only=False)
