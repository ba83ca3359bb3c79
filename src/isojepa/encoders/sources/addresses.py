"""Files at addresses: what is known of one before it is fetched, and its bytes from a place on.

`http` and `https` go through the standard library; the stores of clouds (`s3`, `gs`, `az`) and of
the hub (`hf`) through fsspec, where its plug-in for them is installed. Nothing here is called
unless `--data` names an address. What a library raises passes `isojepa.boundaries.reaching`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

SCHEME = re.compile(r"(https?|s3|gs|hf|az|ftp):/+")
SECONDS = 30.0  # that a server may take for its next word
PIECE = 2**20  # bytes


class Remote(NamedTuple):
    """A file as its server describes it."""

    address: str
    size: int | None
    """In bytes; None where the server does not say."""
    version: str
    """What changes with the contents: the server's tag, or the time of the last change."""


def as_address(path: Path) -> str | None:
    """The address that a path was made of; None of a path to a file."""
    text = path.as_posix()  # of whose two slashes `Path` keeps one
    found = SCHEME.match(text)
    return None if found is None else f"{found[1]}://{text[found.end() :]}"


def described(address: str) -> Remote:
    """What the server says of a file, without its contents; whatever its client raises passes."""
    if _is_web(address):
        with urlopen(Request(address), timeout=SECONDS) as answer:
            return _described(address, answer)
    store, path = _store(address)
    return Remote(address, store.info(path).get("size"), str(store.ukey(path)))


def pieces(remote: Remote, start: int) -> Iterator[bytes]:
    """Its bytes from a place on.

    Raises:
        ValueError: if it is another version by now; whatever its client raises passes.
    """
    if not _is_web(remote.address):
        store, path = _store(remote.address)
        with store.open(path, "rb") as file:
            file.seek(start)
            yield from iter(lambda: file.read(PIECE), b"")
        return
    request = Request(remote.address, headers={"Range": f"bytes={start}-"} if start else {})
    with urlopen(request, timeout=SECONDS) as answer:
        begins = start if answer.status == 206 else 0
        if _described(remote.address, answer, begins) != remote:
            raise ValueError("it was changed meanwhile")
        while begins < start and (skipped := answer.read(min(PIECE, start - begins))):
            begins += len(skipped)  # the server does not know ranges
        yield from iter(lambda: answer.read(PIECE), b"")


def _described(address: str, answer: Any, begins: int = 0) -> Remote:
    length = answer.headers.get("Content-Length")
    size = None if length is None else begins + int(length)
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    return Remote(address, size, f"{tag} {size}")


def _is_web(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _store(address: str) -> tuple[Any, str]:
    """A client of the store, and the file's name there; fsspec names a plug-in that is missing."""
    from fsspec.core import url_to_fs

    return url_to_fs(address)
