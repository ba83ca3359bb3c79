"""Decoded squares of one size in a folder, a row each, known by their images' contents.

`squares` holds the pixels, row after row, and `rows` a record of each: whose they are, what the
image was like, and checksums of the pixels and of the record itself. A row is there once its record
is, which is written after its pixels; it never changes again, and files only grow. So whoever is
killed leaves rows that are whole or absent, and readers need no lock. `unreadable.jsonl` holds
the reasons of images that cannot be read, a line each.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt32, UInt64

from isojepa.caches.folder import remove, writing_to
from isojepa.caches.positioned import Positioned
from isojepa.pixels.deep import depth
from isojepa.pixels.square import ImageInfo, Square
from isojepa.runs.arrays import columns

KINDS: dict[Any, str] = {bool: "u1", int: "<i8", int | None: "<i8"}
"""How a record holds a field of `ImageInfo`."""
NONE = -(2**63)
FIELDS = get_type_hints(ImageInfo)
RECORD = np.dtype([
    ("mark", "<u8"), ("aspect", "<f8"), *((name, KINDS[kind]) for name, kind in FIELDS.items()),
    ("scale", "<i8"),  # depth by which deep pixels were scaled, 0 for others
    ("own", "u1"),  # whether that is the image's own depth
    ("check", "<u4"),
])  # fmt: skip
PIXELS, ROWS, REASONS = "squares", "rows", "unreadable.jsonl"


class FoundSquares(NamedTuple):
    """Where images are in a store."""

    rows: Int64[np.ndarray, " n"]
    """Row of each, -1 of those that have none."""
    refused: Bool[np.ndarray, " n"]
    """Whether it is known that an image cannot be read."""

    @property
    def missing(self) -> Bool[np.ndarray, " n"]:
        """Whether nothing is known of an image."""
        return (self.rows < 0) & ~self.refused


class Known(NamedTuple):
    """Columns of the records, by name; see `RECORD`."""

    mark: np.ndarray
    aspect: np.ndarray
    peak: np.ndarray
    scale: np.ndarray
    own: np.ndarray
    digest: np.ndarray
    check: np.ndarray


class Store:
    """One folder of squares. Opening it reads the records; pixels are read when asked for."""

    def __init__(self, folder: Path, side: int, channels: int) -> None:
        """Open a store that is there.

        Raises:
            OSError: if it cannot be opened.
        """
        self.folder, self.shape = folder, (channels, side, side)
        self.row_bytes = channels * side * side
        self._pixels, self._rows = Positioned(folder / PIXELS), Positioned(folder / ROWS)
        size = self._rows.size()
        self.records = np.frombuffer(self._rows.read(size - size % RECORD.itemsize, 0), RECORD)
        fit = self._pixels.size() // self.row_bytes
        self.good = columns(Known, self.records).check == _checks(self.records)
        self.truncated = bool(self.good[fit:].any() or fit > len(self.records))
        self.good[fit:] = False
        self._verified = np.zeros(len(self.records), bool)
        self.reasons = dict(_reasons(folder / REASONS))

    @staticmethod
    def made(folder: Path, side: int, channels: int) -> "Store":
        """An empty store, in the place of what lies in the folder.

        Raises:
            Uncacheable: if it cannot be written.
        """
        with writing_to(folder):
            remove(folder)
            folder.mkdir(parents=True)
            (folder / PIXELS).touch()
            (folder / ROWS).touch()
            return Store(folder, side, channels)

    def find(self, marks: UInt64[np.ndarray, " n"], bits: int | None) -> FoundSquares:
        """The rows of images.

        Args:
            marks: of the images' contents.
            bits: by which deep pixels have to be scaled; None for each image by its own depth.
        """
        known = columns(Known, self.records)
        scaled = known.own == 1 if bits is None else known.scale == bits
        rows = np.flatnonzero(self.good & ((known.scale == 0) | scaled))
        rows = rows[np.argsort(known.mark[rows], kind="stable")]
        found = np.full(len(marks), -1, np.int64)
        if len(rows):
            places = np.searchsorted(known.mark[rows], marks).clip(max=len(rows) - 1)
            same = known.mark[rows[places]] == marks
            found[same] = rows[places[same]]
        refused = np.array([mark for mark, by in self.reasons if by == bits], np.uint64)
        return FoundSquares(found, np.isin(marks, refused) & (found < 0))

    def squares(self, rows: Int64[np.ndarray, " n"]) -> Iterator[Square]:
        """What is known of the images of rows; their pixels are left out."""
        table, nothing = self.records[rows], np.empty((self.shape[0], 0, 0), np.uint8)
        info = [_values(kind, table[name]) for name, kind in FIELDS.items()]
        for aspect, *values in zip(columns(Known, table).aspect.tolist(), *info):
            yield Square(nothing, aspect, ImageInfo(*values))

    def aspects(self, rows: Int64[np.ndarray, " n"]) -> np.ndarray:
        """Width over height of the images of rows."""
        return columns(Known, self.records).aspect[rows]

    def deep(self, rows: Int64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Whether the images of rows hold integers of more than 8 bits."""
        return np.asarray(columns(Known, self.records).peak[rows] != NONE)

    def read(self, row: int, into: UInt8[np.ndarray, "c s s"]) -> bool:
        """Read the pixels of a row; False where they are not what was written.

        They are compared with their checksum when this process reads them for the first time.
        """
        if not self._pixels.read_into(into, row * self.row_bytes):
            return False
        if not self._verified[row]:
            if crc32(into.data) != columns(Known, self.records).digest[row]:
                return False
            self._verified[row] = True
        return True

    def mend(self, row: int, pixels: UInt8[np.ndarray, "c s s"]) -> bool:
        """Write the pixels of a damaged row again; False where others were there."""
        same = crc32(pixels.data) == columns(Known, self.records).digest[row]
        if same:
            with suppress(OSError):
                self._pixels.write(pixels.tobytes(), row * self.row_bytes)
        return bool(same)

    def grow(self, count: int) -> list[int]:
        """Room for so many rows more, by their numbers: those that a build which was ended left
        empty come first. Only who holds the store's lock may ask.

        Raises:
            Uncacheable: if the disk refuses.
        """
        empty = np.flatnonzero(~_used(self.records))[:count].tolist()
        first, more = len(self.records), count - len(empty)
        with writing_to(self.folder):  # records first: pixels beyond them would be a sign of damage
            self._rows.resize((first + more) * RECORD.itemsize)
            self._pixels.resize((first + more) * self.row_bytes)
        self.records = np.concatenate([self.records, np.zeros(more, RECORD)])
        self.good = np.concatenate([self.good, np.zeros(more, bool)])
        self._verified = np.concatenate([self._verified, np.zeros(more, bool)])
        return [*empty, *range(first, first + more)]

    def write(
        self, rows: Sequence[int], marks: Sequence[int], squares: Sequence[Square], bits: int | None
    ) -> None:
        """Write rows: their pixels first, and when these are on the disk their records.

        Args:
            rows: as `grow` gave them.
            bits: by which deep pixels were scaled; None for each image by its own depth.

        Raises:
            Uncacheable: if the disk refuses.
        """
        table = np.array([_record(mark, x, bits) for mark, x in zip(marks, squares)], RECORD)
        columns(Known, table).check[:] = _checks(table)
        with writing_to(self.folder):
            for row, square in zip(rows, squares):
                self._pixels.write(square.pixels.tobytes(), row * self.row_bytes)
            self._pixels.flush()
            for row, record in zip(rows, table):
                self._rows.write(record.tobytes(), row * RECORD.itemsize)
        self.records[list(rows)] = table
        self.good[list(rows)] = True

    def refuse(self, reasons: dict[int, str], bits: int | None) -> None:
        """Note why images, by their marks, cannot be read with these bits.

        Raises:
            Uncacheable: if the disk refuses.
        """
        if not reasons:
            return
        # What a build that was ended left of a line stays a line of its own
        lines = "".join(f"\n{_line(mark, bits, why)}\n" for mark, why in reasons.items())
        path = self.folder / REASONS
        with writing_to(path), path.open("ab") as file:
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
        self.reasons |= {(mark, bits): why for mark, why in reasons.items()}


