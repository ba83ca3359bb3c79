"""A file that several threads and processes read and write at given places."""

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock

import numpy as np

CAN_POSITION = hasattr(os, "preadv") and hasattr(os, "pwrite")  # not on Windows


class Positioned:
    """An open file. It is read into memory rather than mapped: where somebody truncates a file that
    is mapped, or its disk fails, the system ends the process.
    """

    def __init__(self, path: Path) -> None:
        """Open a file for reading, and for writing where that is allowed.

        Raises:
            OSError: if it cannot be opened.
        """
        access = os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY
        self._file = os.open(path, access | getattr(os, "O_BINARY", 0))
        self._turn = Lock()

    def __del__(self) -> None:
        with suppress(OSError, AttributeError):
            os.close(self._file)

    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._file).st_size

    def read(self, count: int, place: int) -> bytes:
        """So many bytes from a place on.

        Raises:
            OSError: if there are fewer, or the disk fails.
        """
        content = np.empty(count, np.uint8)
        if not self.read_into(content, place):
            raise OSError(f"{count} bytes cannot be read at {place}")
        return content.tobytes()

    def read_into(self, array: np.ndarray, place: int) -> bool:
        """Fill an array with what stands at a place; whether that worked."""
        view = array.data.cast("B") if array.size else memoryview(b"")
        try:
            while view:
                count = self._read_some(view, place)
                if not count:
                    return False
                view, place = view[count:], place + count
        except OSError:  # the disk's failure, or a file system's that has gone
            return False
        return True

    def write(self, content: bytes, place: int) -> None:
        """Write at a place.

        Raises:
            OSError: if the disk refuses.
        """
        view = memoryview(content)
        while view:
            count = self._write_some(view, place)
            view, place = view[count:], place + count

    def resize(self, size: int) -> None:
        """Lengthen the file by zeros, or cut it off; raises OSError."""
        os.ftruncate(self._file, size)

    def flush(self) -> None:
        """Wait until all is on the disk; raises OSError."""
        os.fsync(self._file)

    def _read_some(self, view: memoryview, place: int) -> int:
        if CAN_POSITION:
            return os.preadv(self._file, [view], place)
        with self._turn:
            os.lseek(self._file, place, os.SEEK_SET)
            content = os.read(self._file, len(view))
        view[: len(content)] = content
        return len(content)

    def _write_some(self, view: memoryview, place: int) -> int:
        if CAN_POSITION:
            return os.pwrite(self._file, view, place)
        with self._turn:
            os.lseek(self._file, place, os.SEEK_SET)
            return os.write(self._file, view)
