"""JPEGs to compare on: some that a run held out, and others of awkward shapes."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from isojepa.boundaries import reading, trying
from isojepa.errors import UserError
from isojepa.files import load_arrays
from isojepa.pixels.decoding import opened
from isojepa.runs.record import read_run

MOST = 8
SHAPES = ((120, 90), (90, 120), (31, 233), (701, 233), (1500, 1100))
"""Width and height of those that are made."""


def jpegs(run: Path | None, channels: int) -> dict[str, bytes]:
    """Files by name: up to eight images of the run, if they are still there, and five made ones."""
    found = {} if run is None else _of_run(run, channels)
    made = {f"{w}x{h}.jpg": _made(w, h, channels) for w, h in SHAPES}
    return found | made


def _of_run(run: Path, channels: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with trying("images of the run to compare on"):
        root = Path(str(read_run(run).config.get("data")))
        for name in _names(run):
            try:
                found[f"image-{len(found)}.jpg"] = _as_jpeg(root / name, channels)
            except UserError:  # moved or deleted since
                continue
            if len(found) == MOST:
                break
    return found


def _names(run: Path) -> list[str]:
    path = run / "sample.npz"
    if not path.is_file():
        return []
    with reading(path, "arrays"), load_arrays(path) as archive:
        return archive["paths"].astype(str).tolist()


def _as_jpeg(path: Path, channels: int) -> bytes:
    """The file's own bytes if it is a JPEG; else its image as one."""
    with reading(path, "an image"), opened(path) as image:
        return path.read_bytes() if image.format == "JPEG" else _encoded(image, channels)


def _made(width: int, height: int, channels: int) -> bytes:
    """Coarse and fine noise: what resizing filters differ on most."""
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((width, height))
    fine = rng.integers(-30, 31, (height, width, 3))
    pixels = (np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8)
    return _encoded(Image.fromarray(pixels), channels)


def _encoded(image: Image.Image, channels: int) -> bytes:
    buffer = io.BytesIO()
    image.convert("L" if channels == 1 else "RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
