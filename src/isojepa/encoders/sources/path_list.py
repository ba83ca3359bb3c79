"""A text file with the path of an image on each line -> a listing."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isojepa.boundaries import reading, shown
from isojepa.encoders.sources.folder import Listing, indexed
from isojepa.encoders.sources.items import Files
from isojepa.encoders.sources.joined import joined
from isojepa.encoders.sources.layout import read_layout
from isojepa.errors import UserError


class Line(NamedTuple):
    """A path with the number of its line."""

    number: int
    path: str


def list_paths(files: Sequence[Path]) -> Listing:
    """List the files that text files name, as `list_of` does."""
    found = [(file, list_of(file)) for file in files]
    return found[0][1] if len(found) == 1 else joined(found)


def list_of(file: Path) -> Listing:
    """List the files that a text file names, one per line, relative to its own folder.

    Blank lines and those that begin with # are passed over. The folders give labels and split as
    they do below a folder of images. Files that are missing are left out, named with their lines.

    Raises:
        UserError: if the file is no such list, or none of its files is there.
    """
    lines = _lines(file)
    if not lines:
        raise UserError(f"--data {shown(file)}: no path in it; give one per line")
    unique: dict[str, int] = {}
    twice: list[tuple[int, int]] = []
    for line in lines:
        real = os.path.normpath(file.parent / line.path)
        first = unique.setdefault(real, line.number)
        if first != line.number:
            twice.append((first, line.number))
    missing = [(path, n, why) for path, n in unique.items() if (why := _why_not(Path(path)))]
    if len(missing) == len(unique):
        path, number, why = missing[0]
        raise UserError(
            f"--data {shown(file)}: none of its {len(unique)} files is there, the first is "
            f"'{shown(path)}' (line {number}): {why}; paths are relative to {shown(file.parent)}"
        )
    gone = {path for path, _, _ in missing}
    paths = sorted(path for path in unique if path not in gone)
    root = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))  # noqa: PTH120
    names = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
    layout = read_layout(names)
    keep = np.flatnonzero(layout.keep).tolist()
    notes = list(layout.notes)
    if twice:
        notes.append(
            f"{shown(file)}: {len(twice)} lines name a file that an earlier one names too, for "
            f"example lines {twice[0][0]} and {twice[0][1]}; read once"
        )
    return Listing(
        file,
        [names[i] for i in keep],
        *indexed([layout.classes[i] for i in keep]),
        None if layout.test is None else layout.test[layout.keep],
        notes=tuple(notes),
        unreachable=tuple((path, f"line {n} of {shown(file)}: {why}") for path, n, why in missing),
        source=Files([Path(paths[i]) for i in keep]),
    )


def _lines(file: Path) -> list[Line]:
    with reading(file, "a text file of paths"):
        content = file.read_bytes()
        if b"\0" in content[:4096]:
            raise ValueError("it holds bytes that are no text")
        text = content.decode("utf-8-sig", errors="surrogateescape")
    lines = (Line(i, line.strip()) for i, line in enumerate(text.splitlines(), 1))
    return [line for line in lines if line.path and not line.path.startswith("#")]


def _why_not(path: Path) -> str | None:
    """Why a path is none of a file; None if it is one."""
    try:
        if path.is_file():
            return None
        return "a folder, not a file" if path.is_dir() else "no such file"
    except (OSError, ValueError) as error:
        return str(error)
