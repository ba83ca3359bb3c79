"""Episodes that lie in video files: plain videos, and data sets in the layout of LeRobot."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isojepa.data.trajectory_formats import (
    CHUNK,
    FrameChunk,
    Source,
    arrow_to_numpy,
    choose_camera,
    columns_missing,
    decode_images,
    first_line,
    is_numeric,
    missing_package,
)
from isojepa.errors import UserError

VIDEO_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".gif", ".m4v"}
INDEX_COLUMNS = ("episode_index", "frame_index", "index", "task_index", "timestamp")
ALIASES = {"observation.state": "proprio"}  # as the platform's adapter names it


def read_videos(videos: list[Path], camera: str | None = None) -> Source:
    """One episode per video file, in the order given; there are no actions."""
    if camera is not None:
        raise UserError(f"{videos[0]}: videos have no cameras to choose from, got {camera!r}")
    first = next(video_frames(videos[0]), None)
    if first is None:
        raise UserError(f"{videos[0]}: the video holds no frames")

    def decode() -> Iterator[FrameChunk]:
        for episode, video in enumerate(videos):
            chunks = list_chunks(video_frames(video))
            some = next(chunks, None)
            if some is None:
                raise UserError(f"{video}: the video holds no frames")
            yield episode, some
            yield from ((episode, chunk) for chunk in chunks)

    return Source(
        files=videos,
        lengths=None,
        size=(first.shape[0], first.shape[1]),
        columns={},
        env_id=None,
        decode=decode,
    )


def video_frames(video: Path) -> Iterator[np.ndarray]:
    """The frames of a video file, uint8 (y, x, 3), through the ffmpeg that imageio brings."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise missing_package("imageio-ffmpeg", error) from error
    frames = imageio_ffmpeg.read_frames(str(video), pix_fmt="rgb24")
    try:
        width, height = next(frames)["size"]
        for frame in frames:
            yield np.frombuffer(frame, np.uint8).reshape(height, width, 3)
    except (OSError, RuntimeError, StopIteration, KeyError) as error:
        raise UserError(
            f"{video}: not a readable video, or a truncated one ({first_line(error)})"
        ) from error
    finally:
        frames.close()


