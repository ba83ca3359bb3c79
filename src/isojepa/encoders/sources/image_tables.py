"""Parquet and Arrow files with a column of pictures, as Hugging Face's `datasets` writes them.

Read with pyarrow alone. Parquet is read by row groups, the last few of which are kept; Arrow files
are memory-mapped, so that any row can be had at any time.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int64

from isojepa.boundaries import Blob, reading, shown
from isojepa.encoders.sources.folder import Listing, indexed
from isojepa.encoders.sources.image_columns import ImageColumns, choose_columns, class_name
from isojepa.encoders.sources.items import Joined
from isojepa.encoders.sources.named_parts import distinct, held_out_by_name
from isojepa.errors import UserError
from isojepa.pixels.items import Item
from isojepa.pixels.unreadable import Unreadable

WHAT = "a table of images"
KEPT_BYTES = 2**28  # of row groups of Parquet


class Pictures:
    """The cells of one file's column of pictures: all of an Arrow file, row groups of Parquet."""

    def __init__(self, path: Path, columns: ImageColumns, starts: Int64[np.ndarray, " g"]) -> None:
        self.path, self.columns = path, columns
        self.starts = starts
        """First row of each group, and the number of rows at the end."""
        self._groups: OrderedDict[int, pa.ChunkedArray] = OrderedDict()
        self._lock = Lock()

    def item(self, place: int) -> Item:
        group = int(np.searchsorted(self.starts, place, side="right")) - 1
        with reading(self.path, WHAT, Unreadable):
            cell = self._cells(group)[place - int(self.starts[group])]
            content = (cell["bytes"] if self.columns.nested else cell).as_py()
        if content is None:
            raise Unreadable("no picture in this row")
        return Blob(f"{self.path.name}, row {place}", content)

    def home(self, _place: int) -> Path:
        """The file, with which its rows change."""
        return self.path

    def _cells(self, group: int) -> pa.ChunkedArray:
        with self._lock:  # a reader of Parquet serves one thread at a time
            if group not in self._groups:
                self._groups[group] = self._read(group)
                while len(self._groups) > 1 and self._size() > KEPT_BYTES:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            return self._groups[group]

    def _size(self) -> int:
        return sum(cells.nbytes for cells in self._groups.values())

    def _read(self, group: int) -> pa.ChunkedArray:
        if is_parquet(self.path):
            with pq.ParquetFile(self.path) as file:
                table = file.read_row_group(group, columns=[self.columns.content])
            return table.column(0)
        return read_arrow(self.path).column(self.columns.image)


class TableOfImages(NamedTuple):
    """One file, read but for its pictures."""

    pictures: Pictures
    rows: int
    paths: list[str | None]
    """What the file calls its pictures, None where it does not."""
    labels: list[str | None]
    notes: list[str]


def list_tables(paths: Sequence[Path]) -> Listing:
    """List the pictures of Parquet or Arrow files, with labels from a column of classes.

    Raises:
        UserError: for a file that cannot be read, or in which the column of pictures is missing or
            not clear.
    """
    prefixes = distinct(paths)
    tables = [read_table(path) for path in paths]
    counts = [table.rows for table in tables]
    if not sum(counts):
        raise UserError(f"--data {shown(paths[0])}: a table without rows")
    test, said = held_out_by_name([_part(prefix) for prefix in prefixes], counts)
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    return Listing(
        paths[0] if len(paths) == 1 else paths[0].parent,
        [name for prefix, table in zip(prefixes, tables) for name in _names(prefix, table)],
        *indexed([label for table in tables for label in table.labels]),
        test,
        notes=(*notes, *said),
        source=Joined([(table.pictures, table.rows) for table in tables]),
    )


