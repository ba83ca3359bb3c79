"""Layouts of episodes on disk, read into one shape: lengths, columns, and a way to the frames."""

import difflib
import io
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from isojepa.errors import UserError

CHUNK = 128  # frames decoded at a time
LENGTH_NAMES = ("ep_len", "episode_lengths", "episode_length")
END_NAMES = ("episode_ends", "meta/episode_ends")
INDEX_NAMES = ("ep_idx", "episode_idx", "episode_index")
OFFSET_NAMES = ("ep_offset", "episode_offsets")
ACTION_NAMES = ("action", "actions")

FrameChunk = tuple[int, np.ndarray]
"""(episode, uint8 frames (n, y, x, 3)); the chunks of an episode follow one another."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as it lies on disk; the columns are read, the frames are not."""

    files: list[Path]
    """What the content depends on: a cache of it is stale when one of them changes."""
    lengths: np.ndarray | None
    """Steps per episode; None when only decoding tells, as with plain videos."""
    size: tuple[int, int]
    """Rows and columns of the stored frames."""
    columns: dict[str, np.ndarray]
    """Per-step columns but the frames, the episodes one after the other; `action` among them."""
    env_id: str | None
    camera: str | None = None
    """Column of the frames where it is not the main one: a cache keeps cameras apart by it."""
    decode: Callable[[], Iterator[FrameChunk]]
    direct: Callable[[np.ndarray], np.ndarray] | None = None
    """Frames of the given rows without decoding, (n, y, x, 3); None when they are compressed."""


def columns_missing(path: Path, wanted: str, present: list[str]) -> UserError:
    """The error for a data set without a needed column."""
    return UserError(f"{path}: no column {wanted!r}; the columns are {', '.join(sorted(present))}")


def no_such(
    path: Path, kind: str, name: str, known: list[str], short: list[str] | None = None
) -> UserError:
    """The error for the name of a column or camera that the data set does not have.

    Args:
        short: other names that would do.
    """
    close = difflib.get_close_matches(name, [*known, *(short or [])], n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return UserError(
        f"{path}: no {kind} {name!r} ({kind}s: {', '.join(sorted(known)) or 'none'}){hint}"
    )


def choose_camera(path: Path, cameras: list[str], main: str | None, camera: str | None) -> str:
    """The column of the camera asked for, by its name or the last part of that; else the main one.

    Raises:
        UserError: if there is no such camera, or none is asked for and none is the main one.
    """
    if camera is None and main is None:
        raise UserError(
            f"{path}: has {len(cameras)} cameras; choose one by its name: {', '.join(cameras)}"
        )
    if camera is None or camera in cameras:
        return str(camera or main)
    short = [re.split(r"[./]", name)[-1] for name in cameras]
    if short.count(camera) != 1:
        raise no_such(path, "camera", camera, cameras, short)
    return cameras[short.index(camera)]


def read_hdf5(path: Path, camera: str | None = None) -> Source:
    """Open an HDF5 file in the platform's or the official LeWM layout.

    Frames are in `pixels`, else in the only `pixels...`, else in the only uint8 dataset with
    images, or where `camera` says; episodes are told by `ep_len` (and `ep_offset`), by
    `episode_ends`, or by an index per step.
    """
    h5py = _h5py()
    file = _open_hdf5(path)
    found: dict[str, Any] = {}
    file.visititems(
        lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None
    )
    cameras, main = _cameras(path, found)
    pixels_name = choose_camera(path, cameras, main, camera)
    pixels = found[pixels_name]
    rows = _episode_rows(path, found, len(pixels))
    order = np.concatenate(rows) if rows else np.arange(0)
    known = {*LENGTH_NAMES, *END_NAMES, *INDEX_NAMES, *OFFSET_NAMES}
    columns = {}
    for name, item in found.items():
        if name in known or item.dtype.kind not in "biuf" or item.dtype.itemsize == 0:
            continue
        if not item.shape or len(item) != len(pixels) or item.ndim > 3 or item is pixels:
            if name in ACTION_NAMES:
                raise UserError(
                    f"{path}: {name!r} has {len(item)} rows and {pixels.name[1:]!r} {len(pixels)}"
                )
            continue
        columns[name.removeprefix("data/")] = _read_rows(path, item)[order]
    to_frames = _layout(path, pixels.shape[1:])

    def decode() -> Iterator[FrameChunk]:
        for episode, chosen in enumerate(rows):
            for start in range(int(chosen[0]), int(chosen[-1]) + 1, CHUNK):
                stop = min(start + CHUNK, int(chosen[-1]) + 1)
                try:
                    yield episode, to_frames(pixels[start:stop])
                except (OSError, RuntimeError) as error:
                    raise UserError(
                        f"{path}: the frames of episode {episode} cannot be read "
                        f"({first_line(error)}); the file is damaged or truncated"
                    ) from error

    view = _uncompressed(path, pixels)
    direct = None if view is None else lambda chosen: to_frames(view(order[chosen]))
    stored = to_frames(np.zeros((1, *pixels.shape[1:]), np.uint8)).shape
    env_id = file.attrs.get("env_id")
    return Source(
        files=[path],
        lengths=np.array([len(chosen) for chosen in rows], np.int64),
        size=(stored[1], stored[2]),
        columns=_named_action(columns),
        env_id=None if env_id is None else str(env_id),
        camera=None if pixels_name == main else pixels_name,
        decode=decode,
        direct=direct,
    )


def read_lance(path: Path, camera: str | None = None) -> Source:
    """Open a Lance table in the platform's layout: JPEG blobs, one row per step.

    Frames are in `pixels`, else in the only `pixels...`, else in the only binary column, or where
    `camera` says.
    """
    try:
        import lance
    except ImportError as error:
        raise missing_package("pylance", error) from error
    try:
        table = lance.dataset(str(path))
        names = [field.name for field in table.schema]
        total = table.count_rows()
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable Lance table ({first_line(error)})") from error
    cameras, main = _cameras(path, {f.name: f for f in table.schema if _is_binary(f.type)}, names)
    pixels = choose_camera(path, cameras, main, camera)
    index = next((name for name in INDEX_NAMES if name in names), None)
    if index is None:
        raise columns_missing(path, "episode_idx", names)
    others = [
        field.name
        for field in table.schema
        if field.name != pixels and is_numeric(field.type) and field.name not in INDEX_NAMES
    ]
    try:
        read = table.to_table(columns=[index, *others])
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)})") from error
    lengths = _run_lengths(path, read.column(index).to_numpy())
    columns = {name: arrow_to_numpy(read.column(name)) for name in others}

    def blobs() -> Iterator[bytes]:
        try:
            for batch in table.scanner(columns=[pixels], batch_size=CHUNK).to_batches():
                yield from (value.as_py() for value in batch.column(0))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: the frames cannot be read ({first_line(error)})") from error

    first = next(blobs(), None) if total else None
    width, height = (1, 1) if first is None else _decode_image(path, 0, first).size
    metadata = table.schema.metadata or {}
    return Source(
        files=sorted(p for p in path.rglob("*") if p.is_file()),
        lengths=lengths,
        size=(height, width),
        columns=_named_action(columns),
        env_id=metadata[b"env_id"].decode() if b"env_id" in metadata else None,
        camera=None if pixels == main else pixels,
        decode=lambda: decode_images(path, blobs(), lengths),
    )


