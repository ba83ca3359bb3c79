"""Embeddings of a folder of images, written to a file with their paths and labels."""

import io
import logging
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from isojepa.boundaries import shown
from isojepa.caches.folder import caching
from isojepa.devices import Device
from isojepa.distributed import gather_over_ranks, rank, world_size
from isojepa.encoders.evaluation.evaluate import find_for, load_on, read_found, tell_skipped
from isojepa.encoders.evaluation.features import embed_samples, share_of_batches
from isojepa.encoders.modalities.modality import Network, Source
from isojepa.encoders.sources.folder import UNLABELLED, Listing
from isojepa.encoders.sources.held_out import Recognised, read_held_out, recognise
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.progress import track
from isojepa.runs.settings import as_paths, flag
from isojepa.training.launch import start_processes
from isojepa.training.ranks import of_every, on_first, together

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
    devices: int = 1
    """Devices to share the images among, each a process; under srun or torchrun, the processes of
    all nodes."""
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
        for name in ("batch_size", "devices"):
            if getattr(self, name) < 1:
                raise UserError(f"--{flag(name)} must be at least 1")


def embed(config: EmbedConfig) -> Path:
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
    device = start_processes(config.device, config.devices)
    encoder = together(lambda: load_on(config.run, device))
    leave_out = (config.out, config.run)
    source = together(lambda: find_for(encoder, config.data, config.labels, leave_out))
    x, kept, skipped = together(lambda: _embed_share(config, encoder, source))
    whole: np.ndarray = gather_over_ranks(x).samples.cpu().numpy()
    everywhere = [*source.listing.unreachable, *chain.from_iterable(of_every(skipped))]
    tell_skipped(config.out, everywhere)
    listing = source.listing.subset([*chain.from_iterable(of_every(kept))])
    on_first(lambda: _write(config, whole, listing))
    log.info("%d embeddings of dimension %d written to %s", *whole.shape, config.out)
    return config.out


def _embed_share(
    config: EmbedConfig, encoder: Network, source: Source
) -> tuple[Float[Tensor, "n d"], list[int], list[tuple[str, str]]]:
    """This rank's embeddings, the places in the listing that they are of, and what was skipped."""
    listing, size = source.listing, config.batch_size
    mine = range(len(listing.names))[
        share_of_batches(len(listing.names), size, rank(), world_size())
    ]
    if not mine:
        device = next(encoder.parameters()).device
        return torch.zeros(0, encoder.embedding_dim, device=device), [], []
    whole = len(mine) == len(listing.names)
    part = source if whole else source._replace(listing=listing.subset([*mine]))
    data = read_found(encoder, part)
    read = set(data.listing.names)
    kept = [i for i in mine if listing.names[i] in read]
    x = embed_samples(encoder, data, np.arange(len(data)), batch_size=size, track=track)
    return x, kept, data.skipped


def _write(config: EmbedConfig, x: np.ndarray, listing: Listing) -> None:
    record = read_held_out(config.run)
    parts = None if record is None else _parts(recognise(record, listing))
    write = _parquet if config.out.suffix == ".parquet" else _npz
    columns = EmbeddedRows(listing.names, listing.labels, listing.class_names, parts)
    write_atomically(config.out, write(x, columns))


class EmbeddedRows(NamedTuple):
    """What is written beside the embeddings of n images."""

    names: list[str]
    labels: np.ndarray | None
    classes: list[str] | None
    parts: list[str] | None
    """What the run did with each image: trained on it, held it out, or did not have it."""


def _parts(found: Recognised) -> list[str]:
    words = np.where(found.held_out, "held out", np.where(found.places < 0, "new", "train"))
    return words.tolist()


def _npz(x: np.ndarray, columns: EmbeddedRows) -> bytes:
    arrays = {"embeddings": x, "paths": np.array(columns.names)}
    if columns.labels is not None and columns.classes is not None:
        arrays |= {"labels": columns.labels, "class_names": np.array(columns.classes)}
    if columns.parts is not None:
        arrays["split"] = np.array(columns.parts)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _parquet(x: np.ndarray, columns: EmbeddedRows) -> bytes:
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
