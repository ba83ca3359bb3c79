"""Files below a folder, linked folders among them, in the order in which people count."""

import logging
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from isojepa.boundaries import shown

log = logging.getLogger(__name__)
NAMED = 3  # closed folders and broken links that are named each


def files_below(root: Path, suffixes: Collection[str]) -> list[Path]:
    """Files with one of the suffixes (lower case), `2` before `10`.

    Linked folders are entered, once each; hidden files are passed over; no folder has no files.
    Closed folders and broken links are named in a warning.
    """
    if not root.is_dir():
        return []
    lost: list[str] = []
    found = [p for p in _walk(root, lost) if p.suffix.lower() in suffixes]
    for path in [p for p in found if not p.exists()]:
        lost.append(f"{shown(path)} is a broken link")
        found.remove(path)
    for words in lost[:NAMED]:
        log.warning("left out: %s", words)
    if len(lost) > NAMED:
        log.warning("left out: %d more closed folders and broken links", len(lost) - NAMED)
    return sorted(found, key=lambda path: natural(path.relative_to(root).as_posix()))


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts numbers in names by their value."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)] + [(0, name)]


def _walk(root: Path, lost: list[str]) -> Iterator[Path]:
    def closed(error: OSError) -> None:
        lost.append(f"{shown(str(error.filename))} cannot be name_list ({error.strerror})")

    entered = {os.path.realpath(root)}
    for folder, inside, names in os.walk(root, onerror=closed, followlinks=True):
        kept = []
        for name in sorted(inside):
            real = os.path.realpath(Path(folder, name))
            if not name.startswith(".") and real not in entered:
                entered.add(real)
                kept.append(name)
        inside[:] = kept
        yield from (Path(folder, name) for name in names if not name.startswith("."))
