"""A collected data set on disk, HDF5 or Lance: written whole, extended, asked what it is of."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.world.environments.platform import platform, quiet

Settings = dict[str, Any]  # what the episodes depend on
Steps = dict[str, list[np.ndarray]]  # an episode: columns, one entry per step
FORMATS = {".h5": "hdf5", ".hdf5": "hdf5", ".lance": "lance"}
REPLACED = "replaced"  # where the old data set waits while the new one takes its place


def write_data_set(
    out: Path,
    episodes: Iterator[Steps],
    *,
    after: int,
    record: Settings,
    env_id: str,
    workplace: Path,
) -> None:
    """Write the whole data set beside its place, then move it there.

    Args:
        episodes: their columns, one list entry per step.
        after: episodes that the data set at `out` already holds, kept before these.
        record: what `read_collection` is to give back.
        env_id: the environment's, for readers of the data set.
        workplace: a folder on the same disk.
    """
    fresh = workplace / "assembled" / out.name
    shutil.rmtree(fresh.parent, ignore_errors=True)
    with writing(out):
        fresh.parent.mkdir(parents=True)
        if not after:
            _write(fresh, episodes)
        elif out.is_dir():
            shutil.copytree(out, fresh)
            _write(fresh.parent / "more.lance", episodes)
            _append_lance(fresh, fresh.parent / "more.lance", after)
        else:
            shutil.copyfile(out, fresh)
            _write(fresh, episodes)
        _write_record(fresh, record, env_id)
        if out.is_dir() or (out.exists() and fresh.is_dir()):
            out.replace(workplace / REPLACED)  # a folder cannot be replaced in one step
        fresh.replace(out)


def put_back(out: Path, workplace: Path) -> None:
    """Undo a replacement that was interrupted between its two steps."""
    if (workplace / REPLACED).exists() and not out.exists():
        (workplace / REPLACED).replace(out)


def read_collection(out: Path) -> Settings:
    """What `write_data_set` recorded.

    Raises:
        UserError: if the data set is not one of ours, or cannot be read.
    """

    def unreadable(why: str) -> UserError:
        return UserError(f"{shown(out)}: cannot be read ({why}); use --overwrite")

    with reading(out, "a data set", unreadable):
        if out.is_dir():
            import lance

            content = (lance.dataset(str(out)).schema.metadata or {}).get(b"isojepa")
        else:
            import h5py

            with h5py.File(out, "r") as file:
                content = file.attrs.get("isojepa")
        if content:
            return dict(json.loads(content))
    raise UserError(
        f"{shown(out)}: was not written by `isojepa world collect`; choose another --out"
    )


def count_frames(out: Path) -> int:
    """Environment steps of all episodes."""
    if out.is_dir():
        import lance

        return int(lance.dataset(str(out)).count_rows())
    import h5py

    with h5py.File(out, "r") as file:
        return int(file["ep_len"][:].sum())


def size_in_bytes(out: Path) -> int:
    """Of the file, or of all files of the folder, linked ones and folders included, each once."""
    if out.is_file():
        return out.stat().st_size
    entered: set[Path] = set()
    sizes = 0
    for place, folders, names in os.walk(out, followlinks=True):
        if (real := Path(place).resolve()) in entered:  # a loop of links
            folders.clear()
            continue
        entered.add(real)
        files = (Path(place) / name for name in names)
        sizes += sum(file.stat().st_size for file in files if file.exists())
    return sizes


def _write(place: Path, episodes: Iterator[Steps]) -> None:
    writer = platform().data.get_format(FORMATS[place.suffix]).open_writer(place, mode="append")
    with quiet(), writer as out:
        out.write_episodes(episodes)


def _append_lance(table: Path, more: Path, done: int) -> None:
    """Add the rows of a second table: the platform's own appending refuses NaN actions."""
    import lance
    import pyarrow as pa

    def numbered() -> Iterator[pa.RecordBatch]:
        for batch in lance.dataset(str(more)).to_batches():
            at = batch.schema.get_field_index("episode_idx")
            shifted = pa.array(batch.column(at).to_numpy() + done, pa.int32())
            columns = [*batch.columns[:at], shifted, *batch.columns[at + 1 :]]
            yield pa.record_batch(columns, schema=batch.schema)

    schema = lance.dataset(str(more)).schema
    reader = pa.RecordBatchReader.from_batches(schema, numbered())
    lance.write_dataset(reader, str(table), mode="append")


def _write_record(place: Path, record: Settings, env_id: str) -> None:
    content = json.dumps(record)
    if place.is_dir():
        import lance

        lance.dataset(str(place)).update_schema_metadata({"env_id": env_id, "isojepa": content})
        return
    import h5py

    with h5py.File(place, "a") as file:
        file.attrs["env_id"], file.attrs["isojepa"] = env_id, content