def decode_images(path: Path, blobs: Iterator[bytes], lengths: np.ndarray) -> Iterator[FrameChunk]:
    """Decode encoded images, one per step, into chunks that do not cross an episode's end."""
    for episode, length in enumerate(lengths):
        for start in range(0, int(length), CHUNK):
            n = min(CHUNK, int(length) - start)
            images = [_decode_image(path, episode, blob) for _, blob in zip(range(n), blobs)]
            yield episode, np.stack([np.asarray(image) for image in images])


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise missing_package("h5py", error) from error
    with suppress(ImportError):
        import hdf5plugin  # noqa: F401  the official files are compressed with its filters
    return h5py


def missing_package(package: str, error: ImportError) -> UserError:
    return UserError(
        f"reading this data set needs the extra: pip install 'isojepa[world]' "
        f"({package} is missing: {error})"
    )


def _open_hdf5(path: Path) -> Any:
    try:
        return _h5py().File(path, "r")
    except OSError as error:
        raise UserError(
            f"{path}: not a readable HDF5 file, or a truncated one ({first_line(error)})"
        ) from error


def _cameras(
    path: Path, found: dict[str, Any], names: list[str] | None = None
) -> tuple[list[str], str | None]:
    """Columns of frames, and the main one of them; None where several have equal claims."""
    plain = [name for name in ("pixels", "data/pixels") if name in found]
    views = sorted(name for name in found if re.match(r"(data/)?pixels($|[._/])", name))
    images = sorted(
        name
        for name, item in found.items()
        if getattr(item, "ndim", 4) == 4 and str(getattr(item, "dtype", "uint8")) == "uint8"
    )
    best = plain[:1] or views or images
    if not best:
        raise columns_missing(path, "pixels", names or list(found))
    return sorted({*views, *images}), best[0] if len(best) == 1 else None


