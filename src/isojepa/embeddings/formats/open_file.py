"""A file -> `Samples`: which format, which array in it, and what cannot be read."""

from collections.abc import Callable, Mapping
from pathlib import Path

from isojepa.boundaries import contents, reading, shown
from isojepa.embeddings.formats.archives import Archive, open_archive
from isojepa.embeddings.formats.arrow_files import open_feather, open_parquet
from isojepa.embeddings.formats.delimited import open_delimited
from isojepa.embeddings.formats.hdf5 import open_hdf5
from isojepa.embeddings.formats.json_lines import open_json_lines
from isojepa.embeddings.formats.matlab import open_mat
from isojepa.embeddings.formats.numpy_files import open_npy, open_npz
from isojepa.embeddings.formats.tables import Table, open_table
from isojepa.embeddings.formats.tensors import open_pt, open_safetensors
from isojepa.embeddings.formats.text_files import PACKED
from isojepa.embeddings.samples import Samples
from isojepa.errors import UserError

ARCHIVES: Mapping[str, Callable[[Path], Archive]] = {
    ".npz": open_npz,
    ".safetensors": open_safetensors,
    ".pt": open_pt,
    ".pth": open_pt,
    ".h5": open_hdf5,
    ".hdf5": open_hdf5,
    ".mat": open_mat,
}
"""Formats of several arrays, chosen by key."""
TEXTS: Mapping[str, Callable[[Path], Table]] = {
    ".csv": open_delimited,
    ".tsv": open_delimited,
    ".txt": open_delimited,
    ".jsonl": open_json_lines,
    ".ndjson": open_json_lines,
}
"""Tables of text, also packed as .csv.gz, .csv.bz2 or .csv.xz."""
TABLES: Mapping[str, Callable[[Path], Table]] = {
    **TEXTS,
    ".parquet": open_parquet,
    ".feather": open_feather,
    ".arrow": open_feather,
}
"""Formats of named columns."""
FORMATS = (".npy", *ARCHIVES, *TABLES, *(f".csv{suffix}" for suffix in PACKED))
PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
REMEDIES: Mapping[str, str] = {
    ".xlsx": "save the sheet as .csv",
    ".xls": "save the sheet as .csv",
    ".ods": "save the sheet as .csv",
    ".json": "write one row a line and call it .jsonl",
    ".ckpt": "save the tensor alone with torch.save(x, 'x.pt')",
    ".bin": "save the array with numpy.save(...)",
    ".rds": "save it in R with write.csv(...)",
    ".rdata": "save it in R with write.csv(...)",
    ".zip": "unpack it first",
    ".gz": "unpack it first",
    ".bz2": "unpack it first",
    ".xz": "unpack it first",
    ".zst": "unpack it first",
}
"""What to do with formats that are not read."""
BEGINNINGS: Mapping[bytes, tuple[str, tuple[str, ...]]] = {
    b"\x93NUMPY": ("an array of numpy.save", (".npy",)),
    b"PK\x03\x04": ("a zip archive, as of .npz, .pt and .xlsx", (".npz", ".pt", ".pth")),
    b"PAR1": ("a .parquet file", (".parquet",)),
    b"ARROW1": ("a Feather file", (".feather", ".arrow")),
    b"FEA1": ("a Feather file", (".feather", ".arrow")),
    b"\x89HDF": ("an HDF5 file", (".h5", ".hdf5", ".mat")),
    b"MATLAB 5": ("a .mat file", (".mat",)),
    b"\x1f\x8b": ("packed by gzip", (".gz",)),
    b"\x80\x02": ("a pickle", (".pt", ".pth")),
    b"\x80\x03": ("a pickle", (".pt", ".pth")),
    b"\x80\x04": ("a pickle", (".pt", ".pth")),
    b"\x80\x05": ("a pickle", (".pt", ".pth")),
}
"""First bytes -> what such a file is, and the names it may have."""
LIKELY = 10**9
"""Numbers from which a file must be as large as it says."""
CONSTANT = 5_000
"""Numbers in a byte, which no compression reaches unless they are all the same."""


def open_samples(
    path: Path, *, key: str | None = None, columns: tuple[str, ...] = (), missing: bool = False
) -> Samples:
    """Open a file of embeddings; tables are read once, of other formats nothing but the header.

    Args:
        path: in one of `FORMATS`; nothing in it is unpickled.
        key: name of the array, for files that hold several.
        columns: names or patterns of the columns to use, for tables.
        missing: whether cells of a table that hold something else than a number are read as
            missing ones, instead of being refused.

    Raises:
        UserError: if the file cannot be read, or which array is meant is not clear.
    """
    with reading(path, "a file"):
        if path.is_dir():
            raise UserError(
                f"{shown(path)} is a folder: give a file of embeddings, one sample a row"
            )
        size = path.stat().st_size
    suffix = _format(path)
    if key is not None and suffix not in ARCHIVES:
        raise UserError(f"--key {shown(key)}: a {suffix} file holds only one array; leave it out")
    if columns and suffix not in TABLES:
        raise UserError(f"--columns: a {suffix} file has no named columns; leave it out")
    why = contents(path) or _other_content(path)
    if why is not None:
        raise UserError(f"{shown(path)}: {why}")
    if suffix in ARCHIVES:
        samples = open_archive(ARCHIVES[suffix](path), key)
    elif suffix in TABLES:
        samples = open_table(TABLES[suffix](path), columns, missing)
    else:
        samples = open_npy(path)
    if samples.n * samples.d > max(LIKELY, CONSTANT * size):
        raise UserError(
            f"{shown(path)}: damaged: {samples.n:,} x {samples.d:,} numbers in {size:,} bytes"
        )
    return samples


def _other_content(path: Path) -> str | None:
    """What a file is by its first bytes, if not what its name says."""
    with reading(path, "a file"), path.open("rb") as file:
        start = file.read(8)
    for magic, (what, suffixes) in BEGINNINGS.items():
        if start.startswith(magic) and path.suffix.lower() not in suffixes:
            if what == "a pickle":
                return f"{what}, which runs whatever code it holds; save it with numpy.save(...)"
            return f"its content is {what}, its name says {path.suffix}; rename it"
    return None


def _format(path: Path) -> str:
    """The suffix that says what is in a file, without that of its packing.

    Raises:
        UserError: if it is not in `FORMATS`.
    """
    suffix = path.suffix.lower()
    if suffix in PICKLES:
        raise UserError(
            f"{shown(path)}: a pickle runs whatever code it holds, so none is opened; "
            "save the array with numpy.save(...) instead"
        )
    if suffix in PACKED and Path(path.stem).suffix.lower() in TEXTS:
        return Path(path.stem).suffix.lower()
    if suffix not in FORMATS:
        remedy = f"; {REMEDIES[suffix]}" if suffix in REMEDIES else ""
        raise UserError(f"{shown(path)}: unknown format; known are {', '.join(FORMATS)}{remedy}")
    return suffix
