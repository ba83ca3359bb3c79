"""One table of columns, a row per step: the platform's HDF5 files, D4RL's, OGBench's .npz."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.pixels import (
    Stored,
    cameras_of,
    channels_last,
    read_column,
    row_blocks,
    stored_size,
    to_bytes,
)
from isojepa.world.episodes.formats.rows import DESCRIPTIONS, FLAG_NAMES, STEP_NAMES, episode_order
from isojepa.world.episodes.formats.source import EpisodeSource, FrameChunk, choose_camera

ACTION_NAMES = ("action", "actions")


def read_flat(
    path: Path,
    found: Mapping[str, Stored],
    camera: str | None,
    *,
    env_id: str | None = None,
    view: Callable[[Stored], Callable[[np.ndarray], np.ndarray] | None] = lambda _: None,
    others: Callable[[Stored], list[Path]] = lambda _: [],
) -> EpisodeSource:
    """Columns of equal length as episodes.

    Args:
        found: all columns by name.
        view: rows of the frames straight from the file's bytes, where that is possible.
        others: further files in which the frames lie.

    Raises:
        UserError: if there are no frames, nothing tells where episodes end, or columns contradict
            each other.
    """
    cameras, main = cameras_of(path, found)
    name = choose_camera(path, cameras, main, camera)
    pixels = found[name]
    if not pixels.shape:
        raise UserError(f"{shown(path)}: {name!r} is a single {pixels.dtype}, not frames")
    total = pixels.shape[0]
    to_frames = channels_last(path, name, pixels)
    telling = {*DESCRIPTIONS, *STEP_NAMES, *FLAG_NAMES}
    order = episode_order(
        path,
        {
            key.removeprefix("data/"): read_column(path, key, item)
            for key, item in found.items()
            if key.removeprefix("data/") in telling
        },
        total,
    )
    episode, step = order.places(total)

    def decode() -> Iterator[FrameChunk]:
        convert = to_bytes(path, name, [pixels])
        used = np.flatnonzero(episode >= 0)
        for rows in row_blocks(int(used[0]), int(used[-1]) + 1, pixels):
            kept = episode[rows] >= 0
            if kept.any():
                frames = convert(to_frames(read_column(path, name, pixels, rows)[kept]))
                yield FrameChunk(episode[rows][kept], step[rows][kept], frames)

    at_once = view(pixels) if pixels.dtype == np.uint8 else None
    return EpisodeSource(
        files=[path, *others(pixels)],
        lengths=order.lengths,
        size=stored_size(path, name, pixels),
        columns=_columns(path, found, name, total, order.rows),
        env_id=env_id,
        camera=None if name == main else name,
        decode=decode,
        direct=None if at_once is None else lambda chosen: to_frames(at_once(order.rows[chosen])),
    )


def _columns(
    path: Path, found: Mapping[str, Stored], pixels: str, total: int, rows: np.ndarray
) -> dict[str, np.ndarray]:
    columns = {}
    for key, item in found.items():
        name = key.removeprefix("data/")
        if key == pixels or name in DESCRIPTIONS:
            continue
        numbers = item.dtype.kind in "biuf"
        fits = bool(item.shape) and item.shape[0] == total and len(item.shape) <= 3
        if name in ACTION_NAMES and not (numbers and fits):
            why = f"is of type {item.dtype} and shape {tuple(item.shape)}; expected numbers"
            if numbers and item.shape and item.shape[0] != total:
                why = f"has {item.shape[0]} rows and {pixels!r} {total}"
            raise UserError(f"{shown(path)}: {key!r} {why}")
        if numbers and fits:
            columns[name] = read_column(path, key, item)[rows]
    return with_action(columns)


def with_action(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Columns in which `actions` is called `action`."""
    if "action" not in columns and "actions" in columns:
        columns["action"] = columns.pop("actions")
    return columns
