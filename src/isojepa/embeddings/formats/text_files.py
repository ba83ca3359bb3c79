"""Text as people keep it: packed or not, in any of the usual encodings, as lines of UTF-8."""

import bz2
import codecs
import gzip
import io
import lzma
import re
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

PACKED: Mapping[str, Callable[[Path], io.BufferedIOBase]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
"""Compressed text, by suffix."""
CHUNK = 2**20


class Encoding(NamedTuple):
    """How the characters of a file are written."""

    codec: str
    note: str = ""


def open_bytes(path: Path) -> io.BufferedIOBase:
    """The content of a file, unpacked."""
    unpack = PACKED.get(path.suffix.lower())
    return unpack(path) if unpack is not None else path.open("rb")


def find_encoding(path: Path) -> Encoding:
    """UTF-8 or UTF-16 by their marks or by how they look, else Latin-1, which reads all bytes."""
    with closing(open_bytes(path)) as file:
        start = file.read(4096)
        if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            return Encoding("utf-32")
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return Encoding("utf-16")
        pairs = max(1, len(start) // 2)
        for codec, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
            if zeros.count(0) > 0.9 * pairs:  # digits and letters leave every other byte zero
                return Encoding(codec)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while start:
                decoder.decode(start)
                start = file.read(CHUNK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return Encoding("latin-1", "Not UTF-8: the text is read as Latin-1.")
    return Encoding("utf-8-sig")


def open_text(path: Path, codec: str) -> io.TextIOWrapper:
    """The characters of a file; line ends of every system become the same."""
    return io.TextIOWrapper(open_bytes(path), encoding=codec)  # type: ignore[arg-type]


class Utf8(io.RawIOBase):
    """The text of a file as bytes of UTF-8, with runs of spaces made one if asked for."""

    def __init__(self, path: Path, codec: str, squeeze: bool) -> None:
        self._text = open_text(path, codec)
        self._squeeze = squeeze
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes; b"" at the end."""
        if size is None or size < 0:
            size = CHUNK
        if not self._rest:
            self._rest = self._next().encode()
        given, self._rest = self._rest[:size], self._rest[size:]
        return given

    def _next(self) -> str:
        text = self._text.read(CHUNK)
        if not self._squeeze or not text:
            return text
        return squeezed(text + self._text.readline())

    def close(self) -> None:
        self._text.close()
        super().close()


def squeezed(text: str) -> str:
    """Lines with single spaces between words."""
    return re.sub(r"(?m)^ | $", "", re.sub(r"[ \t]+", " ", text))
