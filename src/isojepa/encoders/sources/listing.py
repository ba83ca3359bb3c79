"""Which files below a folder may be images: links, closed folders, side-cars, a run's own files."""

import mimetypes
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from isojepa.boundaries import shown

LEFT_BY_PROGRAMS = {
    "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "__pycache__",
    "$recycle.bin", "system volume information", "lost+found", "found.000", "thumbs.db",
    "ehthumbs.db", "desktop.ini", "icon\r",
}  # fmt: skip
"""Folders and files that systems and storage boxes leave behind, in lower case; names that begin
with a dot are left out too."""
MORE_IMAGES = {
    ".heic", ".heif", ".avif", ".jxl", ".webp", ".tif", ".tiff", ".jfif", ".dcm", ".dicom",
}  # fmt: skip
NO_IMAGES = {".h5", ".hdf", ".grib", ".grb", ".bufr", ".mpg", ".mpeg", ".svg", ".svgz"}
"""Endings that Pillow registers, or that count as images, without pixels that it could give."""
MAGIC = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"\0\0\x01\0", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"8BPS",
    b"DDS ", b"\0\0\0\x0cJXL", b"\xff\x0a", b"qoif", *(b"P%d\n" % kind for kind in range(1, 7)),
)  # fmt: skip
"""First bytes of image files, to know those whose name does not say what they are."""


class Found(NamedTuple):
    """What a walk through a folder found."""

    names: list[str]
    """Files that may be images: paths relative to the folder, with forward slashes, sorted."""
    unreachable: list[tuple[str, str]]
    """(name, reason) of broken links, and of folders that cannot be opened (ending in a slash)."""
    side_cars: dict[str, int]
    """Files that are no images, by their ending, the most frequent first."""
    repeated_links: list[str]
    """Links to folders whose files are listed already; they are not entered again."""
    runs: list[str]
    """Folders of runs, as this program writes them, that were left out."""


def walk(root: Path, leave_out: Iterable[Path] = ()) -> Found:
    """Find the images below a folder; links to folders are entered, each folder once.

    Folders proper come before links, so that what a link repeats is found where it really lies; a
    link that leads to the folder itself or above it is not followed.

    Args:
        leave_out: files and folders not to list, such as the run's own.
    """
    return _Walk(root, leave_out).found()


class _Walk:
    """The state of one walk: folders still to enter, and what was found so far."""

    def __init__(self, root: Path, leave_out: Iterable[Path]) -> None:
        self.root = root
        real = Path(os.path.realpath(root))
        self.above = {str(real), *(str(folder) for folder in real.parents)}
        self.entered: set[tuple[int, int]] = set()
        self.left_out = {os.path.realpath(path) for path in leave_out} - self.above
        self.folders: list[str] = [""]
        self.links: list[str] = []
        self.names: list[str] = []
        self.unreachable: list[tuple[str, str]] = []
        self.side_cars: Counter[str] = Counter()
        self.repeated: list[str] = []
        self.runs: list[str] = []

    def found(self) -> Found:
        while self.folders or self.links:
            if self.folders:
                self._enter(self.folders.pop())
                continue
            self.links.sort(reverse=True)
            link = self.links.pop()
            target = os.path.realpath(self.root / link)
            if target in self.above or self._is_known(target):
                self.repeated.append(link)
            elif target not in self.left_out:
                self._enter(link)
        counts = dict(self.side_cars.most_common())
        return Found(sorted(self.names), sorted(self.unreachable), counts, self.repeated, self.runs)

    def _is_known(self, target: str) -> bool:
        try:
            status = Path(target).stat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) in self.entered

    def _enter(self, folder: str) -> None:
        path = self.root / folder
        try:
            status = path.stat()
            with os.scandir(path) as scan:
                entries = list(scan)
        except OSError as error:
            self.unreachable.append((f"{folder}/", error.strerror or str(error)))
            return
        self.entered.add((status.st_dev, status.st_ino))
        if folder and is_run({entry.name for entry in entries}):
            self.runs.append(folder)
            return
        real = os.path.realpath(path)  # once a folder: once a file would be half of the time
        for entry in entries:
            if not is_left_by_programs(entry.name):
                self._sort(entry, f"{folder}/{entry.name}" if folder else entry.name, real)

    def _sort(self, entry: os.DirEntry[str], name: str, real: str) -> None:
        is_link = entry.is_symlink()
        try:
            mode = entry.stat().st_mode if is_link else 0  # only links cost a look at the disk
        except OSError:
            self.unreachable.append((name, f"broken link to {Path(entry.path).readlink()}"))
            return
        if (os.path.realpath(entry.path) if is_link else f"{real}/{entry.name}") in self.left_out:
            return
        if entry.is_dir():
            (self.links if is_link else self.folders).append(name)
        elif stat.S_ISREG(mode) or entry.is_file():
            kind = _kind(ending(entry.name))
            if kind == "image" or (kind == "unknown" and starts_as_image(Path(entry.path))):
                self.names.append(name)
            else:
                self.side_cars[ending(entry.name) or "without an ending"] += 1


