"""Addresses -> files in the cache: fetched once, gone on with after an interruption.

The files of one folder of a server lie side by side in one entry of the cache. From there they are
read as any other file is, so that the order of training stays a function of (seed, epoch).
"""

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from threading import Lock
from urllib.parse import urlsplit

from isojepa.boundaries import reaching
from isojepa.caches.folder import Uncacheable, chosen_folder, locked, make_room, touch, writing_to
from isojepa.encoders.sources.addresses import Remote, described, pieces
from isojepa.errors import UserError
from isojepa.progress import bar
from isojepa.runs.typed import read_result, write_result

log = logging.getLogger(__name__)
KIND, ABOUT = "fetched", "about.json"
AT_ONCE, ASKED_AT_ONCE = 4, 16  # files
ATTEMPTS, PAUSE = 3, 1.0  # without a byte more, and seconds between them
REMEDY = "check the address, or download it and give the file"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What an entry holds, as its about.json says."""

    of: str
    """Address of the folder."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of the files that are whole, by their names."""


def file_name(address: str) -> str:
    """Of the file at an address."""
    return PurePosixPath(urlsplit(address).path).name


def fetched(addresses: Sequence[str]) -> list[Path]:
    """The files at addresses, in their order: those that are not in the cache are fetched.

    A file that was fetched before is asked about only, and taken as it is where its server does
    not answer.

    Raises:
        UserError: if one cannot be had, or the cache cannot hold them.
    """
    folder = chosen_folder()
    if folder is None:
        raise UserError(
            f"--data {addresses[0]}: what an address leads to is kept in the cache; leave out "
            "--no-cache, or download it and give the file"
        )
    groups = groupby(addresses, key=lambda x: x.partition("?")[0].rpartition("/")[0])
    paths = [path for home, group in groups for path in _of_one_folder(folder, home, list(group))]
    gone = next((path for path in paths if not path.is_file()), None)
    if gone is not None:
        raise UserError(f"--data: the cache cannot hold all at once ({gone.name} had to go)")
    return paths


def _of_one_folder(folder: Path, home: str, addresses: Sequence[str]) -> list[Path]:
    place = folder / KIND / hashlib.sha256(home.encode()).hexdigest()[:12]
    pause = 0.2
    while True:
        with locked(place) as held:
            if held:
                with writing_to(place):
                    place.mkdir(parents=True, exist_ok=True)
                _complete(folder, place, home, addresses)
                return [place / file_name(address) for address in addresses]
        if pause == 0.2:
            log.info("another process fetches the files of %s: waiting for it", home)
        time.sleep(pause)
        pause = min(5.0, 2 * pause)


def _complete(folder: Path, place: Path, home: str, addresses: Sequence[str]) -> None:
    """Have the files in their place; the lock is held."""
    kept = _kept(place, home)
    whole = {name: of for name, of in kept.versions.items() if (place / name).is_file()}
    try:
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            first = _described(addresses[0])  # or each of many would be waited for in vain
            found = [first, *pool.map(_described, addresses[1:])]
    except UserError as error:
        if not all(file_name(address) in whole for address in addresses):
            raise
        log.warning("%s: what was fetched before is used", str(error).rpartition("; ")[0])
        found = []
    missing = [remote for remote in found if whole.get(file_name(remote.address)) != remote.version]
    touch(place / ABOUT)
    if not missing:
        return
    for remote in missing:  # of another version
        (place / file_name(remote.address)).unlink(missing_ok=True)
    size = sum(remote.size or 0 for remote in missing)
    needed = size - sum(_bytes_of(_part(place, remote)) for remote in missing)
    what = f"{len(missing)} file{'s' if len(missing) != 1 else ''} of {home}"
    make_room(folder, KIND, needed, place.name, what)
    log.info("fetching %s, %s MB, into %s", what, f"{size / 1e6:,.1f}", place)
    lock, done = Lock(), 0
    with ThreadPoolExecutor(AT_ONCE) as pool, bar(round(size / 1e6), "fetching MB") as advance:

        def arrived(count: int) -> None:
            nonlocal done
            with lock:
                done += count
                advance(done // 10**6 - advance.done)

        for remote in pool.map(partial(_fetch, place=place, arrived=arrived), missing):
            name = file_name(remote.address)
            with writing_to(place):
                _part(place, remote).replace(place / name)
                kept = replace(kept, versions=kept.versions | {name: remote.version})
                write_result(place / ABOUT, kept)


def _kept(place: Path, home: str) -> Kept:
    try:
        return read_result(Kept, place / ABOUT)
    except UserError:  # there is none, or a damaged one
        return Kept(of=home)


def _described(address: str) -> Remote:
    with reaching(f"--data {address}", REMEDY):
        return described(address)


def _fetch(remote: Remote, place: Path, arrived: Callable[[int], None]) -> Remote:
    """Have all of its bytes in its part of a file, those that are there already left alone."""
    part, failed = _part(place, remote), 0
    arrived(_bytes_of(part))
    while remote.size is None or _bytes_of(part) < remote.size:
        before = _bytes_of(part)
        try:
            _go_on(remote, part, arrived)
            return remote
        except Uncacheable:
            raise
        except UserError:
            if _bytes_of(part) > before:
                failed = 0
                continue
            failed += 1
            if failed == ATTEMPTS:
                raise
            time.sleep(PAUSE)
    return remote


def _go_on(remote: Remote, part: Path, arrived: Callable[[int], None]) -> None:
    what = f"--data {remote.address}"
    with writing_to(part):
        file = part.open("ab" if remote.size is not None else "wb")
    with file:
        coming = pieces(remote, file.tell())
        while True:
            with reaching(what, REMEDY):
                piece = next(coming, b"")
                if not piece and remote.size not in (None, file.tell()):
                    raise ConnectionError(f"ended after {file.tell():,} of {remote.size:,} bytes")
            if not piece:
                return
            with writing_to(part):
                file.write(piece)
            arrived(len(piece))


def _part(place: Path, remote: Remote) -> Path:
    version = hashlib.sha256(remote.version.encode()).hexdigest()[:12]
    return place / f".{file_name(remote.address)}.{version}.part"


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
