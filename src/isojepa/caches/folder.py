"""The folder of caches: where it is, how large it may become, and room made in it.

Below it lies a folder for each kind, and in that the entries: folders, or files of one stem. An
entry was last used when its newest file was last changed or touched. Where two processes might
write one entry, the lock beside it decides; a lock is released when its process ends, however.
"""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from isojepa.boundaries import shown, writing
from isojepa.errors import UserError

PLACE, LIMIT = "ISOJEPA_CACHE", "ISOJEPA_CACHE_GB"
DEFAULT_GB = 100.0
SPARE = 2**30  # bytes of the disk that are left to others
LOCK = ".lock"


class Uncacheable(UserError):
    """The cache cannot take something: what it is of is not to blame, and can be had without."""


class Entry(NamedTuple):
    """One thing that was kept."""

    kind: str
    """Name of the folder that it lies in."""
    name: str
    paths: list[Path]
    """Its files, or its folder."""
    size: int
    """Bytes on the disk."""
    used: float
    """When it was last used, in seconds since 1970."""


def cache_folder() -> Path:
    """Where caches lie unless the caller names a place: ISOJEPA_CACHE, else as the system has it.

    That is ~/.cache/isojepa (or below XDG_CACHE_HOME), ~/Library/Caches/isojepa on macOS, and
    below LOCALAPPDATA on Windows.
    """
    named = os.environ.get(PLACE)
    if named:
        return Path(named).expanduser()
    home = {"darwin": Path.home() / "Library" / "Caches"}.get(sys.platform, Path.home() / ".cache")
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or home) / "isojepa"


_asked: ContextVar[Path | None] = ContextVar("_asked")


@contextmanager
def caching(folder: Path | None, *, off: bool = False) -> Iterator[None]:
    """Say for what is done inside where caches are: in a folder, in the user's own, or nowhere."""
    token = _asked.set(None if off else folder or cache_folder())
    try:
        yield
    finally:
        _asked.reset(token)


def chosen_folder() -> Path | None:
    """The folder of caches that was asked for, by default the user's; None for no caching."""
    return _asked.get(cache_folder()) if limit_bytes() else None


def limit_bytes() -> int:
    """What the entries of one kind may take together: ISOJEPA_CACHE_GB, by default 100.

    Raises:
        UserError: if that is no number.
    """
    said = os.environ.get(LIMIT) or str(DEFAULT_GB)
    try:
        gigabytes = float(said)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < 1e9:
        raise UserError(f"{LIMIT}={said}: give a number of gigabytes, such as 200")
    return int(1e9 * gigabytes)


def entries(folder: Path) -> list[Entry]:
    """Everything that is kept below a folder of caches, the least recently used first."""
    found: dict[tuple[str, str], list[Path]] = {}
    for kind in _inside(folder):
        if not kind.is_dir():
            continue
        for path in _inside(kind):
            if path.suffix != LOCK and not path.name.startswith("."):
                found.setdefault((kind.name, path.stem), []).append(path)
    listed = [
        Entry(kind, name, paths, *_size_and_use(paths)) for (kind, name), paths in found.items()
    ]
    return sorted(listed, key=lambda entry: entry.used)


def touch(path: Path) -> None:
    """Note that an entry is used now."""
    with suppress(OSError):  # a cache that may only be read keeps no time
        os.utime(path)


def delete(entry: Entry) -> bool:
    """Delete an entry unless somebody is writing it; whether it is gone.

    Who reads it goes on reading, where the system lets open files be deleted.
    """
    with _unless_busy(entry.paths[0].parent / entry.name) as free:
        if free:
            for path in entry.paths:
                remove(path)
    return free and not any(path.exists() for path in entry.paths)


def remove(path: Path) -> None:
    """Delete a file or a folder, as far as the system lets."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def make_room(folder: Path, kind: str, needed: int, keep: str, what: str) -> None:
    """Have room for more bytes, at the expense of entries of that kind that were used less lately.

    Args:
        folder: of caches.
        needed: bytes to be written.
        keep: name of the entry that they are for.
        what: what they are, for the message.

    Raises:
        Uncacheable: if there is not enough even so; nothing is deleted then.
    """
    with writing_to(folder / kind):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder / kind).free - SPARE
    kept = [entry for entry in entries(folder) if entry.kind == kind]
    own = sum(entry.size for entry in kept if entry.name == keep)
    others = [entry for entry in kept if entry.name != keep]
    limit, taken = limit_bytes(), sum(entry.size for entry in others)
    if own + needed > limit:
        raise Uncacheable(
            f"{what} take {(own + needed) / 1e9:.1f} GB, and the cache may take "
            f"{limit / 1e9:g} GB ({LIMIT})"
        )
    if needed > free + taken:
        raise Uncacheable(
            f"{what} take {needed / 1e9:.1f} GB, and {shown(folder)} has "
            f"{max(0, free) / 1e9:.1f} GB to spare; free some, or name another disk with --cache"
        )
    for entry in others:
        if own + taken + needed <= limit and needed <= free:
            return
        if delete(entry):
            taken, free = taken - entry.size, free + entry.size
    if needed > free:
        raise Uncacheable(f"{what}: what else is in {shown(folder)} is in use")


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of an entry if nobody else does; whether it is held.

    Raises:
        Uncacheable: if the folder cannot be written, or its disk knows no locks.
    """
    lock = FileLock(path.with_name(path.name + LOCK), thread_local=False)
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            held = False
        except NotImplementedError as error:
            raise Uncacheable(f"{shown(path.parent)}: its disk has no locks") from error
        else:
            held = True
    try:
        yield held
    finally:
        if held:
            lock.release()


@contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Only what writes the cache goes inside: its refusals are `Uncacheable`."""
    try:
        with writing(path):
            yield
    except Uncacheable:
        raise
    except UserError as error:
        raise Uncacheable(str(error).removesuffix(" What was saved before is kept.")) from error


@contextmanager
def _unless_busy(path: Path) -> Iterator[bool]:
    try:
        with locked(path) as held:
            yield held
    except Uncacheable:
        yield False


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _size_and_use(paths: list[Path]) -> tuple[int, float]:
    size, used = 0, -1.0
    for path in paths:
        for file in [path, *_inside(path)] if path.is_dir() else [path]:
            try:
                status = file.stat()
            except OSError:  # deleted meanwhile by somebody else
                continue
            # What is taken, of files with holes less than their length; Windows does not tell
            blocks: int | None = getattr(status, "st_blocks", None)
            size += status.st_size if blocks is None else 512 * blocks
            used = max(used, status.st_mtime)
    return size, time.time() if used < 0 else used
