"""What one image is decoded from: a file, a file inside another one, or numbers in memory."""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np

from isojepa.boundaries import Blob


@dataclass(frozen=True, eq=False)
class Array:
    """One image of an array: numbers, which nothing has to decode."""

    name: str
    """Of the file, and the image's place in it."""
    values: np.ndarray
    """(h, w) or (h, w, c)."""

    def open(self, _mode: Literal["rb"] = "rb") -> BytesIO:
        """The image as an .npy file: for its fingerprint."""
        buffer = BytesIO()
        np.save(buffer, self.values, allow_pickle=False)
        buffer.seek(0)
        return buffer

    def __str__(self) -> str:
        return self.name


Encoded = Path | Blob
"""A file of its own, or inside another one."""
Item = Path | Blob | Array
