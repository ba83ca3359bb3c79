"""Embeddings of a folder of images, written to a file with their paths and labels."""

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from isojepa.boundaries import shown
from isojepa.caches.folder import caching
from isojepa.devices import Device, choose_device
from isojepa.encoders.evaluation.evaluate import load_on, read_for
from isojepa.encoders.evaluation.features import embed
from isojepa.encoders.sources.folder import UNLABELLED
from isojepa.encoders.sources.held_out import Recognised, read_held_out, recognise
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.progress import track
from isojepa.runs.settings import as_paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Write one embedding per image to an .npz or .parquet file, beside its path and label."""

    run: tyro.conf.Positional[Path]
    """Run folder of `isojepa pretrain`, or an exported encoder."""
    data: Path | tuple[Path, ...]
    """Images: what pretrain reads."""
    out: Path
    """File to write, .npz or .parquet."""
    labels: Path | None = None
    """Table with the columns path and label, in place of class folders: .csv, .tsv, .txt, .gz or
    .parquet."""
    batch_size: int = 256
    """Images embedded at a time."""
    device: Device = "auto"
    """Where to compute the embeddings."""
    overwrite: bool = False
    """Replace the file if it exists."""
    cache: Path | None = None
    """Folder in which decoded images are kept for the next time. Default: ISOJEPA_CACHE, else
    isojepa/ in the user's cache folder."""
    no_cache: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep no decoded images and use none that were kept."""

    def __post_init__(self) -> None:
        as_paths(self, "run", "data", "out", "labels", "cache")
        if self.out.suffix not in {".npz", ".parquet"}:
            raise UserError(f"--out {self.out}: the name must end in .npz or .parquet")
        if self.batch_size < 1:
            raise UserError("--batch-size must be at least 1")


def run(config: EmbedConfig) -> Path:
    """Embed every image of the folder and write the file; returns its path.

    Raises:
        UserError: if the file exists, or the encoder or the images cannot be read.
    """
    if config.out.exists() and not config.overwrite:
        raise UserError(f"--out {config.out}: already there; give --overwrite to replace it")
    if not config.out.parent.is_dir():
        raise UserError(f"--out {config.out}: the folder {config.out.parent} does not exist")
    with caching(config.cache, off=config.no_cache):
        return _run(config)


def _run(config: EmbedConfig) -> Path:
    encoder = load_on(config.run, choose_device(config.device))
    images = read_for(encoder, config.data, config.labels, config.out, (config.run,))
    record = read_held_out(config.run)
    parts = None if record is None else _parts(recognise(record, images.listing))
    indices = np.arange(len(images))
    x = embed(encoder, images, indices, batch_size=config.batch_size, track=track).cpu().numpy()
    write = _parquet if config.out.suffix == ".parquet" else _npz
    listing = images.listing
    columns = Columns(listing.names, images.labels, listing.class_names, parts)
    write_atomically(config.out, write(x, columns))
    log.info("%d embeddings of dimension %d written to %s", *x.shape, config.out)
    return config.out


class Columns(NamedTuple):
    """What is written beside the embeddings of n images."""

    names: list[str]
    labels: np.ndarray | None
    classes: list[str] | None
    parts: list[str] | None
    """What the run did with each image: trained on it, held it out, or did not have it."""


def _parts(found: Recognised) -> list[str]:
    words = np.where(found.held_out, "held out", np.where(found.places < 0, "new", "train"))
    return words.tolist()


def _npz(x: np.ndarray, columns: Columns) -> bytes:
    arrays = {"embeddings": x, "paths": np.array(columns.names)}
    if columns.labels is not None and columns.classes is not None:
        arrays |= {"labels": columns.labels, "class_names": np.array(columns.classes)}
    if columns.parts is not None:
        arrays["split"] = np.array(columns.parts)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _parquet(x: np.ndarray, columns: Columns) -> bytes:
    flat = pa.array(x.reshape(-1))
    table = {
        "path": pa.array([_text(name) for name in columns.names]),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, x.shape[1]),
    }
    if columns.labels is not None and columns.classes is not None:
        classes = [_text(name) for name in columns.classes]
        table["label"] = pa.array([None if i == UNLABELLED else classes[i] for i in columns.labels])
    if columns.parts is not None:
        table["split"] = pa.array(columns.parts)
    buffer = io.BytesIO()
    pq.write_table(pa.table(table), buffer)
    return buffer.getvalue()


def _text(name: str) -> str:
    """A name as Parquet may hold it: bytes that are not UTF-8 escaped."""
    return shown(name) if any("\udc80" <= c <= "\udcff" for c in name) else name
