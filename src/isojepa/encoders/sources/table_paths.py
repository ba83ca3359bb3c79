"""Which file a cell of a table means, however the table writes its paths."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from isojepa.encoders.sources.listing import ending, image_endings


class Spelling(NamedTuple):
    """A way in which a table writes paths."""

    above: int
    """Folders at the beginning that the table has and the listing has not."""
    base: bool
    """Only the last part counts, of names in the listing too."""
    stem: bool
    """Without the ending."""
    fold: bool
    """Whatever the letter case."""


AS_LISTED = Spelling(0, False, False, False)
BY_BASE = Spelling(0, True, False, False)


class FileIndex:
    """Look-up of files by the ways in which tables write them."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self._index: dict[tuple[bool, bool, bool], dict[str, int]] = {}

    def index(self, spelling: Spelling) -> dict[str, int]:
        """Position by key; -1 for a key that several files have."""
        kind = spelling[1:]
        if kind not in self._index:
            own = spelling._replace(above=0)
            index: dict[str, int] = {}
            for i, name in enumerate(self.names):
                key = name if own == AS_LISTED else _key(name, own)
                index[key] = -1 if key in index else i
            self._index[kind] = index
        return self._index[kind]

    def is_exactly(self, cell: str) -> bool:
        return clean(cell) in self.index(AS_LISTED)

    def find(self, cell: str, spelling: Spelling) -> int | None:
        i = self.index(spelling).get(_key(clean(cell), spelling), -1)
        return None if i < 0 else i

    def finder(self, spelling: Spelling) -> Callable[[str], int | None]:
        """`find` of one spelling, quick for cells that are written as the listing has them."""
        listed = self.index(AS_LISTED) if spelling == AS_LISTED else {}
        return lambda cell: listed.get(cell, -1) if cell in listed else self.find(cell, spelling)

    def is_ambiguous(self, cell: str, spelling: Spelling) -> bool:
        return self.index(spelling).get(_key(clean(cell), spelling)) == -1

    def spelling(self, cells: list[str]) -> Spelling:
        """The strictest of the ways under which most of the cells name a file."""
        best, most = AS_LISTED, 0
        for way in _ways(cells):
            count = self._count(cells, way)
            if count > most:
                best, most = way, count
            if 3 * count >= len(cells):  # a table may well list more than the folder holds
                break
        return best

    def shares(self, columns: list[list[str]]) -> list[float]:
        """The share of each column's cells that name a file, under the strictest way that fits."""
        columns = [cells[:: max(1, len(cells) // 100)] for cells in columns]
        counts = [0] * len(columns)
        for way in _ways([cell for cells in columns for cell in cells]):
            for k, cells in enumerate(columns):
                counts[k] = max(counts[k], self._count(cells, way))
            # One cell is that of a header; what only looser ways find need not be looked for
            if any(n and n >= 0.9 * len(x) - 1 for n, x in zip(counts, columns, strict=True)):
                break
        return [n / max(1, len(cells)) for n, cells in zip(counts, columns, strict=True)]

    def _count(self, cells: list[str], way: Spelling) -> int:
        return sum(self.find(cell, way) is not None for cell in cells)


def _ways(cells: list[str]) -> Iterator[Spelling]:
    """Ways to write paths, the strictest first."""
    deepest = max((clean(cell).count("/") for cell in cells), default=0)
    for fold in (False, True):
        for stem in (False, True):
            for above in range(deepest + 1):
                yield Spelling(above, False, stem, fold)
            yield Spelling(0, True, stem, fold)


def clean(cell: str) -> str:
    """A cell as a path with forward slashes, without ./ and blanks around it."""
    cell = cell.strip()
    if "\\" in cell:
        cell = re.sub(r"^[A-Za-z]:", "", cell).replace("\\", "/")
    while "./" in cell and (cell.startswith("./") or "/./" in cell):
        cell = cell.removeprefix("./").replace("/./", "/")
    return re.sub("/{2,}", "/", cell).lstrip("/") if "/" in cell else cell


def _key(path: str, spelling: Spelling) -> str:
    if spelling.above:
        path = path.split("/", spelling.above)[-1]
    if spelling.base:
        path = path.rpartition("/")[2]
    if spelling.stem:
        stem, dot, end = path.rpartition(".")
        path = stem if dot and f".{end.lower()}" in image_endings() else path
    return path.casefold() if spelling.fold else path


def overlooked(spelling: Spelling, cells: list[str], names: list[str]) -> Iterator[str]:
    """What was overlooked in taking the table's paths for files."""
    if spelling.base and any("/" in clean(cell) for cell in cells):
        yield "its folders are not those of --data: files are found by their names alone"
    ends = {ending(clean(cell)) for cell in cells} & image_endings()
    if spelling.stem and not spelling.fold and ends - set(map(ending, names)):
        yield f"its paths end in {', '.join(sorted(ends))}: files are found without their endings"
    if spelling.fold:
        yield "its paths have other letter case than the files"
