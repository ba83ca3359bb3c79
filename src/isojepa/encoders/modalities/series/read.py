"""Series' reading: what a path holds, and how one encoder sees it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.boundaries import shown
from isojepa.encoders.modalities import frames
from isojepa.encoders.modalities.drawing import line_pictures
from isojepa.encoders.modalities.modality import Columns, Given, Place, Reading, Source, Words
from isojepa.encoders.modalities.named import check_recipe
from isojepa.encoders.modalities.series.files import read_file, read_folder, tables_below
from isojepa.encoders.modalities.series.network import DEFAULT, PATCH, SeriesChoices, SeriesSpec
from isojepa.encoders.modalities.series.resampling import whole
from isojepa.encoders.modalities.series.samples import SeriesSet, series_set
from isojepa.encoders.modalities.series.views import NAMED
from isojepa.encoders.sources.image_columns import holds_pictures
from isojepa.encoders.sources.inputs import single
from isojepa.errors import UserError
from isojepa.progress import Track
from isojepa.runs.record import CONFIG
from isojepa.runs.typed import from_json

LONGEST = 512  # time steps of a view, unless more are asked for


@dataclass(frozen=True, kw_only=True)
class SeriesForm:
    """How series are read for one encoder."""

    channels: tuple[str, ...]


class SeriesReading(Reading):
    """Series of files, arrays and tables."""

    WORDS = Words("series", "series", "series", "raw")

    def recognises(self, path: Path, columns: Columns) -> bool:
        """Arrays of three axes, tables with a column of identities and one of times or with lists
        in their cells, and folders of tables and nothing else."""
        if path.is_dir():
            tables = tables_below(path) if _tables_alone(path) else []
            return bool(tables) and not holds_pictures(tables[0])
        if path.suffix.lower() in frames.ARRAYS:
            found = frames.shape_of(path)
            return found is not None and len(found[0]) == 3 and found[1] != np.uint8
        schema = frames.schema_of(path)
        if schema is None:
            return False
        one, time, *_ = frames.named(columns, schema.names, path)
        lists = any(pa.types.is_list(f.type) or pa.types.is_large_list(f.type) for f in schema)
        return lists or (one is not None and time is not None)

    def find(self, place: Place, track: Track) -> Source:
        """The series of a file or of a folder of files, all in memory."""
        path = single(place.data, "series are one file or one folder")
        if not path.exists():
            raise UserError(f"--data {shown(path)}: no such file or folder")
        if path.is_dir():
            found, words, test = read_folder(path, place.leave_out, place.columns, track)
            if not found.names:
                raise UserError(
                    f"--data {shown(path)}: the folder holds no series (.csv, .parquet)"
                )
        else:
            found, words, test = read_file(path, place.columns)
        prints = map(frames.numbers_fingerprint, found.values)
        return Source(frames.list_samples(place, found.names, words, test, prints), found)

    def choose(self, given: Given) -> tuple[SeriesChoices, SeriesForm]:
        """Settle the length of views and the network from the lengths of the series."""
        config, source, stored, *_, tell = given
        lengths = [len(x) for x in source.contents.values]
        median = int(np.median(lengths))
        length = config.length or min(LONGEST, max(2 * PATCH, PATCH * round(median / PATCH)))
        if median > length and config.length is None:
            tell(
                f"series of {median} time steps (median) are averaged down to {length} in a view; "
                "--length sets another"
            )
        if length % PATCH:
            near = PATCH * max(2, length // PATCH)
            raise UserError(f"--length {length}: give a multiple of {PATCH}, such as {near}")
        recipe = config.recipe or "series"
        check_recipe(recipe, NAMED, "series")
        choices = SeriesChoices(
            model=config.model or DEFAULT,
            length=length,
            projector_hidden=config.projector_hidden or 512,
            recipe=recipe,
            global_views=config.global_views or 4,
            local_views=config.local_views or 0,
            lr=config.lr or 2e-3,
        )
        if stored is not None:
            return choices, from_json(SeriesForm, stored.data, config.out / CONFIG)
        return choices, SeriesForm(channels=source.contents.channels)

    def form_of(self, spec: SeriesSpec) -> SeriesForm:
        """How a trained encoder's series are read."""
        return SeriesForm(channels=tuple(spec.channels))

    def read(self, source: Source, form: SeriesForm, _track: Track) -> SeriesSet:
        """The series with the encoder's channels.

        Raises:
            UserError: if a channel is missing.
        """
        root, there = source.listing.root, source.contents.channels
        missing = [name for name in form.channels if name not in there]
        if missing:
            raise UserError(
                f"--data {shown(root)}: it has no channel {missing[0]!r}, which the encoder was "
                f"trained on; its channels are {', '.join(map(repr, there))}"
            )
        data = series_set(source.contents, source.listing, form.channels)
        empty = data.flat.isnan().all(0)
        for name, nothing in zip(form.channels, empty.tolist()):
            if nothing:
                data.notes.append(f"the channel {name!r} holds no value")
        gone = float(data.flat.isnan().float().mean())
        if gone:
            data.notes.append(
                f"{100 * gone:.3g} % of the values are missing: they count as unknown"
            )
        ignored = [name for name in there if name not in form.channels]
        if ignored:
            data.notes.append(
                f"channels that the encoder does not know are left out: {ignored[0]!r}"
            )
        return data

    def recorded(self, data: SeriesSet) -> dict[str, Any]:
        """The channels."""
        return {"channels": list(data.channels)}

    def raw(self, data: SeriesSet, indices: np.ndarray) -> Float[np.ndarray, "n d"]:
        """Values, resampled to the median length of at most 128 steps; the mean where missing."""
        steps = min(128, int(data.lengths.median()))
        mean, std = data.statistics(np.flatnonzero(~data.held_out).tolist())
        x = whole(*data.read(indices.tolist()), steps, torch.tensor(mean), torch.tensor(std))[0]
        return x.flatten(1).numpy().astype(np.float32)

    def pictures(self, data: SeriesSet, indices: Tensor) -> UInt8[np.ndarray, "n h w c"]:
        """Each series as lines over time, a colour for each channel."""
        values, lengths = data.read(indices)
        mean, std = data.statistics(range(len(data)))
        x, known = whole(values, lengths, 64, torch.tensor(mean), torch.tensor(std))
        return line_pictures(x.masked_fill(~known, torch.nan).numpy(), 48, 64)


def _tables_alone(folder: Path) -> bool:
    """Whether a folder has no file but tables and notes; one of images is left at its first."""
    beside = {".txt", ".md", ".json", ".yaml"} | frames.TEXT | frames.PARQUET
    for place, _, names in os.walk(folder):
        for name in names:
            other = not name.startswith(".") and Path(name).suffix.lower() not in beside
            if other and (Path(place) / name).is_file():
                return False
    return True


READING = SeriesReading()