def read_table(path: Path) -> TableOfImages:
    """Read a file's columns but for the pictures themselves.

    Raises:
        UserError: if it cannot be read, or its columns do not tell which are the pictures.
    """
    with reading(path, WHAT):
        if is_parquet(path):
            with pq.ParquetFile(path) as file:
                schema, rows = file.schema_arrow, file.metadata.num_rows
                groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        else:
            table = read_arrow(path)
            schema, rows, groups = table.schema, len(table), [len(table)]
    columns = choose_columns(path, schema)
    wanted = [name for name in (columns.path, columns.label) if name is not None]
    with reading(path, WHAT):
        if is_parquet(path):
            with pq.ParquetFile(path) as file:
                table = file.read(columns=wanted)
        else:
            table.column(columns.image).validate(full=True)  # offsets beyond the file's end
        named: list[str | None] = [None] * rows
        if columns.path is not None:
            named = _field(table.column(columns.image), "path").to_pylist()
        labels: list[str | None] = [None] * rows
        if columns.label is not None:
            labels = [class_name(x, columns) for x in table.column(columns.label).to_pylist()]
    starts = np.concatenate([[0], np.cumsum(groups, dtype=np.int64)]).astype(np.int64)
    pictures = Pictures(path, columns, starts)
    return TableOfImages(
        pictures, rows, named, labels, [f"{shown(path.name)}: {n}" for n in columns.notes]
    )


def is_parquet(path: Path) -> bool:
    """Whether a file is read as Parquet, by its ending."""
    return path.suffix.lower() in {".parquet", ".pq"}


def read_arrow(path: Path) -> pa.Table:
    """An Arrow file, or the stream that `datasets` writes, memory-mapped.

    Raises:
        ValueError: for version 1 of Feather, at which damaged files end the process.
    """
    source = pa.memory_map(str(path))
    start = source.read(6)
    source.seek(0)
    if start.startswith(b"FEA1"):
        raise ValueError("version 1 of Feather; write it anew as Parquet")
    if start == b"ARROW1":
        return pa.ipc.open_file(source).read_all()
    return pa.ipc.open_stream(source).read_all()


def saved_parts(folder: Path) -> list[Path]:
    """The Arrow files of a folder that `save_to_disk` of `datasets` wrote; [] for other folders.

    Raises:
        UserError: if files are missing.
    """
    if (folder / "dataset_dict.json").is_file():
        splits = _json(folder / "dataset_dict.json").get("splits")
        names = splits if isinstance(splits, list) else []
        return [part for name in names for part in saved_parts(folder / _plain(folder, name))]
    if not (folder / "state.json").is_file():
        return []
    files = _json(folder / "state.json").get("_data_files")
    parts = [
        folder / _plain(folder, entry.get("filename") if isinstance(entry, dict) else entry)
        for entry in (files if isinstance(files, list) else [])
    ]
    missing = [part for part in parts if not part.is_file()]
    if missing or not parts:
        what = f"{shown(missing[0].name)} is missing" if missing else "state.json names no files"
        raise UserError(f"--data {shown(folder)}: a saved data set, of which {what}")
    return parts


def _json(path: Path) -> dict[str, object]:
    with reading(path, "JSON of `datasets`"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
    return content


def _plain(folder: Path, name: object) -> str:
    """A name that a saved data set gives one of its parts.

    Raises:
        UserError: if it leads out of the folder.
    """
    if not isinstance(name, str) or name != Path(name).name or name in {"", ".."}:
        raise UserError(f"--data {shown(folder)}: names {shown(str(name))!r} as a part of itself")
    return name


def _part(prefix: str) -> str:
    """What a file's name, or that of the folder of a saved split, says of its part."""
    folder, _, name = prefix.rpartition("/")
    is_saved = name.startswith("data-") and name.endswith(".arrow")
    return folder.rpartition("/")[2] if is_saved and folder else Path(name).stem


def _names(prefix: str, table: TableOfImages) -> list[str]:
    """A name for each row: what the file calls it, else its number."""
    paths = [path for path in table.paths if path]
    if len(paths) == table.rows == len(set(paths)):
        return [f"{prefix}/{path.lstrip('/')}" for path in paths]
    return [f"{prefix}/{row}" for row in range(table.rows)]


def _field(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    return pa.chunked_array([chunk.field(name) for chunk in column.chunks], pa.string())
