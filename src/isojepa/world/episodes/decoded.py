"""Frames decoded once into a memory-mapped file beside the user's other caches."""

import hashlib
import io
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from isojepa import machine
from isojepa.boundaries import reading, shown, writing
from isojepa.caches.folder import Uncacheable
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.progress import bar
from isojepa.world.episodes.formats.source import EpisodeSource

log = logging.getLogger(__name__)
VERSION = 2  # of the decoding: raise it when the same source would give other pixels
ABANDONED_SECONDS = 3600.0  # after which an unfinished file was left by a crash
WHOLE_BYTES = 2**24  # files up to this size are fingerprinted whole, larger ones by samples
SAMPLES = 64


def decoded_frames(
    source: EpisodeSource, path: Path, *, frame_size: int, cache: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """The frames as one read-only array (n, y, x, 3), and the lengths of the episodes.

    Frames are resized as the platform resizes what it renders (Pillow's bilinear filter, which
    averages when it shrinks), so that a frame read here equals the same frame seen in control.
    They are kept in a memory-mapped file, named by the path, sizes, times and contents of the
    source's files, the camera where it is not the main one, and the frame size: a changed source
    is decoded anew, and its outdated frames are removed. It appears only when it is whole: after a
    crash, or when it was damaged, it is built again. Where it cannot be written, the frames are
    decoded into memory if they fit there.

    Raises:
        UserError: if a frame cannot be read.
        Uncacheable: if neither the disk nor the memory takes the frames.
    """
    folder = frame_cache() if cache is None else cache
    of = str(path.resolve()) + (f" {source.camera}" if source.camera else "")
    family = f"{_plain(path.stem)}-{_digest(os.fsencode(of))}-{frame_size}"
    file = folder / f"{family}-{_fingerprint(source)}.frames"
    kept = _kept(source, file, frame_size)
    if kept is not None:
        return kept
    try:
        _build(source, path, file, frame_size)
    except Uncacheable as refusal:
        return _in_memory(source, path, frame_size, refusal)
    for outdated in folder.glob(f"{family}-*"):
        if outdated.stem != file.stem:
            with suppress(OSError):
                outdated.unlink()
    kept = _kept(source, file, frame_size)
    if kept is None:
        raise Uncacheable(f"{shown(file)}: was written and cannot be read back; delete it")
    return kept


def frame_cache() -> Path:
    """Where decoded frames stay from run to run, unless the caller names a place."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "isojepa" / "frames"


def resize(frame: np.ndarray, frame_size: int) -> np.ndarray:
    """One frame (y, x, 3) brought to a square, as the platform's wrapper does."""
    if frame.shape[:2] == (frame_size, frame_size):
        return frame
    image = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(image.resize((frame_size, frame_size), Image.Resampling.BILINEAR))


def resized(
    direct: Callable[[np.ndarray], np.ndarray], frame_size: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Frames of any rows, resized as they are read: what a cache saves is done at each use."""

    def rows(chosen: np.ndarray) -> np.ndarray:
        out = np.empty((len(chosen), frame_size, frame_size, 3), np.uint8)
        for i, frame in enumerate(direct(chosen)):
            out[i] = resize(frame, frame_size)
        return out

    return rows


def _kept(
    source: EpisodeSource, file: Path, frame_size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """What an earlier run decoded; None where there is nothing, or it is damaged."""
    try:
        lengths = np.array(json.loads(file.with_suffix(".json").read_text())["lengths"], np.int64)
        shape = (int(lengths.sum()), frame_size, frame_size, 3)
        whole = file.stat().st_size == np.prod(shape)
        if not whole or not _expected(source, lengths):
            raise ValueError("of another size")
        return np.memmap(file, np.uint8, "r", shape=shape), lengths
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever a damaged cache gives: it is only a cache
        log.warning("%s: these decoded frames are damaged (%s); decoding anew", shown(file), error)
        return None


def _expected(source: EpisodeSource, lengths: np.ndarray) -> bool:
    return source.lengths is None or np.array_equal(source.lengths, lengths)


def _build(source: EpisodeSource, path: Path, file: Path, frame_size: int) -> None:
    """Decode into a file that appears when it is whole."""
    part = file.parent / f".part-{file.stem}-{os.getpid()}"
    try:
        with _caching(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            for left in file.parent.glob(f".part-{file.stem}-*"):
                if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
                    left.unlink(missing_ok=True)
            free = shutil.disk_usage(file.parent).free
        needed = _needed(source, frame_size)
        if needed > free:
            raise Uncacheable(
                f"{shown(path)}: its frames at {frame_size} pixels take {needed / 1e9:.1f} GB and "
                f"{shown(file.parent)} has {free / 1e9:.1f} GB free; free some space, choose "
                "another cache (XDG_CACHE_HOME) or a smaller frame size"
            )
        with _caching(part):
            out = part.open("wb")
        try:
            lengths = _decode(source, path, out, frame_size, part)
            with _caching(part):
                out.flush()
                os.fsync(out.fileno())
        finally:
            with suppress(OSError):  # a full disk refuses once more what was not written
                out.close()
        with _caching(part):
            part.replace(file)
        record = {"source": shown(path), "lengths": lengths.tolist()}
        with _caching(file):
            write_atomically(file.with_suffix(".json"), json.dumps(record))
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def _caching(path: Path) -> Iterator[None]:
    """Only what writes goes inside: what is wrong with a source is not the cache's fault."""
    try:
        with writing(path):
            yield
    except UserError as error:
        raise Uncacheable(str(error)) from error


def _in_memory(
    source: EpisodeSource, path: Path, frame_size: int, refusal: Uncacheable
) -> tuple[np.ndarray, np.ndarray]:
    room = machine.memory_bytes() // 4
    if source.lengths is None or _needed(source, frame_size) > room or source.direct is not None:
        raise refusal
    log.warning("%s; decoding into memory, for this run alone", str(refusal).rstrip("."))
    buffer = io.BytesIO()
    lengths = _decode(source, path, buffer, frame_size, None)
    shape = (int(lengths.sum()), frame_size, frame_size, 3)
    frames = np.frombuffer(buffer.getbuffer(), np.uint8).reshape(shape)
    frames.flags.writeable = False
    return frames, lengths


def _needed(source: EpisodeSource, frame_size: int) -> int:
    return 0 if source.lengths is None else int(source.lengths.sum()) * frame_size**2 * 3


def _decode(
    source: EpisodeSource,
    path: Path,
    out: IO[bytes] | io.BytesIO,
    frame_size: int,
    part: Path | None,
) -> np.ndarray:
    """Write each frame to its place, in whatever order they come; lengths of the episodes.

    Raises:
        UserError: if the source cannot be read, or not every step has exactly one frame.
    """
    frame_bytes = frame_size**2 * 3
    known = source.lengths
    total = 0 if known is None else int(known.sum())
    starts = np.zeros(0, np.int64) if known is None else np.cumsum(known) - known
    filled = np.zeros(total, bool)
    counts: dict[int, int] = {}
    at = 0
    with (
        ThreadPoolExecutor(min(8, machine.cores())) as pool,
        bar(total, f"decoding {shown(path.name)}") as advance,
    ):
        for episode, step, frames in source.decode():
            small = pool.map(lambda one: resize(one, frame_size), frames)
            if known is None:
                places = at + np.arange(len(frames))
                for e in episode.tolist():
                    counts[e] = counts.get(e, 0) + 1
            else:
                places = starts[episode] + step
                filled[places] = True
            for place, frame in zip(places.tolist(), small):
                with _caching(part or path):
                    if place != at:
                        out.seek(place * frame_bytes)
                    out.write(np.ascontiguousarray(frame).data)
                at = place + 1
            advance(len(frames), f"episode {episode[-1]}")
    if known is None:
        return np.array([counts[e] for e in range(len(counts))], np.int64)
    if not filled.all():
        place = int((~filled).argmax())
        e = int(np.searchsorted(starts, place, side="right")) - 1
        found = int(filled[starts[e] : starts[e] + known[e]].sum())
        raise UserError(
            f"{shown(path)}: {source.named(e)} has {known[e]} steps and {found} readable frames; "
            "the data set is damaged or truncated"
        )
    return known


def _fingerprint(source: EpisodeSource) -> str:
    digest = hashlib.sha256(f"version {VERSION}".encode())
    for file in source.files:
        with reading(file, "a file of the data set"), file.open("rb") as content:
            status = os.fstat(content.fileno())
            digest.update(os.fsencode(file.resolve()))
            digest.update(f" {status.st_size} {status.st_mtime_ns}\n".encode())
            digest.update(_sample(content, status.st_size))
    return digest.hexdigest()[:12]


def _sample(file: IO[bytes], size: int) -> bytes:
    """A digest of a small file, or of evenly spread pieces of a large one."""
    digest = hashlib.blake2b(digest_size=16)
    piece = WHOLE_BYTES // SAMPLES
    starts = range(0, size, piece)
    if size > WHOLE_BYTES:
        starts = [(size - piece) * i // (SAMPLES - 1) for i in range(SAMPLES)]  # type: ignore
    for start in starts:
        file.seek(start)
        digest.update(file.read(piece))
    return digest.digest()


def _plain(stem: str) -> str:
    """A name of a file for the cache: bytes that are no text would be refused by some disks."""
    return "".join(c if c.isprintable() and ord(c) < 0xD800 else "_" for c in stem)[:80]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
