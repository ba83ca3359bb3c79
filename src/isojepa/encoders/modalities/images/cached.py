"""Squares of a listing's images out of a store."""

import logging
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Int64, UInt8

from isojepa.boundaries import shown
from isojepa.encoders.modalities.images.store import Store
from isojepa.errors import UserError
from isojepa.pixels.square import Square

log = logging.getLogger(__name__)


class Cached:
    """What stands in the rows of a store; what is damaged there, or missing, is decoded again."""

    def __init__(
        self,
        store: Store,
        rows: Int64[np.ndarray, " n"],
        decode: Callable[[Sequence[int]], Iterator[Square]],
    ) -> None:
        """Refer to rows of a store, -1 for images that it does not have.

        Args:
            decode: positions -> their squares, from the files; raises UserError for those that
                cannot be read any more.
        """
        self._store, self._rows, self._decode = store, rows, decode
        self._warned = False

    def read(self, positions: Sequence[int]) -> UInt8[np.ndarray, "b c s s"]:
        """The squares at the given positions.

        Raises:
            UserError: if an image has to be decoded again, and cannot be or has changed.
        """
        pixels = np.empty((len(positions), *self._store.shape), np.uint8)
        rows = self._rows[list(positions)].tolist()
        lost = [k for k, row in enumerate(rows) if row < 0 or not self._store.read(row, pixels[k])]
        for k, square in zip(lost, self._decode([positions[k] for k in lost])):
            pixels[k] = square.pixels
            if rows[k] >= 0:
                self._mend(rows[k], square)
        return pixels

    def _mend(self, row: int, square: Square) -> None:
        if not self._store.mend(row, square.pixels):
            raise UserError(
                f"{shown(self._store.folder)}: a decoded image is damaged there, and its file has "
                "changed since; start again"
            )
        if not self._warned:
            log.warning("%s: damaged; what is there is decoded again", shown(self._store.folder))
            self._warned = True
