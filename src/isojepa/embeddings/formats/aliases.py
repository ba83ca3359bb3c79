"""Names for libraries that take only names in UTF-8."""

import os
import tempfile
from functools import cache
from pathlib import Path

_LINKS: list[tempfile.TemporaryDirectory] = []
"""Folders with links, removed when the process ends."""


def utf8_name(path: Path) -> str:
    """The file's name, or that of a link to it if its own is no valid text."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return _link(path.absolute())
    return str(path)


@cache
def _link(path: Path) -> str:
    _LINKS.append(tempfile.TemporaryDirectory(prefix="isojepa-"))
    link = Path(_LINKS[-1].name) / f"file{path.suffix}"
    link.symlink_to(path)
    return str(link)
