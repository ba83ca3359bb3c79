"""The proof: a fresh process embeds JPEGs by an exported folder alone, and agrees with us."""

import io
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from isojepa.backbones.graphs import run_afresh
from isojepa.boundaries import writing
from isojepa.encoders.export.formats import FOREIGN, NEEDS, Format
from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.errors import UserError

LIMIT = 1e-4
Embeddings = Float[np.ndarray, "n d"]


def round_trip(
    kind: Format, folder: Path, encoder: Encoder, pictures: Mapping[str, bytes]
) -> float:
    """The largest difference between the folder's embeddings of some JPEGs and the encoder's.

    In units of the root mean square of the encoder's.

    Raises:
        UserError: if the folder's program fails, or differs by more than `LIMIT`.
    """
    found = difference(embed_afresh(kind, folder, pictures), embed_here(encoder, pictures))
    if not found <= LIMIT:  # nor where it is not a number
        raise UserError(
            f"--format {kind}: what was written differs by {found:.1e} from the encoder, more "
            f"than {LIMIT:g}; nothing was kept. --format "
            + ("torch-export" if kind == "onnx" else "onnx or torch-export")
            + " may agree"
        )
    return found


def difference(other: Embeddings, ours: Embeddings) -> float:
    """Largest absolute difference over the root mean square of ours; infinite between shapes."""
    if other.shape != ours.shape:
        return float("inf")
    scale = np.sqrt(np.square(ours, dtype=np.float64).mean())
    return float(np.abs(other.astype(np.float64) - ours).max() / max(scale, 1e-30))


def embed_here(
    encoder: Encoder,
    pictures: Mapping[str, bytes],
    transform: Callable[[Image.Image], Tensor] | None = None,
) -> Embeddings:
    """The encoder's embeddings of JPEGs, prepared by itself or by another's transform."""
    prepare = transform or encoder.preprocess
    rows = []
    with torch.no_grad():
        for content in pictures.values():
            image: Image.Image = Image.open(io.BytesIO(content))
            if transform is not None:
                image = image.convert("L" if encoder.spec.channels == 1 else "RGB")
            rows.append(encoder(prepare(image)[None])[0].numpy())
    return np.stack(rows)


def embed_afresh(kind: Format, folder: Path, pictures: Mapping[str, bytes]) -> Embeddings:
    """What `embed.py` of the folder makes of JPEGs in a process of its own.

    Every package is kept from it that its format has no need of.

    Raises:
        UserError: with its last words, if it fails.
    """
    with tempfile.TemporaryDirectory() as place:
        with writing(Path(place)):
            for name, content in pictures.items():
                (Path(place) / name).write_bytes(content)
        last = run_afresh(folder, "embed.py", ["out.npy", *pictures], Path(place), FOREIGN[kind])
        if last is not None:
            raise UserError(
                f"--format {kind}: what was written does not run with {NEEDS[kind]} alone: {last}"
            )
        embeddings: Embeddings = np.load(Path(place) / "out.npy", allow_pickle=False)
        return embeddings