def _episode_rows(path: Path, found: dict[str, Any], total: int) -> list[np.ndarray]:
    """The rows of each episode, from whichever of the known descriptions the file has."""
    lengths = next((found[name][:] for name in LENGTH_NAMES if name in found), None)
    ends = next((found[name][:] for name in END_NAMES if name in found), None)
    index = next((found[name][:] for name in INDEX_NAMES if name in found), None)
    if lengths is None and ends is not None:
        lengths = np.diff(ends, prepend=0)
    if lengths is None and index is not None:
        lengths = _run_lengths(path, np.asarray(index).reshape(-1))
    if lengths is None:
        raise UserError(
            f"{path}: nothing tells where episodes end: no column {LENGTH_NAMES[0]!r}, "
            f"{END_NAMES[0]!r} or {INDEX_NAMES[0]!r}"
        )
    lengths = np.asarray(lengths, np.int64)
    starts = next((found[name][:] for name in OFFSET_NAMES if name in found), None)
    starts = np.cumsum(lengths) - lengths if starts is None else np.asarray(starts, np.int64)
    wrong = len(starts) != len(lengths) or (lengths < 1).any()
    if wrong or (starts + lengths > total).any() or (starts < 0).any():
        raise UserError(
            f"{path}: the episode lengths ask for {int(lengths.sum())} frames and the file holds "
            f"{total}; it is damaged, or was cut while being written"
        )
    return [np.arange(s, s + n) for s, n in zip(starts, lengths)]


def _run_lengths(path: Path, index: np.ndarray) -> np.ndarray:
    if len(index) == 0:
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(index)) + 1])
    if len(set(index[starts].tolist())) != len(starts):
        raise UserError(f"{path}: the steps of an episode do not follow one another")
    return np.diff(np.concatenate([starts, [len(index)]])).astype(np.int64)


def _read_rows(path: Path, dataset: Any) -> np.ndarray:
    try:
        return np.asarray(dataset[:])
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"{path}: {dataset.name[1:]!r} cannot be read ({first_line(error)}); "
            "the file is damaged or truncated"
        ) from error


def _layout(path: Path, shape: tuple[int, ...]) -> Callable[[np.ndarray], np.ndarray]:
    """How to bring stored frames to (n, y, x, 3): channels first or last, grey or colour."""
    if len(shape) == 3 and shape[-1] == 3:
        return lambda frames: frames
    if len(shape) == 3 and shape[-1] == 1:
        return lambda frames: np.repeat(frames, 3, -1)
    if len(shape) == 3 and shape[0] == 3:
        return lambda frames: np.moveaxis(frames, 1, -1)
    if len(shape) == 3 and shape[0] == 1:
        return lambda frames: np.repeat(np.moveaxis(frames, 1, -1), 3, -1)
    raise UserError(f"{path}: frames of shape {shape}; expected (rows, columns, 3)")


def _uncompressed(path: Path, pixels: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Rows straight from the file's bytes, where each frame lies there whole; None elsewhere."""
    frame = int(np.prod(pixels.shape[1:]))
    plain = pixels.id.get_create_plist().get_nfilters() == 0 and pixels.dtype == np.uint8
    if not plain or not len(pixels):
        return None
    places = np.full(len(pixels), -1, np.int64)
    if pixels.chunks is None and pixels.id.get_offset() is not None:
        places = pixels.id.get_offset() + frame * np.arange(len(pixels))
    elif pixels.chunks == (1, *pixels.shape[1:]):

        def note(chunk: Any) -> None:
            places[chunk.chunk_offset[0]] = chunk.byte_offset

        pixels.id.chunk_iter(note)
    base = pixels.file.userblock_size
    if (places < 0).any() or places.max() + base + frame > path.stat().st_size:
        return None
    content = np.memmap(path, np.uint8, "r")
    shape = pixels.shape[1:]

    def view(chosen: np.ndarray) -> np.ndarray:
        out = np.empty((len(chosen), frame), np.uint8)
        for i, place in enumerate(places[chosen] + base):
            out[i] = content[place : place + frame]
        return out.reshape(-1, *shape)

    return view


def _decode_image(path: Path, episode: int, blob: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(blob)).convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path}: a frame of episode {episode} is damaged ({first_line(error)})"
        ) from error


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_numeric(kind: Any) -> bool:
    import pyarrow as pa

    while pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind):
        kind = kind.value_type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def arrow_to_numpy(column: Any) -> np.ndarray:
    """A chunked column of numbers or of equally long lists of numbers."""
    import pyarrow as pa

    column = column.combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    if pa.types.is_list(column.type):
        return np.array(column.to_pylist(), dtype=np.float32)
    return column.to_numpy(zero_copy_only=False)


def _named_action(columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if "action" not in columns and "actions" in columns:
        columns["action"] = columns.pop("actions")
    return columns


def first_line(error: BaseException) -> str:
    """The first line of an error's message: libraries append pages to it."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