def list_chunks(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Stack single frames into chunks (n, y, x, 3)."""
    while some := list(islice(frames, CHUNK)):
        yield np.stack(some)


class _Clip(NamedTuple):
    """Where an episode's frames lie: a video file and the first of its frames."""

    file: Path
    first: int


def read_lerobot(root: Path, camera: str | None = None) -> Source:
    """Open a LeRobot data set, of version 2 (a video per episode) or 3 (many in one file).

    `observation.state` becomes the column `proprio`.
    """
    try:
        info = json.loads((root / "meta" / "info.json").read_text())
        features = dict(info["features"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{root}/meta/info.json: not readable ({first_line(error)})") from error
    cameras = sorted(k for k, v in features.items() if v.get("dtype") in {"video", "image"})
    if not cameras:
        raise columns_missing(root, "pixels (a feature of type video or image)", list(features))
    main = cameras[0] if len(cameras) == 1 else None
    pixels = choose_camera(root, cameras, main, camera)
    tables = sorted((root / "data").rglob("*.parquet"))
    rows = _read_tables(root, tables)
    order = np.lexsort((rows["frame_index"], rows["episode_index"]))
    columns = {ALIASES.get(k, k): v[order] for k, v in rows.items() if k not in INDEX_COLUMNS}
    episodes, counts = np.unique(rows["episode_index"], return_counts=True)
    lengths = counts.astype(np.int64)
    if features[pixels]["dtype"] == "image":
        files, size = tables, _image_size(root, tables[0], pixels) if tables else (1, 1)

        def decode() -> Iterator[FrameChunk]:
            return decode_images(root, _images(root, tables, pixels), lengths)

    else:
        clips = _clips(root, info, pixels, [int(e) for e in episodes])
        files = [*tables, *sorted({clip.file for clip in clips})]
        first = next(video_frames(clips[0].file), None) if clips else None
        size = (1, 1) if first is None else (first.shape[0], first.shape[1])

        def decode() -> Iterator[FrameChunk]:
            return _decode_clips(clips, lengths)

    return Source(
        files=files,
        lengths=lengths,
        size=size,
        columns=columns,
        env_id=None,
        camera=None if pixels == main else pixels,
        decode=decode,
    )


def _read_tables(root: Path, tables: list[Path]) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not tables:
        raise UserError(f"{root}: the data set holds no episodes (data/ has no .parquet file)")
    parts: list[dict[str, np.ndarray]] = []
    for table in tables:
        try:
            names = [field.name for field in pq.read_schema(table) if is_numeric(field.type)]
            read = pq.read_table(table, columns=names)
        except (OSError, pa.ArrowInvalid) as error:
            raise UserError(f"{table}: not a readable table ({first_line(error)})") from error
        parts.append({name: arrow_to_numpy(read.column(name)) for name in names})
        for wanted in ("episode_index", "frame_index"):
            if wanted not in names:
                raise columns_missing(table, wanted, names)
    return {
        name: np.concatenate([part[name] for part in parts])
        for name in parts[0]
        if all(name in part for part in parts)
    }


def _clips(root: Path, info: dict[str, Any], camera: str, episodes: list[int]) -> list[_Clip]:
    tables = sorted((root / "meta" / "episodes").rglob("*.parquet"))
    template = str(info.get("video_path") or "")
    try:
        if not tables:  # version 2
            size = int(info.get("chunks_size", 1000))
            places = [
                template.format(episode_chunk=e // size, video_key=camera, episode_index=e)
                for e in episodes
            ]
            clips = [_Clip(root / place, 0) for place in places]
        else:
            clips = _clips_of_version_3(
                root, tables, template, camera, episodes, float(info["fps"])
            )
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"{root}/meta: does not say where the videos of {camera} lie ({first_line(error)})"
        ) from error
    for clip in clips:
        if not clip.file.is_file():
            raise UserError(f"{clip.file}: this video of the data set is missing")
    return clips


def _clips_of_version_3(
    root: Path, tables: list[Path], template: str, camera: str, episodes: list[int], fps: float
) -> list[_Clip]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = ["episode_index"] + [
        f"videos/{camera}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")
    ]
    table = pa.concat_tables([pq.read_table(path, columns=keys) for path in tables])
    found = {}
    for episode, chunk, file, start in zip(*(table.column(key).to_pylist() for key in keys)):
        place = template.format(video_key=camera, chunk_index=chunk, file_index=file)
        found[episode] = _Clip(root / place, round(start * fps))
    return [found[episode] for episode in episodes]


def _decode_clips(clips: list[_Clip], lengths: np.ndarray) -> Iterator[FrameChunk]:
    """Each file is read through once where its episodes lie in order."""
    current: Path | None = None
    position, frames = 0, iter(list[np.ndarray]())
    for episode, (clip, length) in enumerate(zip(clips, lengths)):
        if clip.file != current or clip.first < position:
            current, position, frames = clip.file, 0, video_frames(clip.file)
        frames_before = clip.first - position
        next(islice(frames, frames_before, frames_before), None)
        for chunk in list_chunks(islice(frames, int(length))):
            yield episode, chunk
        position = clip.first + int(length)


def _images(root: Path, tables: list[Path], camera: str) -> Iterator[bytes]:
    import pyarrow.parquet as pq

    for table in tables:
        for batch in pq.ParquetFile(table).iter_batches(CHUNK, columns=[camera]):
            for value in batch.column(0).to_pylist():
                if value.get("bytes"):
                    yield value["bytes"]
                else:
                    yield (root / str(value["path"])).read_bytes()


def _image_size(root: Path, table: Path, camera: str) -> tuple[int, int]:
    length = np.array([1], np.int64)
    _, frames = next(decode_images(root, _images(root, [table], camera), length))
    return frames.shape[1], frames.shape[2]
