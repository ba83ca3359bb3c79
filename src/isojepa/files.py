"""Files that are whole or absent, and archives of arrays that fit."""

import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from isojepa import machine
from isojepa.boundaries import writing

Json = dict[str, Any]
"""An object of JSON, as read or to be written."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a whole file or nothing: to a temporary name, flushed to disk, then renamed.

    Args:
        path: its folder must exist.
        content: text is written in UTF-8; bytes of file names that are not text appear escaped.

    Raises:
        UserError: if the disk is full or the folder cannot be written.
    """
    content = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    temporary = None
    with writing(path):
        try:
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=".part-", delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise


def refuse_bomb(nbytes: int, what: str) -> None:
    """Raise ValueError where something would take more than half of the memory once unpacked."""
    if nbytes > machine.memory_bytes() // 2:
        raise ValueError(
            f"{what} takes {nbytes / 1e9:,.1f} GB unpacked, more than half of the memory: an "
            "archive bomb, or too large for this machine"
        )


def refuse_packed(path: Path) -> None:
    """`refuse_bomb` for a file of torch.save, which packs nothing: what is packed all the same."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        packed = [x.file_size for x in members if x.compress_type != zipfile.ZIP_STORED]
        refuse_bomb(sum(packed), "it")


def load_arrays(path: Path) -> Any:
    """NumPy's `load`, of an .npy or .npz file: nothing is unpickled, and no bomb unpacked.

    Raises:
        ValueError: for either; and whatever `numpy.load` does.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            refuse_bomb(sum(member.file_size for member in archive.infolist()), "it")
    return np.load(path, allow_pickle=False)
