"""LeRobot data sets: tables of steps, and where the frames of each lie."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.encoded import decode_image, value_of
from isojepa.world.episodes.formats.files import files_below
from isojepa.world.episodes.formats.lerobot_tables import Tables, read_tables
from isojepa.world.episodes.formats.lerobot_videos import decode_clips, find_clips
from isojepa.world.episodes.formats.rows import Order
from isojepa.world.episodes.formats.source import (
    FrameChunk,
    Source,
    choose_camera,
    columns_missing,
    stacked,
)
from isojepa.world.episodes.formats.videos import video_frames

log = logging.getLogger(__name__)
INDEX_COLUMNS = ("episode_index", "frame_index", "index", "task_index", "timestamp")
ALIASES = {"observation.state": "proprio"}  # as the platform's adapter names it
IMAGES = 64  # rows of images read at a time


def read_lerobot(root: Path, camera: str | None = None) -> Source:
    """Open a LeRobot data set, of version 2 (a video per episode) or 3 (many in one file).

    Rows are sorted by episode_index and frame_index, in whatever files and order they lie; images
    go with their rows, and frames of videos are found by timestamp. `observation.state` becomes
    the column `proprio`.

    Raises:
        UserError: if something cannot be read or is missing, or rows and frames do not add up.
    """
    info, features = _info(root)
    cameras = sorted(k for k, v in features.items() if v.get("dtype") in {"video", "image"})
    if not cameras:
        raise columns_missing(root, "pixels (a feature of type video or image)", list(features))
    main = cameras[0] if len(cameras) == 1 else None
    pixels = choose_camera(root, cameras, main, camera)
    files = files_below(root / "data", {".parquet"})
    if not files:
        raise UserError(
            f"{shown(root)}: the data set holds no episodes (data/ has no .parquet file)"
        )
    tables = read_tables(root, files)
    if "action" in features and "action" not in tables.columns:
        raise UserError(
            f"{shown(root)}: meta/info.json tells of a feature 'action', and the tables have none"
        )
    order = tables.order()
    _tell_of_missing(root, info, order)
    columns = {
        ALIASES.get(k, k): v[order.rows]
        for k, v in tables.columns.items()
        if k not in INDEX_COLUMNS
    }
    if features[pixels]["dtype"] == "image":
        first = next(_images(root, tables, pixels, order), None)

        def decode() -> Iterator[FrameChunk]:
            episode, step = order.places(tables.total)
            row = 0
            for frames in stacked(_images(root, tables, pixels, order)):
                rows = slice(row, row + len(frames))
                yield FrameChunk(episode[rows], step[rows], frames)
                row = rows.stop

        depends = files
    else:
        clips = find_clips(root, info, pixels, tables, order)
        first = next(video_frames(clips[0].file), None) if clips else None

        def decode() -> Iterator[FrameChunk]:
            return decode_clips(clips)

        depends = [*files, *sorted({clip.file for clip in clips})]
    return Source(
        files=depends,
        lengths=order.lengths,
        size=(1, 1) if first is None else (first.shape[0], first.shape[1]),
        columns=columns,
        camera=None if pixels == main else pixels,
        ids=order.ids,
        decode=decode,
    )


def _info(root: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    path = root / "meta" / "info.json"

    def error(why: str) -> UserError:
        return UserError(f"{shown(path)}: not readable ({why})")

    with reading(path, "LeRobot's description", error):
        info = json.loads(path.read_text(encoding="utf-8"))
        features = {str(k): dict(v) for k, v in dict(info["features"]).items()}
        return dict(info), features


def _tell_of_missing(root: Path, info: dict[str, Any], order: Order) -> None:
    for what, found in (("episodes", len(order.lengths)), ("frames", int(order.lengths.sum()))):
        told = info.get(f"total_{what}")
        if isinstance(told, int) and told != found:
            log.warning(
                "%s: meta/info.json tells of %d %s and the tables hold %d",
                shown(root), told, what, found,
            )  # fmt: skip
            return


def _images(root: Path, tables: Tables, camera: str, order: Order) -> Iterator[np.ndarray]:
    """Each row's image, in the order of the rows as stored."""
    import pyarrow.parquet as pq

    episode, step = order.places(tables.total)
    row = 0

    def what() -> str:
        return f"episode {order.ids[episode[row]]} at step {step[row]}"

    for file in tables.files:
        with reading(file, "a table"):
            batches = pq.ParquetFile(file).iter_batches(IMAGES, columns=[camera])
        while True:
            with reading(file, "a table"):
                batch = next(batches, None)
                values = [] if batch is None else batch.column(0).to_pylist()
            if batch is None:
                break
            for value in values:
                yield decode_image(file, what(), value_of(root, value, what))
                row += 1
