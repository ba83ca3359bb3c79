"""The tables of a LeRobot data set: every column of every file, and which row is which step."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.arrow import Ragged, column_values, is_numeric
from isojepa.world.episodes.formats.rows import Order, in_order
from isojepa.world.episodes.formats.source import columns_missing, name_list

log = logging.getLogger(__name__)


class Tables(NamedTuple):
    """All rows, one file after the other."""

    root: Path
    files: list[Path]
    """Those with rows."""
    starts: list[int]
    """The first row of each file."""
    total: int
    columns: dict[str, np.ndarray]

    def place(self, row: int) -> str:
        """File and row, for messages."""
        i = int(np.searchsorted(self.starts, row, side="right")) - 1
        return f"{shown(self.files[i].relative_to(self.root))} row {row - self.starts[i]}"

    def numbers(self, name: str) -> np.ndarray:
        """A column of whole numbers.

        Raises:
            UserError: naming file and row of the first that is null or not whole.
        """
        values = self.columns[name].reshape(self.total, -1)[:, 0]
        wrong = np.flatnonzero(~(values == np.floor(values.astype(np.float64))))
        if len(wrong):
            value = values[wrong[0]]
            what = "null" if np.isnan(value) else f"{value:g}, no whole number"
            more = f" (and in {len(wrong) - 1} other rows)" if len(wrong) > 1 else ""
            raise UserError(
                f"{shown(self.root)}: {name} is {what} in {self.place(int(wrong[0]))}{more}; "
                "which step that row is cannot be known"
            )
        return values.astype(np.int64)

    def order(self) -> Order:
        """Rows by episode and frame.

        Raises:
            UserError: for nulls, holes and duplicates, by episode, frame, file and row.
        """
        episode, frame = self.numbers("episode_index"), self.numbers("frame_index")
        order = in_order(self.root, episode, frame, self.place)
        times = self.columns.get("timestamp")
        if times is not None:
            self._check_times(order, times.reshape(self.total)[order.rows])
        return order

    def _check_times(self, order: Order, times: np.ndarray) -> None:
        ends = np.cumsum(order.lengths)
        steps = np.diff(times, append=np.inf)
        steps[ends - 1] = np.inf
        null = np.isnan(times)
        wrong = null if null.any() else ~(steps > 0)
        if wrong.any():
            i = int(wrong.argmax())
            e = int(np.searchsorted(ends, i, side="right"))
            step = i - int(ends[e] - order.lengths[e])
            why = "is null" if null[i] else "is not followed by a later one"
            raise UserError(
                f"{shown(self.root)}: the timestamp of episode {order.ids[e]} at step {step} "
                f"({self.place(int(order.rows[i]))}) {why}"
            )


def read_tables(root: Path, files: list[Path]) -> Tables:
    """Read every numeric column of every file; empty files are left out.

    Raises:
        UserError: if a file cannot be read or misses what others have: an index, or `action`.
    """
    parts: list[dict[str, np.ndarray]] = []
    kept: list[Path] = []
    lost: set[str] = set()
    for file in files:

        def error(why: str, file: Path = file) -> UserError:
            return UserError(f"{shown(file)}: not a readable table ({why})")

        with reading(file, "a table", error):
            kinds = {field.name: field.type for field in pq.read_schema(file)}
            names = [name for name, kind in kinds.items() if is_numeric(kind)]
            table = pq.ParquetFile(file).read(columns=names)
        for wanted in ("episode_index", "frame_index"):
            if wanted not in names:
                raise columns_missing(file, wanted, kinds)
        if "action" in kinds and "action" not in names:
            raise UserError(f"{shown(file)}: 'action' is of type {kinds['action']}, not numbers")
        if not table.num_rows:
            continue
        part = {}
        for name in names:
            try:
                with reading(file, "a table", error):
                    part[name] = column_values(table.column(name))
            except Ragged as ragged:
                if name == "action":
                    raise UserError(f"{shown(file)}: 'action' has {ragged}") from ragged
                lost.add(name)
        parts.append(part)
        kept.append(file)
    if not parts:
        raise UserError(f"{shown(root)}: the data set holds no episodes (its tables have no rows)")
    sizes = [len(part["episode_index"]) for part in parts]
    columns = _joined(root, kept, parts, lost)
    starts = [0, *np.cumsum(sizes)[:-1].tolist()]
    return Tables(root, kept, starts, sum(sizes), columns)


def _joined(
    root: Path, files: list[Path], parts: list[dict[str, np.ndarray]], lost: set[str]
) -> dict[str, np.ndarray]:
    columns = {}
    for name in {name: None for part in parts for name in part}:
        lacking = [file for file, part in zip(files, parts) if name not in part]
        shapes = {part[name].shape[1:] for part in parts if name in part}
        if not lacking and len(shapes) == 1:
            columns[name] = np.concatenate([part[name] for part in parts])
        elif name in {"action", "timestamp"}:
            without = name_list(f.relative_to(root) for f in lacking)
            why = f"no column in {without}, and there is one in"
            why = why if lacking else f"{len(shapes)} different lengths in"
            raise UserError(f"{shown(root)}: {name!r} has {why} other files")
        else:
            lost.add(name)
    if lost:
        log.warning(
            "%s: without the columns %s, which differ in length or lack in some files",
            shown(root), name_list(sorted(lost)),
        )  # fmt: skip
    return columns
