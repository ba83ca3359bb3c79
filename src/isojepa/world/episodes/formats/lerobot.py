"""LeRobot data sets: tables of steps, and where the frames of each lie."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from isojepa.boundaries import reading_each, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.encoded import decode_image, value_of
from isojepa.world.episodes.formats.files import files_below
from isojepa.world.episodes.formats.lerobot_info import Info, read_info
from isojepa.world.episodes.formats.lerobot_tables import Tables, read_tables
from isojepa.world.episodes.formats.lerobot_videos import decode_clips, find_clips
from isojepa.world.episodes.formats.rows import Order
from isojepa.world.episodes.formats.source import (
    EpisodeSource,
    FrameChunk,
    choose_camera,
    chunks,
    columns_missing,
)
from isojepa.world.episodes.formats.videos import video_frames

log = logging.getLogger(__name__)
INDEX_COLUMNS = ("episode_index", "frame_index", "index", "task_index", "timestamp")
ALIASES = {"observation.state": "proprio"}  # as the platform's adapter names it
IMAGES = 64  # rows of images read at a time


def read_lerobot(root: Path, camera: str | None = None) -> EpisodeSource:
    """Open a LeRobot data set, of version 2 (a video per episode) or 3 (many in one file).

    Rows are sorted by episode_index and frame_index, in whatever files and order they lie; images
    go with their rows, and frames of videos are found by timestamp. `observation.state` becomes
    the column `proprio`.

    Raises:
        UserError: if something cannot be read or is missing, or rows and frames do not add up.
    """
    info = read_info(root)
    cameras = sorted(k for k, dtype in info.features.items() if dtype in {"video", "image"})
    if not cameras:
        raise columns_missing(root, "pixels (a feature of type video or image)", info.features)
    main = cameras[0] if len(cameras) == 1 else None
    pixels = choose_camera(root, cameras, main, camera)
    files = files_below(root / "data", {".parquet"})
    if not files:
        raise UserError(
            f"{shown(root)}: the data set holds no episodes (data/ has no .parquet file)"
        )
    tables = read_tables(root, files)
    if "action" in info.features and "action" not in tables.columns:
        raise UserError(
            f"{shown(root)}: meta/info.json tells of a feature 'action', and the tables have none"
        )
    order = tables.order()
    _warn_of_missing(root, info, order)
    columns = {
        ALIASES.get(k, k): v[order.rows]
        for k, v in tables.columns.items()
        if k not in INDEX_COLUMNS
    }
    frames = (_of_images if info.features[pixels] == "image" else _of_videos)(
        root, info, pixels, tables, order
    )
    return EpisodeSource(
        files=[*files, *frames.files],
        lengths=order.lengths,
        size=(1, 1) if frames.first is None else frames.first.shape[:2],
        columns=columns,
        camera=None if pixels == main else pixels,
        ids=order.ids,
        decode=frames.decode,
    )


class _Frames(NamedTuple):
    """Where the frames lie, apart from the tables."""

    files: list[Path]
    first: np.ndarray | None
    decode: Callable[[], Iterator[FrameChunk]]


def _of_images(root: Path, _: Info, camera: str, tables: Tables, order: Order) -> _Frames:
    episode, step = order.places(tables.total)

    def images() -> Iterator[np.ndarray]:
        return _images(root, tables, camera, order)

    return _Frames([], next(images(), None), lambda: chunks(images(), episode, step))


def _of_videos(root: Path, info: Info, camera: str, tables: Tables, order: Order) -> _Frames:
    clips = find_clips(root, info, camera, tables, order)
    first = next(video_frames(clips[0].file), None) if clips else None
    return _Frames(sorted({clip.file for clip in clips}), first, lambda: decode_clips(clips))


def _warn_of_missing(root: Path, info: Info, order: Order) -> None:
    for what, told, found in (
        ("episodes", info.episodes, len(order.lengths)),
        ("frames", info.frames, int(order.lengths.sum())),
    ):
        if isinstance(told, int) and told != found:
            log.warning(
                "%s: meta/info.json tells of %d %s and the tables hold %d",
                shown(root), told, what, found,
            )  # fmt: skip
            return


def _images(root: Path, tables: Tables, camera: str, order: Order) -> Iterator[np.ndarray]:
    """Each row's image, in the order of the rows as stored."""
    episode, step = order.places(tables.total)
    row = 0

    def what() -> str:
        return f"episode {order.ids[episode[row]]} at step {step[row]}"

    def values(file: Path) -> Iterator[object]:
        for batch in pq.ParquetFile(file).iter_batches(IMAGES, columns=[camera]):
            yield from batch.column(0).to_pylist()

    for file in tables.files:
        for value in reading_each(file, "a table", values(file)):
            yield decode_image(file, what(), value_of(root, value, what))
            row += 1
