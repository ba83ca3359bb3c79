"""Which frame of which video each step of a LeRobot data set is: by time, not by counting rows."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float64, Int64

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.files import files_below
from isojepa.world.episodes.formats.lerobot_info import Info
from isojepa.world.episodes.formats.lerobot_tables import Tables
from isojepa.world.episodes.formats.rows import Order
from isojepa.world.episodes.formats.source import FrameChunk, chunks, name_list
from isojepa.world.episodes.formats.videos import Times, frame_times, video_frames

log = logging.getLogger(__name__)
TOLERANCE = 0.501  # of the time between two frames of the video, between a step and its frame


class Clip(NamedTuple):
    """An episode's part of a video file."""

    file: Path
    start: float
    """In seconds of the video."""
    stop: float
    """Where the next part begins; infinite for the last of a file."""
    stamps: Float64[np.ndarray, " t"]
    """Seconds of each step from the episode's start."""
    name: str


class Match(NamedTuple):
    """The frame of each step, and what about the match would surprise."""

    frames: Int64[np.ndarray, " t"]
    """Positions among the file's frames."""
    rate: float
    """Seconds of the video for one of the table: 1 where they were matched by time."""
    left_over: int
    """Frames of the part after the last step's."""


def find_clips(root: Path, info: Info, camera: str, tables: Tables, order: Order) -> list[Clip]:
    """The episodes' parts of the videos, in the order of the episodes.

    Raises:
        UserError: if the metadata do not say where they lie, or a file is missing.
    """
    times = tables.columns.get("timestamp")
    if times is not None:
        stamps = times.reshape(tables.total)[order.rows].astype(np.float64)
    else:
        if not isinstance(info.fps, int | float):
            raise UserError(f"{shown(root / 'meta' / 'info.json')}: fps is {info.fps!r}")
        stamps = tables.numbers("frame_index")[order.rows] / info.fps
    each = np.split(stamps, np.cumsum(order.lengths)[:-1])
    metadata = files_below(root / "meta" / "episodes", {".parquet"})

    def error(why: str) -> UserError:
        return UserError(
            f"{shown(root)}/meta: does not say where the videos of {camera} lie ({why})"
        )

    with reading(root / "meta", "LeRobot's metadata", error):
        template = str(info.video_path or "")
        if metadata:
            places = _version_3(root, metadata, template, camera)
        else:
            size = int(str(info.chunks_size))
            places = {
                e: (root / template.format(episode_chunk=e // size, video_key=camera,
                                           episode_index=e), 0.0, np.inf)
                for e in order.ids
            }  # fmt: skip
    lacking = [e for e in order.ids if e not in places]
    if lacking:
        raise UserError(
            f"{shown(root)}: meta/episodes does not tell of episodes {name_list(lacking)}"
        )
    clips = [Clip(*places[e], t, f"episode {e}") for e, t in zip(order.ids, each)]
    for clip in clips:
        if not clip.file.is_file():
            raise UserError(f"{shown(clip.file)}: this video of the data set is missing")
    return clips


def _version_3(
    root: Path, tables: list[Path], template: str, camera: str
) -> dict[int, tuple[Path, float, float]]:
    places = [f"videos/{camera}/{x}" for x in ("chunk_index", "file_index", "from_timestamp")]
    keys = ["episode_index", *places]
    end = f"videos/{camera}/to_timestamp"
    found: dict[int, tuple[Path, float, float | None]] = {}
    for path in tables:
        ends = [end] if end in pq.read_schema(path).names else []
        table = pq.ParquetFile(path).read(columns=[*keys, *ends])
        if table.num_rows and any(table.column(key).null_count for key in keys):
            raise ValueError(f"nulls in {path.name}")
        for row in table.to_pylist():
            episode, chunk, file, start = (row[key] for key in keys)
            if not np.isfinite(start) or start < 0:
                raise ValueError(f"episode {episode} begins at {start} s")
            video = template.format(video_key=camera, chunk_index=chunk, file_index=file)
            known = (root / video, float(start), row.get(end))
            if found.setdefault(episode, known) != known:
                raise ValueError(f"two places for episode {episode}")
    return {e: (f, a, _end(b, f, a, starts)) for starts in [_starts(found)]
            for e, (f, a, b) in found.items()}  # fmt: skip


def _starts(found: dict[int, tuple[Path, float, float | None]]) -> dict[Path, np.ndarray]:
    by_file: dict[Path, list[float]] = {}
    for file, start, _ in found.values():
        by_file.setdefault(file, []).append(start)
    return {file: np.sort(starts) for file, starts in by_file.items()}


def _end(told: float | None, file: Path, start: float, starts: dict[Path, np.ndarray]) -> float:
    if told is not None and not np.isnan(told):
        return float(told)
    later = starts[file][np.searchsorted(starts[file], start, side="right") :]
    return float(later[0]) if len(later) else np.inf