def is_run(names: set[str]) -> bool:
    """Whether a folder with these entries was written by a run of this program, begun or done."""
    if "config.json" in names and names & {"checkpoints", "metrics.jsonl"}:
        return True
    return names >= {"log.txt", "views.png"}


def is_left_by_programs(name: str) -> bool:
    """Whether a file or folder is hidden, or of the kind that systems leave behind."""
    return name.startswith(".") or name.lower() in LEFT_BY_PROGRAMS


def starts_as_image(path: Path) -> bool:
    """Whether a file's first bytes are those of an image, for names that do not say."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    is_bitmap = start[:2] == b"BM" and start[6:10] == bytes(4)  # reserved, where text has words
    is_webp = start[:4] + start[8:12] == b"RIFFWEBP"
    is_dicom = start[128:] == b"DICM"
    return start.startswith(MAGIC) or is_bitmap or is_webp or is_dicom or _is_heif(start)


def ending(name: str) -> str:
    """The part of a file's name from its last dot on, in lower case; empty without one."""
    stem, dot, last = name.rpartition(".")
    return f".{last.lower()}" if dot and stem else ""


@cache
def image_endings() -> frozenset[str]:
    """Endings of image files: what Pillow opens, and kinds that it opens with a plug-in."""
    Image.init()
    readable = {e for e, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    return frozenset((readable | MORE_IMAGES) - NO_IMAGES)


@cache
def _kind(end: str) -> str:
    if end in image_endings():
        return "image"
    known = mimetypes.MimeTypes().guess_type(f"x{end}")[0]  # the built-in table: no machine's own
    if known == "application/octet-stream" or end == "":
        return "unknown"
    return "other" if end in NO_IMAGES or known is not None else "unknown"


def _is_heif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in {b"heic", b"heix", b"mif1", b"msf1", b"avif"}


def remarks(found: Found, few: int = 3) -> Iterator[str]:
    """What a user should know of a walk, a line each."""
    if found.unreachable:
        examples = "; ".join(f"'{shown(n)}': {shown(why)}" for n, why in found.unreachable[:few])
        yield f"{len(found.unreachable)} files or folders cannot be reached: {examples}"
    if found.repeated_links:
        yield (
            f"{quoted(found.repeated_links, few)}: linked folders whose images are listed already "
            "elsewhere below the folder, or that lead out of it upwards; not entered again"
        )
    if found.runs:
        yield f"{quoted(found.runs, few)}: a run's own folder, left out"
    if found.side_cars:
        counts = [f"{count} {end}" for end, count in found.side_cars.items()]
        more = f" and {len(counts) - 8} other kinds" if len(counts) > 8 else ""
        yield f"files that are no images left out: {', '.join(counts[:8])}{more}"


def quoted(names: Sequence[str], most: int = 3) -> str:
    """The first names, in quotes, for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{shown(name)}'" for name in names[:most]) + more