def _record(mark: int, square: Square, bits: int | None) -> tuple[Any, ...]:
    values = [NONE if value is None else value for value in square.info]
    peak = square.info.peak
    own = 0 if peak is None else depth(peak)
    scale = own if bits is None or peak is None else bits
    return (mark, square.aspect, *values, scale, scale == own, 0)


def _values(kind: Any, column: np.ndarray) -> list[Any]:
    if kind is bool:
        return column.astype(bool).tolist()
    values = column.tolist()
    return values if kind is int else [None if x == NONE else x for x in values]


def _used(table: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Whether anything was ever written to a record."""
    raw = np.frombuffer(table.tobytes(), np.uint8).reshape(len(table), RECORD.itemsize)
    return np.asarray(raw.any(1))


def _checks(table: np.ndarray) -> UInt32[np.ndarray, " n"]:
    """The checksum of each record, which is its last field; never 0."""
    raw, size = table.tobytes(), RECORD.itemsize
    found = [crc32(raw[i : i + size - 4]) or 1 for i in range(0, len(raw), size)]
    return np.array(found, np.uint32)


def _line(mark: int, bits: int | None, why: str) -> str:
    """A reason as a line, with a checksum of the rest."""
    return json.dumps([mark, bits, why, crc32(json.dumps([mark, bits, why]).encode())])


def _reasons(path: Path) -> Iterator[tuple[tuple[int, int | None], str]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in filter(None, lines):
        with suppress(ValueError, TypeError):  # a line that is not whole is as good as none
            mark, bits, why, _ = json.loads(line)
            if _line(mark, bits, why) == line:
                yield (mark, bits), why
