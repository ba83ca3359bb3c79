"""What the images of a folder are like, taken together: said aloud where it may surprise."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from isojepa.boundaries import shown
from isojepa.pixels.deep import DEEPEST, depth
from isojepa.pixels.square import Square

DARK = 16  # deep pixels below a 16th of white keep four of eight bits


class Kind(NamedTuple):
    """How many files are of a kind, and one of them."""

    files: int = 0
    example: str = ""

    def met(self, name: str, yes: bool) -> "Kind":
        """One more where `yes`; the first one met is the example."""
        return Kind(self.files + yes, self.example or name * yes)


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
        info = square.info
        self.total += 1
        self.coloured = self.coloured.met(name, not info.grey)
        self.colourful = self.colourful.met(name, info.colourful)
        self.several = self.several.met(name, info.several)
        self.flat = self.flat.met(name, info.flat)
        self.small = self.small.met(name, 2 * info.short_side < self.side)
        if info.bands:
            self.bands[info.bands] = self.bands.get(info.bands, Kind()).met(name, True)
        if info.peak is not None:
            self.deep[position] = info.peak, info.bright
            self.names[position] = name
        self._first = info.digest if self._first is None else self._first
        self._equal += info.digest == self._first

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
        white, top = 2**bits - 1, max(self.deep, key=lambda i: self.deep[i][0])
        peak, where = self.deep[top][0], shown(self.names[top])
        if bits != DEEPEST and peak <= white:
            yield (
                f"{self._of(self._where(lambda *_: True), 'holds', 'hold')} integers of more than "
                f"8 bits, at most {peak} (in {where}): 0 to {white} become black to white"
            )
        beyond = self._where(lambda peak, _: peak > white)
        if beyond.files:
            yield (
                f"{self._of(beyond, 'holds', 'hold')} values beyond {white}, the white that was "
                f"settled in training, up to {peak} (in {where}): they are cut to white"
            )
        dark = self._where(lambda _, bright: bright * DARK <= white)
        if dark.files and depth(peak) < bits:
            yield (
                f"{self._of(dark, 'is', 'are')} nearly black: white is {white}, as settled in "
                f"training, and no value exceeds {peak}"
            )
        elif dark.files:
            yield (
                f"{self._of(dark, 'is', 'are')} nearly black, because {peak} in {where} makes "
                f"{white} white; if that is an outlier, take it out or rescale the files"
            )

    def _where(self, condition: Callable[[int, int], bool]) -> Kind:
        found = [i for i, ends in self.deep.items() if condition(*ends)]
        return Kind(len(found), self.names[found[0]] if found else "")

    def _of_colours(self) -> Iterator[str]:
        coloured, grey = self.coloured.files, self.total - self.coloured.files
        if self.channels == 3 and coloured and not self.colourful.files:
            yield (
                f"all {self.total} images hold grey only, though {coloured} are stored in colour: "
                "--channels 1 in training reads them as grey"
            )
        elif coloured and (grey or self.channels == 1):
            yield (
                f"{self._of(self.coloured, 'is', 'are')} in colour and {grey} grey: all are read "
                + ("as grey" if self.channels == 1 else "in colour, which also settles the recipe")
                + f"; --channels {4 - self.channels} in training reads all "
                + ("in colour" if self.channels == 1 else "as grey")
            )

    def _of_structure(self) -> Iterator[str]:
        if self.several.files:
            is_tiff = self.several.example.lower().endswith((".tif", ".tiff"))
            more = " (--pages each in training reads all)" if is_tiff else ""
            yield (
                f"{self._of(self.several, 'holds', 'hold')} several pages or frames: the first "
                f"of each is read{more}"
            )
        for bands, kind in sorted(self.bands.items()):
            read = "one is read as grey" if bands == 2 else "ones are read as colours"
            yield f"{self._of(kind, 'holds', 'hold')} {bands} bands: the first {read}"
        if self._is_worth_a_line(self.small):
            yield (
                f"{self._of(self.small, 'is', 'are')} less than half as large as the {self.side} "
                "px to which all are brought, and enlarged"
            )

    def _of_contents(self) -> Iterator[str]:
        if self.total > 1 and self._equal == self.total:
            yield f"all {self.total} images are equal: there is nothing to tell apart"
        elif self._is_worth_a_line(self.flat):
            yield f"{self._of(self.flat, 'is', 'are')} of one single colour"

    def _is_worth_a_line(self, kind: Kind) -> bool:
        return kind.files > 0 and 100 * kind.files >= self.total

    def _of(self, kind: Kind, one: str, many: str) -> str:
        """Such as "2 of 40 images (for example a/1.png) are"."""
        example = f"for example {shown(kind.example)}" if kind.files > 1 else shown(kind.example)
        verb = one if kind.files == 1 else many
        return f"{kind.files} of {self.total} images ({example}) {verb}"
