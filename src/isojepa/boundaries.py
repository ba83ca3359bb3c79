"""Where foreign things come in or go out: reading a file, writing one, reaching a network.

Decoders, file systems and services raise whatever they like. Each boundary here turns all of it
into one line for the user with the true reason, so that nobody else has to list exceptions:

- `reading`: a file that is not ours, by whatever library; defects of the file end as `UserError`.
- `writing`: a file that has to be written; a full or read-only disk ends as `UserError`.
- `reaching`: a network or a service on it; its absence ends as `UserError`.
- `trying`: what the work can do without (a cache, a curve); a warning is logged and it goes on.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeVar

from isojepa.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
LONGEST = 240  # characters of a library's own words that are passed on


@dataclass(frozen=True)
class Blob:
    """A file that stands inside another one, opened as one of its own is."""

    name: str
    """Of the file that holds it, and its own."""
    content: bytes

    def open(self, _mode: Literal["rb"] = "rb") -> BytesIO:
        return BytesIO(self.content)

    def __str__(self) -> str:
        return self.name


def shown(name: str | Path | Blob) -> str:
    """A file's name for a screen, a table or a page: one line of valid text.

    Bytes that are not UTF-8, tabs, line breaks and other control characters appear escaped, as in
    `caf\\xe9.png`; everything else as it is.
    """
    text = str(name)
    if text.isprintable() and not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    return "".join(map(_shown_character, text))


def _shown_character(c: str) -> str:
    if "\udc80" <= c <= "\udcff":  # a byte that was not UTF-8, by os.fsdecode
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c if c.isprintable() else c.encode("unicode_escape").decode()


def reason(error: BaseException) -> str:
    """Why something failed, in one line: the system's words, or the library's."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, MemoryError):
        return f"it does not fit in memory{_words(error, before=': ')}"
    inner = getattr(error, "reason", None)
    if isinstance(inner, Exception):  # urllib's own shell around it
        return reason(inner)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, UnicodeDecodeError):
        return f"not text in {error.encoding}: byte {error.object[error.start]:#x} at {error.start}"
    return _words(error) or type(error).__name__


def _words(error: BaseException, before: str = "") -> str:
    words = " ".join(str(error).split())
    if not words:
        return ""
    return before + (words if len(words) <= LONGEST else words[: LONGEST - 1] + "…")


def contents(path: Path | Blob) -> str | None:
    """What a file is, when its first bytes say that it is not what its name promises.

    Returns:
        A phrase with the remedy for a Git LFS pointer, a web page or an empty file; else None, and
        None too for what cannot be opened.
    """
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return None
    if not start:
        return "empty file (0 bytes)"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself: run `git lfs pull`"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "a web page: the download failed, fetch it again"
    return None


@contextmanager
def reading(
    path: Path | Blob, what: str, error: Callable[[str], Exception] | None = None
) -> Iterator[None]:
    """Turn whatever a library raises while it reads a file into one exception.

    Put only the library's calls inside: a defect of ours there would be taken for one of the file.

    Args:
        path: the file, for the message.
        what: what it should be, with its article: "an image", "a table".
        error: makes the exception from the reason; by default a `UserError` that names the file.

    Raises:
        UserError, or what `error` makes; `UserError` and exceptions of that type pass as they are.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as caught:
        if isinstance(error, type) and isinstance(caught, error):
            raise
        why = contents(path) or reason(caught)
        if error is not None:
            raise error(why) from caught
        missing = isinstance(caught, FileNotFoundError)
        if missing and isinstance(path, Path) and not path.exists():
            raise UserError(f"{shown(path)}: no such file") from caught
        raise UserError(f"{shown(path)}: cannot be read as {what}: {why}") from caught


def reading_each(
    path: Path, what: str, parts: Iterable[T], error: Callable[[str], Exception] | None = None
) -> Iterator[T]:
    """Parts of a file as a library yields them, each read inside `reading`; what the caller does
    with a part is outside."""
    with reading(path, what, error):
        iterator = iter(parts)
    while True:
        with reading(path, what, error):
            try:
                part = next(iterator)
            except StopIteration:
                return
        yield part


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into a line for the user.

    Put nothing inside that also reads foreign files: a damaged file would be called a full disk.

    Raises:
        UserError: if the disk is full or read-only, or the folder cannot be made.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{shown(path)}: cannot be written ({error.strerror or error}); free some space or "
            "choose another place. What was saved before is kept."
        ) from error


@contextmanager
def reaching(what: str, remedy: str) -> Iterator[None]:
    """Turn a network's or a service's absence into a line for the user.

    Args:
        what: what was asked for and by which setting, such as "--pretrained: weights of resnet18".
        remedy: what to do instead.

    Raises:
        UserError: for whatever the client library raises.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} cannot be had ({reason(error)}); {remedy}") from error


@contextmanager
def trying(what: str) -> Iterator[None]:
    """Go on, with a warning, when what the work can do without cannot be written or reached.

    Args:
        what: what is lost, for the warning: "the null distributions' cache".
    """
    try:
        yield
    except Exception as error:
        log.warning("%s: %s; going on without", what, reason(error))
