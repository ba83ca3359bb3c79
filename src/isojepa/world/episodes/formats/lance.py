"""Lance tables in the platform's layout: JPEG blobs, one row per step."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.arrow import Ragged, is_numeric, to_numpy
from isojepa.world.episodes.formats.encoded import decode_image
from isojepa.world.episodes.formats.flat import ACTION_NAMES, with_action
from isojepa.world.episodes.formats.rows import (
    DESCRIPTIONS,
    INDEX_NAMES,
    STEP_NAMES,
    described,
)
from isojepa.world.episodes.formats.source import (
    FrameChunk,
    Source,
    choose_camera,
    columns_missing,
    missing_package,
    stacked,
)

GLANCE = 64  # encoded frames read at a time


def read_lance(path: Path, camera: str | None = None) -> Source:
    """Open a Lance table.

    Frames are in `pixels`, else in the only `pixels...`, else in the only binary column, or where
    `camera` says.

    Raises:
        UserError: if it cannot be read, misses a column, or its rows do not make whole episodes.
    """
    try:
        import lance
    except ImportError as error:
        raise missing_package("pylance", error) from error

    def unreadable(why: str) -> UserError:
        return UserError(f"{shown(path)}: not a readable Lance table ({why})")

    with reading(path, "a Lance table", unreadable):
        table = lance.dataset(str(path))
        fields = {field.name: field.type for field in table.schema}
        total = table.count_rows()
        metadata = dict(table.schema.metadata or {})
    cameras, main = _cameras(path, fields)
    name = choose_camera(path, cameras, main, camera)
    if not any(index in fields for index in INDEX_NAMES):
        raise columns_missing(path, "episode_idx", fields)
    numbers = [key for key, kind in fields.items() if key != name and is_numeric(kind)]
    for key in ACTION_NAMES:
        if key in fields and key not in numbers:
            raise UserError(f"{shown(path)}: {key!r} is of type {fields[key]}; expected numbers")
    with reading(path, "a Lance table", unreadable):
        read = table.to_table(columns=numbers)
    columns = {}
    for key in numbers:
        try:
            columns[key] = to_numpy(read.column(key))
        except Ragged as error:
            raise UserError(f"{shown(path)}: {key!r} has {error}") from error
    telling = {*INDEX_NAMES, *STEP_NAMES}
    order = described(path, {k: v for k, v in columns.items() if k in telling}, total)
    episode, step = order.places(total)

    def decode() -> Iterator[FrameChunk]:
        row = 0
        for frames in stacked(_frames(path, table, name, episode, step)):
            rows = slice(row, row + len(frames))
            yield FrameChunk(episode[rows], step[rows], frames)
            row = rows.stop

    first = next(_frames(path, table, name, episode, step), None) if total else None
    env_id = metadata.get(b"env_id")
    return Source(
        files=sorted(p for p in path.rglob("*") if p.is_file()),
        lengths=order.lengths,
        size=(1, 1) if first is None else (first.shape[0], first.shape[1]),
        columns=with_action(
            {k: v[order.rows] for k, v in columns.items() if k not in DESCRIPTIONS}
        ),
        env_id=None if env_id is None else env_id.decode(errors="replace"),
        camera=None if name == main else name,
        decode=decode,
    )


def _frames(
    path: Path, table: Any, camera: str, episode: np.ndarray, step: np.ndarray
) -> Iterator[np.ndarray]:
    def error(why: str) -> UserError:
        return UserError(f"{shown(path)}: the frames cannot be read ({why})")

    row = 0
    with reading(path, "frames", error):
        batches = iter(table.scanner(columns=[camera], batch_size=GLANCE).to_batches())
    while True:
        with reading(path, "frames", error):
            batch = next(batches, None)
            blobs = [] if batch is None else batch.column(0).to_pylist()
        if batch is None:
            return
        for blob in blobs:
            yield decode_image(path, f"episode {episode[row]} at step {step[row]}", blob)
            row += 1


def _cameras(path: Path, fields: dict[str, Any]) -> tuple[list[str], str | None]:
    import pyarrow as pa

    binary = [k for k, v in fields.items() if pa.types.is_binary(v) or pa.types.is_large_binary(v)]
    views = sorted(k for k in binary if k.startswith(("pixels.", "pixels_", "pixels/")))
    best = ["pixels"] if "pixels" in binary else views or binary
    if not best:
        raise columns_missing(path, "pixels", fields)
    return sorted(binary), best[0] if len(best) == 1 else None
