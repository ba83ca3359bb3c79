"""Files that are whole or absent."""

import os
import tempfile
from pathlib import Path
from typing import Any

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
