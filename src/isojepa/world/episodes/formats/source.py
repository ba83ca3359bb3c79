"""What every layout is read into: lengths, columns, and a way to the frames; its errors."""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8

from isojepa.boundaries import shown
from isojepa.errors import UserError

CHUNK = 128  # frames decoded at a time, at most
CHUNK_BYTES = 64 * 2**20
LISTED = 180  # characters of a list of names in a message


class FrameChunk(NamedTuple):
    """Some frames and what they are frames of: never the order in which they happen to lie."""

    episode: Int64[np.ndarray, " n"]
    step: Int64[np.ndarray, " n"]
    frames: UInt8[np.ndarray, "n y x 3"]


@dataclass(frozen=True, kw_only=True)
class EpisodeSource:
    """A data set as it lies on disk; the columns are read, the frames are not."""

    files: list[Path]
    """What the content depends on: a cache of it is stale when one of them changes."""
    lengths: Int64[np.ndarray, " e"] | None
    """Steps per episode; None when only decoding tells, as with plain videos. Their chunks come
    in the order of episodes and steps."""
    size: tuple[int, int]
    """Rows and columns of the stored frames."""
    columns: dict[str, np.ndarray]
    """Per-step columns but the frames, the episodes one after the other; `action` among them."""
    env_id: str | None = None
    camera: str | None = None
    """Column of the frames where it is not the main one: a cache keeps cameras apart by it."""
    ids: Sequence[object] | None = None
    """What the data set itself calls its episodes, for messages."""
    decode: Callable[[], Iterator[FrameChunk]]
    direct: Callable[[np.ndarray], np.ndarray] | None = None
    """Frames of the given rows without decoding, (n, y, x, 3); None when they are compressed."""

    def named(self, episode: int) -> str:
        """An episode as its data set calls it."""
        return f"episode {episode if self.ids is None else self.ids[episode]}"


def chunk_length(frame_bytes: int) -> int:
    """Frames of that size that are decoded at a time."""
    return max(1, min(CHUNK, CHUNK_BYTES // max(1, frame_bytes)))


def in_chunks(frames: Iterable[np.ndarray]) -> Iterator[UInt8[np.ndarray, "n y x 3"]]:
    """Stack single frames into chunks, each of one size."""
    frames = iter(frames)
    held: list[np.ndarray] = []
    for frame in frames:
        if held and (held[0].shape != frame.shape or len(held) >= chunk_length(frame.nbytes)):
            yield np.stack(held)
            held = []
        held.append(frame)
    if held:
        yield np.stack(held)


def chunks(
    frames: Iterable[np.ndarray], episode: Int64[np.ndarray, " n"], step: Int64[np.ndarray, " n"]
) -> Iterator[FrameChunk]:
    """Single frames in chunks; frame i is that of step[i] of episode[i]."""
    done = 0
    for some in in_chunks(frames):
        rows = slice(done, done + len(some))
        yield FrameChunk(episode[rows], step[rows], some)
        done = rows.stop


def name_list(names: Iterable[object]) -> str:
    """Names for a message, as many as fit in a line; the rest is counted."""
    words = [shown(str(name)) for name in names]
    kept: list[str] = []
    for word in words:
        if kept and sum(map(len, kept)) + 2 * len(kept) + len(word) > LISTED:
            break
        kept.append(word)
    more = len(words) - len(kept)
    return (", ".join(kept) or "none") + (f" and {more} more" if more else "")


def columns_missing(path: Path, wanted: str, present: Iterable[str]) -> UserError:
    """The error for a data set without a needed column."""
    return UserError(
        f"{shown(path)}: no column {wanted!r}; the columns are {name_list(sorted(present))}"
    )


def no_such(
    path: Path, kind: str, name: str, known: list[str], short: list[str] | None = None
) -> UserError:
    """The error for the name of a column or camera that the data set does not have.

    Args:
        short: other names that would do.
    """
    others = [other for other in [*known, *(short or [])] if other != name]
    close = difflib.get_close_matches(name, others, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return UserError(
        f"{shown(path)}: no {kind} {name!r} ({kind}s: {name_list(sorted(known))}){hint}"
    )


def choose_camera(path: Path, cameras: list[str], main: str | None, camera: str | None) -> str:
    """The column of the camera asked for, by its name or the last part of that; else the main one.

    Raises:
        UserError: if there is no such camera, if several go by that last part, or if none is asked
            for and none is the main one.
    """
    if camera is None and main is None:
        raise UserError(
            f"{shown(path)}: has {len(cameras)} cameras; choose one by its name: "
            f"{name_list(cameras)}"
        )
    if camera is None or camera in cameras:
        return str(camera or main)
    short = [re.split(r"[./]", name)[-1] for name in cameras]
    if short.count(camera) > 1:
        several = [name for name, last in zip(cameras, short) if last == camera]
        raise UserError(
            f"{shown(path)}: {len(several)} cameras are called {camera!r}; name one in full: "
            f"{name_list(several)}"
        )
    if camera not in short:
        raise no_such(path, "camera", camera, cameras, short)
    return cameras[short.index(camera)]


def missing_package(package: str, error: ImportError) -> UserError:
    """The error for a reader that is not installed."""
    return UserError(
        f"reading this data set needs the extra: pip install 'isojepa[world]' "
        f"({package} is missing: {error})"
    )
