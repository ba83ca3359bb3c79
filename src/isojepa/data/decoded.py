"""Frames decoded once into a memory-mapped file beside the user's other caches."""

import hashlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from isojepa.boundaries import writing
from isojepa.data.trajectory_formats import Source
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.progress import bar

VERSION = 1  # of the decoding: raise it when the same source would give other pixels
ABANDONED_SECONDS = 3600.0  # after which an unfinished file was left by a crash


def decoded_frames(
    source: Source, path: Path, *, frame_size: int, cache: Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """The frames as one read-only memory map (n, y, x, 3), and the lengths of the episodes.

    Frames are resized as the platform resizes what it renders (Pillow's bilinear filter, which
    averages when it shrinks), so that a frame read here equals the same frame seen in control.
    The file is named by the path, sizes and times of the source's files, the camera where it is
    not the main one, and the frame size: a changed source is decoded anew, and its outdated frames
    are removed. It appears only when it is whole: after a crash it is built again.

    Raises:
        UserError: if a frame cannot be read, or the disk is too full.
    """
    folder = cache_folder() if cache is None else cache
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    of = str(path.resolve()) + (f" {source.camera}" if source.camera else "")
    family = f"{path.stem}-{_digest(of)}-{frame_size}"
    file = folder / f"{family}-{_fingerprint(source)}.frames"
    record = file.with_suffix(".json")
    if not (file.is_file() and record.is_file()):
        lengths = _build(source, path, file, frame_size)
        write_atomically(record, json.dumps({"source": str(path), "lengths": lengths.tolist()}))
        for outdated in folder.glob(f"{family}-*"):
            if outdated.stem != file.stem:
                outdated.unlink(missing_ok=True)
    lengths = np.array(json.loads(record.read_text())["lengths"], np.int64)
    shape = (int(lengths.sum()), frame_size, frame_size, 3)
    if file.stat().st_size != np.prod(shape):
        raise UserError(f"{file}: this cache of decoded frames is damaged; delete it")
    return np.memmap(file, np.uint8, "r", shape=shape), lengths


def cache_folder() -> Path:
    """Where decoded frames stay from run to run, unless the caller names a place."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "isojepa" / "frames"


def resize(frame: np.ndarray, frame_size: int) -> np.ndarray:
    """One frame (y, x, 3) brought to a square, as the platform's wrapper does."""
    if frame.shape[:2] == (frame_size, frame_size):
        return frame
    image = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(image.resize((frame_size, frame_size), Image.Resampling.BILINEAR))


def _build(source: Source, path: Path, file: Path, frame_size: int) -> np.ndarray:
    for left in file.parent.glob(f".part-{file.stem}-*"):
        if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
            left.unlink(missing_ok=True)
    total = 0 if source.lengths is None else int(source.lengths.sum())
    needed = total * frame_size**2 * 3
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise UserError(
            f"{path}: its frames at {frame_size} pixels take {needed / 1e9:.1f} GB and "
            f"{file.parent} has {free / 1e9:.1f} GB free; free some space, choose another cache "
            "(XDG_CACHE_HOME) or a smaller frame size"
        )
    part = file.parent / f".part-{file.stem}-{os.getpid()}"
    counts: dict[int, int] = {}
    try:
        with (
            writing(part),
            part.open("wb") as out,
            ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
            bar(total, f"decoding {path.name}") as advance,
        ):
            for episode, frames in source.decode():
                for frame in pool.map(lambda one: resize(one, frame_size), frames):
                    out.write(np.ascontiguousarray(frame).data)
                counts[episode] = counts.get(episode, 0) + len(frames)
                advance(len(frames), f"episode {episode}")
            out.flush()
            os.fsync(out.fileno())
        lengths = np.array([counts[episode] for episode in range(len(counts))], np.int64)
        _check_lengths(source, path, lengths)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return lengths


def _check_lengths(source: Source, path: Path, lengths: np.ndarray) -> None:
    if source.lengths is None or np.array_equal(source.lengths, lengths):
        return
    for episode, expected in enumerate(source.lengths):
        found = int(lengths[episode]) if episode < len(lengths) else 0
        if found != expected:
            raise UserError(
                f"{path}: episode {episode} has {expected} steps and {found} readable frames; "
                "the data set is damaged or truncated"
            )


def _fingerprint(source: Source) -> str:
    parts = [f"version {VERSION}"]
    for file in source.files:
        status = file.stat()
        parts.append(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}")
    return _digest("\n".join(parts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
