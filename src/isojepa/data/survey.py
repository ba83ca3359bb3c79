"""What the images of a folder are like, taken together: said aloud where it may surprise."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from isojepa.boundaries import shown
from isojepa.data.deep import DEEPEST, depth
from isojepa.data.pixels import Square

DARK = 16  # deep pixels below a 16th of white keep four of eight bits


class Kind(NamedTuple):
    """How many files are of a kind, and one of them."""

    count: int = 0
    example: str = ""

    def met(self, name: str, yes: bool) -> "Kind":
        """One more where `yes`; the first one met is the example."""
        return Kind(self.count + yes, self.example or name * yes)


class Survey:
    """Counts over the files of a folder, in constant memory but for the deep ones."""

    def __init__(self, side: int, channels: int) -> None:
        self.side, self.channels = side, channels
        self.total = 0
        self.coloured = self.colourful = self.several = self.flat = self.small = Kind()
        self.bands: dict[int, Kind] = {}
        self.deep: dict[int, tuple[int, int]] = {}
        """Peak and bright end of the deep files, by position in the listing."""
        self.names: dict[int, str] = {}
        self._first: int | None = None
        self._equal = 0

    def add(self, position: int, name: str, square: Square) -> None:
        """Take one readable file into account."""
        seen, pixels = square.seen, square.pixels
        self.total += 1
        self.coloured = self.coloured.met(name, not seen.grey)
        if self.channels == 3 and not seen.grey:
            self.colourful = self.colourful.met(name, not _is_grey(pixels))
        self.several = self.several.met(name, seen.several)
        self.flat = self.flat.met(name, _is_flat(pixels))
        self.small = self.small.met(name, 2 * seen.short_side < self.side)
        if seen.bands:
            self.bands[seen.bands] = self.bands.get(seen.bands, Kind()).met(name, True)
        if seen.peak is not None:
            self.deep[position] = seen.peak, seen.bright
            self.names[position] = name
        digest = zlib.crc32(pixels.tobytes())
        self._first = digest if self._first is None else self._first
        self._equal += digest == self._first

    def bits(self) -> int | None:
        """The fewest bits that hold every deep pixel of the folder; None without any."""
        return depth(max(peak for peak, _ in self.deep.values())) if self.deep else None

    def notes(self, bits: int | None) -> list[str]:
        """What to say of the folder, a line each.

        Args:
            bits: those by which deep pixels were scaled.
        """
        found = [*self._of_colours(), *self._of_structure(), *self._of_contents()]
        return found if bits is None else [*self._of_depth(bits), *found]

    def _of_depth(self, bits: int) -> Iterator[str]:
        if not self.deep:
            return
        white, (top, (peak, _)) = 2**bits - 1, max(self.deep.items(), key=lambda item: item[1][0])
        where = f"in {shown(self.names[top])}"
        if bits != DEEPEST and depth(peak) <= bits:
            yield (
                f"{_of(len(self.deep), self.total)} hold integers of more than 8 bits, at most "
                f"{peak} ({where}): 0 to {white} become black to white"
            )
        beyond = sum(peak > white for peak, _ in self.deep.values())
        if beyond:
            yield (
                f"{_of(beyond, self.total)} hold values beyond {white}, the white that was settled "
                f"in training, up to {peak} ({where}): they are cut to white"
            )
        dark = [i for i, (_, bright) in self.deep.items() if bright * DARK <= white]
        if dark:
            yield (
                f"{_of(len(dark), self.total)} are nearly black, for example "
                f"{shown(self.names[dark[0]])}: white is {white} because of {peak} {where}; "
                "if these are outliers or another kind of image, take them out or rescale them"
            )

    def _of_colours(self) -> Iterator[str]:
        coloured, grey = self.coloured.count, self.total - self.coloured.count
        if self.channels == 3 and coloured and not self.colourful.count:
            yield (
                f"all {self.total} images hold grey only, though {coloured} are stored in colour: "
                "--channels 1 in training reads them as grey"
            )
        elif coloured and (grey or self.channels == 1):
            other = {1: "grey; --channels 3 in training keeps", 3: "colour; without them, or with"}
            few = f"{_of(coloured, self.total)} {'is' if coloured == 1 else 'are'} in colour"
            also = f", {grey} {'is' if grey == 1 else 'are'} grey" if grey else ""
            yield (
                f"{few} (for example {shown(self.coloured.example)}){also}: all are read in "
                + other[self.channels]
                + (" colours" if self.channels == 1 else " --channels 1, all are grey")
            )

    def _of_structure(self) -> Iterator[str]:
        if self.several.count:
            yield (
                f"{_of(self.several.count, self.total)} hold several pages or frames (for example "
                f"{shown(self.several.example)}): the first of each is read"
            )
        for bands, kind in sorted(self.bands.items()):
            read = 1 if bands == 2 else min(3, bands - 1)
            yield (
                f"{_of(kind.count, self.total)} hold {bands} bands (for example "
                f"{shown(kind.example)}): the first{f' {read}' if read > 1 else ''} of them "
                f"{'is' if read == 1 else 'are'} read as {'grey' if read == 1 else 'colours'}"
            )
        if self.small.count:
            yield (
                f"{_of(self.small.count, self.total)} are less than half as large as the "
                f"{self.side} px to which all are brought (for example "
                f"{shown(self.small.example)}): they are enlarged"
            )

    def _of_contents(self) -> Iterator[str]:
        if self.total > 1 and self._equal == self.total:
            yield f"all {self.total} images are equal: there is nothing to tell apart"
        elif self.flat.count:
            yield (
                f"{_of(self.flat.count, self.total)} are of one single colour (for example "
                f"{shown(self.flat.example)})"
            )


def _of(count: int, total: int) -> str:
    return f"{count} of {total} images"


def _is_grey(pixels: np.ndarray) -> bool:
    return bool((pixels[0] == pixels[1]).all() and (pixels[0] == pixels[2]).all())


def _is_flat(pixels: np.ndarray) -> bool:
    return bool((pixels == pixels[:, :1, :1]).all())
