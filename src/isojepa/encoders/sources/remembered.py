"""What was found out about files, in a table from 64-bit keys to 64-bit values on the disk."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import numpy as np
from jaxtyping import Bool, UInt64

from isojepa.caches.folder import touch
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.runs.arrays import columns

ENTRY = np.dtype([("key", "<u8"), ("value", "<u8")])
CHECK_BYTES = 4


class Remembered(NamedTuple):
    """What is known, by column."""

    key: UInt64[np.ndarray, " n"]
    value: UInt64[np.ndarray, " n"]


EMPTY = Remembered(np.zeros(0, np.uint64), np.zeros(0, np.uint64))


def remembered(
    path: Path | None,
    keys: UInt64[np.ndarray, " n"],
    find_out: Callable[[list[int]], Iterator[int]],
    lasting: Callable[[], Bool[np.ndarray, " n"]] | None = None,
) -> UInt64[np.ndarray, " n"]:
    """The value of each key: from the table, else found out and kept there for the next time.

    The table holds afterwards what was asked for, and at most as much of what was known besides.

    Args:
        path: of the table; None without one.
        keys: 0 for what has none, and is found out each time.
        find_out: positions in `keys` -> their values, in order.
        lasting: which values may be kept, asked after they were found out; by default all.
    """
    table = EMPTY if path is None else read_remembered(path)
    values, known = looked_up(table, keys)
    missing = np.flatnonzero(~known)
    if not len(missing):
        if path is not None:
            touch(path)
        return values
    values[missing] = np.fromiter(find_out(missing.tolist()), np.uint64, len(missing))
    if path is not None:
        keep = keys != 0 if lasting is None else (keys != 0) & lasting()
        others = np.flatnonzero(~np.isin(table.key, keys))[: len(keys)]
        key = np.concatenate([keys[keep], table.key[others]])
        _write(path, Remembered(key, np.concatenate([values[keep], table.value[others]])))
    return values


def looked_up(
    table: Remembered, keys: UInt64[np.ndarray, " n"]
) -> tuple[UInt64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """The values of keys, and which of them the table has."""
    values, known = np.zeros(len(keys), np.uint64), np.zeros(len(keys), bool)
    if len(table.key):
        order = np.argsort(table.key, kind="stable")
        places = order[np.searchsorted(table.key, keys, sorter=order).clip(max=len(order) - 1)]
        known = (table.key[places] == keys) & (keys != 0)
        values[known] = table.value[places[known]]
    return values, known


def read_remembered(path: Path) -> Remembered:
    """The table; an empty one where there is none, or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return EMPTY
    rows, check = content[:-CHECK_BYTES], content[-CHECK_BYTES:]
    if len(rows) % ENTRY.itemsize or crc32(rows).to_bytes(CHECK_BYTES, "little") != check:
        return EMPTY
    return columns(Remembered, np.frombuffer(rows, ENTRY))


def _write(path: Path, table: Remembered) -> None:
    rows = np.rec.fromarrays(table, ENTRY).tobytes()
    with suppress(OSError, UserError):  # where the cache cannot be written, the images' own says so
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, rows + crc32(rows).to_bytes(CHECK_BYTES, "little"))
