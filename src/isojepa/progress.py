"""What the user sees while waiting: progress bars on a terminal, plain lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from isojepa.boundaries import reason, shown, trying

T = TypeVar("T")
console = Console(stderr=True, markup=False)  # brackets in paths and names are no markup
PLAIN_SECONDS = 10.0  # between two lines where there is no terminal
Track = Callable[[Iterator, int, str], Iterator]
"""Wraps an iterator over so many things, which it names, to show progress."""
BETWEEN = 0.1  # seconds between two times that a bar is drawn


def untracked(items: Iterator, _total: int, _what: str) -> Iterator:
    """The items, with no progress shown."""
    return items


def set_up_logging(file: Path | None = None) -> None:
    """Send the package's log to the screen and, if given, to a file as well."""
    logger = logging.getLogger("isojepa")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.addHandler(
        RichHandler(console=console, show_time=False, show_path=False, show_level=False)
    )
    if file is not None:
        with trying(f"the log file {shown(file)}"):
            handler = _LogFile(file, encoding="utf-8", errors="backslashreplace")
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
            logger.addHandler(handler)


class _LogFile(logging.FileHandler):
    """A log file that is left out from the first line that cannot be written."""

    def handleError(self, _record: logging.LogRecord) -> None:
        logger, error = logging.getLogger("isojepa"), sys.exc_info()[1]
        if self in logger.handlers:
            logger.removeHandler(self)
            logger.warning("log.txt: %s; going on without", reason(error) if error else "failed")

    def close(self) -> None:
        with suppress(OSError):  # flushes what a full disk could not take
            super().close()


def track(items: Iterable[T], total: int, description: str) -> Iterator[T]:
    """Yield the items under a progress bar named by the description, with how many a second."""
    done = 0
    started = last = time.monotonic()
    with bar(total, description) as advance:
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if now - last > BETWEEN:  # to draw each of a million takes longer than many jobs
                advance(done - advance.done, f"{done / (now - started):,.0f}/s")
                last = now
        advance(done - advance.done, f"{done / max(time.monotonic() - started, 1e-9):,.0f}/s")


class Advance:
    """Move a bar forward, and change the words beside it."""

    def __init__(self, progress: Progress, task: TaskID, total: int, description: str) -> None:
        self._progress, self._task = progress, task
        self._total, self._description = total, description
        self._done, self._last = 0, time.monotonic()

    @property
    def done(self) -> int:
        """What the bar stands at."""
        return self._done

    def __call__(self, amount: int, status: str = "") -> None:
        self._done += amount
        if console.is_terminal:
            self._progress.update(self._task, advance=amount, status=status)
        elif time.monotonic() - self._last > PLAIN_SECONDS:
            self._last = time.monotonic()
            print(
                f"{self._description}: {self._done}/{self._total}  {status}",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def bar(total: int, description: str, *, done: int = 0, status: str = "") -> Iterator[Advance]:
    """A progress bar with a place for a status text; yields the function that advances it."""
    columns = (
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("<"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total, completed=done, status=status)
        advance = Advance(progress, task, total, description)
        advance._done = done
        yield advance
