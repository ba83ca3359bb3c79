"""A file -> `Samples`: which format, which array in it, and what cannot be read."""

from collections.abc import Callable, Mapping
from pathlib import Path

from isojepa.diagnosis.numpy_files import open_npy, open_npz
from isojepa.diagnosis.samples import Samples
from isojepa.diagnosis.tables import open_csv, open_parquet
from isojepa.diagnosis.tensors import open_pt, open_safetensors
from isojepa.errors import UserError

ARCHIVES: Mapping[str, Callable[[Path, str | None], Samples]] = {
    ".npz": open_npz,
    ".safetensors": open_safetensors,
    ".pt": open_pt,
    ".pth": open_pt,
}
"""Formats of several arrays, chosen by key."""
TABLES: Mapping[str, Callable[[Path, tuple[str, ...]], Samples]] = {
    ".csv": open_csv,
    ".parquet": open_parquet,
}
"""Formats of named columns."""
FORMATS = (".npy", *ARCHIVES, *TABLES)


def open_samples(path: Path, *, key: str | None = None, columns: tuple[str, ...] = ()) -> Samples:
    """Open a file of embeddings; nothing but its header is read yet, except from .csv.

    Args:
        path: .npy, .npz, .csv, .parquet, .safetensors or .pt; nothing in it is unpickled.
        key: name of the array, for files that hold several.
        columns: names or patterns of the columns to use, for tables.

    Raises:
        UserError: if the file cannot be read, or which array is meant is not clear.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        raise UserError(f"{path} is a folder: give a file of embeddings, one sample a row")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    if suffix in (".pkl", ".pickle", ".joblib"):
        raise UserError(
            f"{path}: a pickle runs whatever code it holds, so none is opened; "
            "save the array with numpy.save(...) instead"
        )
    if suffix not in FORMATS:
        raise UserError(f"{path}: unknown format; known are {', '.join(FORMATS)}")
    if key is not None and suffix not in ARCHIVES:
        raise UserError(f"--key {key}: a {suffix} file holds only one array; leave it out")
    if columns and suffix not in TABLES:
        raise UserError(f"--columns: a {suffix} file has no named columns; leave it out")
    try:
        if suffix in ARCHIVES:
            return ARCHIVES[suffix](path, key)
        return TABLES[suffix](path, columns) if suffix in TABLES else open_npy(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
