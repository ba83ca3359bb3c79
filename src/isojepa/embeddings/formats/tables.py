"""Tables of named columns -> `Samples`: one rule for every format."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from isojepa.boundaries import reading_each, shown
from isojepa.embeddings.formats.cells import NEARLY, to_numbers, unwrapped, vectors
from isojepa.embeddings.formats.choosing import few, match_columns
from isojepa.embeddings.formats.profile import Profile, is_list, lengths
from isojepa.embeddings.formats.roles import coordinates
from isojepa.embeddings.samples import Samples, samples_of
from isojepa.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns of a file, read as a stream."""

    path: Path
    names: tuple[str, ...]
    batches: Callable[[Sequence[str] | None, frozenset[str]], Iterator[pa.RecordBatch]]
    """Names of columns, None for all, and those of them without a bad cell -> their rows."""
    named: bool = True
    """Whether the names are the file's own."""
    comma: bool = False
    """Whether text has decimal commas."""
    notes: tuple[str, ...] = ()

    def read(
        self, columns: Sequence[str] | None, clean: frozenset[str] = frozenset()
    ) -> Iterator[pa.RecordBatch]:
        """Batches of the columns, by name.

        Raises:
            UserError: for whatever the library raises.
        """
        yield from reading_each(self.path, "a table", self.batches(columns, clean))


def open_table(table: Table, patterns: tuple[str, ...], missing: bool) -> Samples:
    """One sample a row: columns of numbers, or one column of lists of equal length.

    Args:
        patterns: the columns to use; () for those that are coordinates.
        missing: whether cells that are no numbers are read as missing ones.

    Raises:
        UserError: if no column can be read, or it is not clear which.
    """
    if len(set(table.names)) < len(table.names):
        twice = next(name for name in table.names if table.names.count(name) > 1)
        raise UserError(f"{shown(table.path)}: two columns share a name: {shown(twice)}")
    asked = match_columns(table.path, table.names, patterns) if patterns else None
    profiles = profile(table, asked)
    n = profiles[0].rows if profiles else 0
    if n == 0:
        raise UserError(f"{shown(table.path)}: holds no rows")
    lists = [p for p in profiles if p.lists or p.is_vectors]
    if len(lists) > 1:
        names = few([shown(p.name) for p in lists])
        raise UserError(
            f"{shown(table.path)}: several columns of lists, choose one with --columns: {names}"
        )
    if lists:
        return _from_vectors(table, lists[0], n, len(profiles) > 1)
    _refuse_bad_cells(
        table, [p for p in profiles if p.is_text and p.is_nearly_numbers], missing=False
    )
    notes: tuple[str, ...] = ()
    if asked is not None:
        chosen = _check_asked(table.path, profiles)
    else:
        chosen, notes = coordinates(table.path, profiles, table.named)
    _refuse_bad_cells(table, chosen, missing)
    return _from_columns(table, chosen, n, notes)


def profile(table: Table, columns: Sequence[str] | None) -> list[Profile]:
    """What the values of each column say of it."""
    names = table.names if columns is None else columns
    profiles = {name: Profile(name) for name in names}
    for batch in table.read(columns):
        for name in names:  # Parquet also gives a.b where a was asked for
            profiles[name].add(batch.column(name), table.comma)
    return list(profiles.values())


def _check_asked(path: Path, profiles: Sequence[Profile]) -> list[Profile]:
    text = [shown(p.name) for p in profiles if p.is_text or p.nested or p.is_empty]
    if text:
        raise UserError(f"--columns: {few(text)} of {shown(path)} holds no numbers")
    return list(profiles)


def _refuse_bad_cells(table: Table, chosen: Sequence[Profile], missing: bool) -> None:
    bad = [p for p in chosen if p.bad]
    if not bad or missing:
        return
    worst = min(bad, key=lambda p: p.first_bad or (0, ""))
    row, cell = worst.first_bad or (0, "")
    total = sum(p.bad for p in bad)
    comma = _remark(table, cell)
    raise UserError(
        f"{shown(table.path)}: {_cell(cell)} in row {row:,} of column {shown(worst.name)} is no "
        f"number{comma} ({total:,} such cells, rows count from 0); mend it, or --drop-nonfinite "
        "leaves such rows out, or --columns names the columns to use"
    )