def decode_clips(clips: list[Clip]) -> Iterator[FrameChunk]:
    """The frames of all steps; each file is read through once, whatever lies where in it.

    Raises:
        UserError: if a step has no frame of its own, by episode and step.
    """
    by_file: dict[Path, list[int]] = {}
    for e, clip in enumerate(clips):
        by_file.setdefault(clip.file, []).append(e)
    matches: list[tuple[Clip, Match]] = []
    for file, episodes in by_file.items():
        times = frame_times(file)
        found = [match(clips[e], times) for e in episodes]
        matches.extend((clips[e], m) for e, m in zip(episodes, found))
        yield from _decode_file(file, clips, episodes, [m.frames for m in found])
    _warn_of_matches(matches)


def match(clip: Clip, times: Times) -> Match:
    """The frame that each step of an episode was recorded with.

    The one nearest in time, within half the time between two frames, and another for each step. If
    the file's clock runs at another pace than the table's (its frame rate is not the recording's)
    and there are exactly as many frames as steps, they are taken one for one.

    Raises:
        UserError: if neither gives every step a frame of its own.
    """
    half = TOLERANCE * times.period
    t, stamps = times.seconds, clip.stamps
    inside = np.flatnonzero((t >= clip.start - half) & (t < clip.stop - half))
    shown_at = t[inside] - clip.start
    if not len(inside):
        raise UserError(f"{shown(clip.file)}: {_too_few(clip, 0)}")
    near = _nearest(shown_at, stamps)
    far = np.abs(shown_at[near] - stamps) > half
    far[1:] |= np.diff(near) <= 0
    if not far.any():
        step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else times.period
        return Match(inside[near], 1.0, int((shown_at > stamps[-1] + step - half).sum()))
    if len(inside) == len(stamps):
        pace = (shown_at[-1] - shown_at[0]) / (stamps[-1] - stamps[0]) if len(stamps) > 1 else 1.0
        off = np.abs(shown_at - shown_at[0] - pace * (stamps - stamps[0]))
        if (off <= half).all():
            return Match(inside, float(pace), 0)
    if len(inside) < len(stamps):
        raise UserError(f"{shown(clip.file)}: {_too_few(clip, len(inside))}")
    step = int(far.argmax())
    raise UserError(
        f"{shown(clip.file)}: {clip.name} at step {step} is at {stamps[step]:g} s, and the video "
        f"has no frame of its own for it there (the nearest is at {shown_at[near[step]]:g} s); "
        "the timestamps of the table and of the video do not fit together"
    )


def _too_few(clip: Clip, found: int) -> str:
    return (
        f"{clip.name} has {len(clip.stamps)} steps and {found} readable frames; "
        "the data set is damaged or truncated, or its timestamps are wrong"
    )


def _nearest(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    right = np.clip(np.searchsorted(ascending, values), 1, max(1, len(ascending) - 1))
    left = right - 1
    right = np.minimum(right, len(ascending) - 1)
    return np.where(values - ascending[left] <= ascending[right] - values, left, right)


def _decode_file(
    file: Path, clips: list[Clip], episodes: list[int], frames: list[np.ndarray]
) -> Iterator[FrameChunk]:
    wanted = np.concatenate(frames)
    episode = np.repeat(episodes, [len(f) for f in frames])
    step = np.concatenate([np.arange(len(f)) for f in frames])
    order = np.argsort(wanted, kind="stable")
    wanted, episode, step = wanted[order], episode[order], step[order]

    def chosen() -> Iterator[np.ndarray]:
        position = 0
        for i, frame in enumerate(video_frames(file, as_stored=True)):
            while position < len(wanted) and wanted[position] == i:
                position += 1
                yield frame
            if position == len(wanted):
                return

    done = 0
    for chunk in chunks(chosen(), episode, step):
        yield chunk
        done += len(chunk.step)
    if done < len(wanted):
        clip = clips[episode[done]]
        found = int((episode[:done] == episode[done]).sum())
        raise UserError(f"{shown(file)}: {_too_few(clip, found)}")


def _warn_of_matches(matches: list[tuple[Clip, Match]]) -> None:
    """One line for each surprise, with the first file that has it."""
    paced = [(clip, m) for clip, m in matches if m.rate != 1.0]
    if paced:
        clip, m = paced[0]
        log.warning(
            "%s: the video runs %.3g times as long as the table's timestamps, with as many frames "
            "as steps: taken one for one (%d episodes)",
            shown(clip.file), m.rate, len(paced),
        )  # fmt: skip
    longer = [(clip, m) for clip, m in matches if m.left_over]
    if longer:
        clip, m = longer[0]
        log.warning(
            "%s: %d frames come after the last step of %s in the table, and are left out (so in "
            "%d episodes)",
            shown(clip.file), m.left_over, clip.name, len(longer),
        )  # fmt: skip
