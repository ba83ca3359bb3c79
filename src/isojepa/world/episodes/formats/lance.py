"""Lance tables in the platform's layout: JPEG blobs, one row per step."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from isojepa.boundaries import reading, reading_each, shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.arrow import Ragged, column_values, is_numeric
from isojepa.world.episodes.formats.encoded import decode_image
from isojepa.world.episodes.formats.flat import ACTION_NAMES, with_action
from isojepa.world.episodes.formats.rows import DESCRIPTIONS, INDEX_NAMES, STEP_NAMES, episode_order
from isojepa.world.episodes.formats.source import (
    EpisodeSource,
    choose_camera,
    chunks,
    columns_missing,
    missing_package,
)

READ_AT_ONCE = 64  # encoded frames


def read_lance(path: Path, camera: str | None = None) -> EpisodeSource:
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
        columns = _columns(path, table.to_table(columns=numbers))
    telling = {*INDEX_NAMES, *STEP_NAMES}
    order = episode_order(path, {k: v for k, v in columns.items() if k in telling}, total)
    episode, step = order.places(total)

    def frames() -> Iterator[np.ndarray]:
        def error(why: str) -> UserError:
            return UserError(f"{shown(path)}: the frames cannot be read ({why})")

        def blobs() -> Iterator[object]:
            for batch in table.scanner(columns=[name], batch_size=READ_AT_ONCE).to_batches():
                yield from batch.column(0).to_pylist()

        for row, blob in enumerate(reading_each(path, "frames", blobs(), error)):
            yield decode_image(path, f"episode {episode[row]} at step {step[row]}", blob)

    first = next(frames(), None) if total else None
    env_id = metadata.get(b"env_id")
    return EpisodeSource(
        files=sorted(p for p in path.rglob("*") if p.is_file()),
        lengths=order.lengths,
        size=(1, 1) if first is None else (first.shape[0], first.shape[1]),
        columns=with_action(
            {k: v[order.rows] for k, v in columns.items() if k not in DESCRIPTIONS}
        ),
        env_id=None if env_id is None else env_id.decode(errors="replace"),
        camera=None if name == main else name,
        decode=lambda: chunks(frames(), episode, step),
    )


def _columns(path: Path, table: pa.Table) -> dict[str, np.ndarray]:
    columns = {}
    for key in table.column_names:
        try:
            columns[key] = column_values(table.column(key))
        except Ragged as error:
            raise UserError(f"{shown(path)}: {key!r} has {error}") from error
    return columns


def _cameras(path: Path, fields: dict[str, pa.DataType]) -> tuple[list[str], str | None]:
    binary = [k for k, v in fields.items() if pa.types.is_binary(v) or pa.types.is_large_binary(v)]
    views = sorted(k for k in binary if k.startswith(("pixels.", "pixels_", "pixels/")))
    best = ["pixels"] if "pixels" in binary else views or binary
    if not best:
        raise columns_missing(path, "pixels", fields)
    return sorted(binary), best[0] if len(best) == 1 else None