def _remark(table: Table, cell: str) -> str:
    if not NEARLY.fullmatch(cell.strip()):
        return ""
    return f"; other numbers have decimal {'commas' if table.comma else 'points'}"


def _cell(text: str, most: int = 40) -> str:
    return f"'{shown(text if len(text) <= most else text[: most - 1] + '…')}'"


def _from_columns(
    table: Table, chosen: Sequence[Profile], n: int, notes: tuple[str, ...]
) -> Samples:
    names = [p.name for p in chosen]
    clean = frozenset(p.name for p in chosen if not (p.bad or p.tidied))
    empty = [i for i, p in enumerate(chosen) if p.is_empty]

    def read(rows: int) -> Iterator[np.ndarray]:
        for batch in table.read(names, clean):
            for start in range(0, batch.num_rows, rows):
                part = batch.slice(start, rows)
                columns = [to_numbers(unwrapped(part.column(name)), table.comma) for name in names]
                rows_here = np.stack([c.values for c in columns if c is not None], axis=1)
                rows_here[:, empty] = 0
                yield rows_here

    kinds = [p.kind for p in chosen if p.kind is not None]
    return samples_of(
        shown(table.path.name),
        (n, len(names)),
        np.result_type(*kinds, *_wide(chosen)),
        read,
        columns=tuple(map(shown, names)) if table.named else (),
        notes=table.notes + notes,
    )


def _wide(chosen: Sequence[Profile]) -> list[type]:
    """Numbers from text are float64."""
    return [np.float64] if any(p.text for p in chosen) else []


def _from_vectors(table: Table, chosen: Profile, n: int, others: bool) -> Samples:
    def read(rows: int) -> Iterator[np.ndarray]:
        seen = 0
        for batch in table.read([chosen.name]):
            for start in range(0, batch.num_rows, rows):
                part = unwrapped(batch.slice(start, rows).column(chosen.name))
                yield _matrix(table.path, chosen, part, seen)
                seen += len(part)

    blocks = read(256)
    first = next(blocks, np.empty((0, 0)))
    blocks.close()  # type: ignore[attr-defined]
    notes = list(table.notes)
    if chosen.is_vectors:
        notes.append(f"The lists written as text in column {shown(chosen.name)} are the samples.")
    elif others:
        notes.append(f"The lists in column {shown(chosen.name)} are the samples.")
    return samples_of(shown(table.path.name), (n, first.shape[1]), first.dtype, read, notes=notes)


def _matrix(path: Path, chosen: Profile, column: pa.Array, start: int) -> np.ndarray:
    """Lists of equal length, or written as text, as rows."""
    if chosen.is_vectors:
        text, column = column, vectors(column.cast(pa.string()))
        wrong = column.is_null().to_numpy(zero_copy_only=False)
        if wrong.any():
            row = int(wrong.argmax())
            cell = str(text[row].as_py())
            short = "..." in cell or "…" in cell
            why = (
                "was shortened with dots when it was written" if short else "is no list of numbers"
            )
            raise UserError(
                f"{shown(path)}: {_cell(cell)} in row {start + row:,} of column "
                f"{shown(chosen.name)} {why}; save the vectors with numpy.save(...)"
            )
    sizes = lengths(column) if is_list(column.type) else np.full(len(column), -1)
    if (sizes != sizes[:1]).any() or (sizes < 0).any():
        row = int(((sizes != sizes[:1]) | (sizes < 0)).argmax())
        there = f"{sizes[row]} in row" if sizes[row] >= 0 else "none in row"
        raise UserError(
            f"{shown(path)}: lists of different lengths, or none, where all must be equal: column "
            f"{shown(chosen.name)} has {sizes[0]} numbers in row {start:,}, {there} {start + row:,}"
        )
    inner = to_numbers(column.flatten())
    flat = np.empty(0) if inner is None else inner.values
    return flat.reshape(len(column), -1)
