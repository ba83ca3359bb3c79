"""Embeddings of a folder of images, written to a file with their paths and labels."""

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro

from isojepa.data.folder import UNLABELLED
from isojepa.errors import UserError
from isojepa.evaluation.evaluate import choose_device, load_on, read_for
from isojepa.evaluation.features import embed
from isojepa.files import write_atomically
from isojepa.progress import track

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Write one embedding per image to an .npz or .parquet file, beside its path and label."""

    run: tyro.conf.Positional[Path]
    """Run folder of `isojepa pretrain`, or an exported encoder."""
    data: Path
    """Folder of images."""
    out: Path
    """File to write, .npz or .parquet."""
    labels: Path | None = None
    """CSV file with the columns path,label, in place of class folders."""
    batch_size: int = 256
    """Images embedded at a time."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute the embeddings."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def __post_init__(self) -> None:
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
    encoder = load_on(config.run, choose_device(config.device))
    images = read_for(encoder, config.data, config.labels)
    indices = np.arange(len(images))
    x = embed(encoder, images, indices, batch_size=config.batch_size, track=track).cpu().numpy()
    write = _parquet if config.out.suffix == ".parquet" else _npz
    write_atomically(
        config.out, write(x, images.listing.names, images.labels, images.listing.class_names)
    )
    log.info("%d embeddings of dimension %d written to %s", *x.shape, config.out)
    return config.out


def _npz(
    x: np.ndarray, names: list[str], labels: np.ndarray | None, classes: list[str] | None
) -> bytes:
    arrays = {"embeddings": x, "paths": np.array(names)}
    if labels is not None and classes is not None:
        arrays |= {"labels": labels, "class_names": np.array(classes)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _parquet(
    x: np.ndarray, names: list[str], labels: np.ndarray | None, classes: list[str] | None
) -> bytes:
    flat = pa.array(x.reshape(-1))
    columns = {
        "path": pa.array(names),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, x.shape[1]),
    }
    if labels is not None and classes is not None:
        columns["label"] = pa.array([None if i == UNLABELLED else classes[i] for i in labels])
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
