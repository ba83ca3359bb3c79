"""Caches that are filled behind the work that reads them, which need not wait for all of it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable


class Unsettled(Exception):
    """What was taken for granted of data that had not been seen yet does not hold.

    The work has to begin again once all are known: what it made so far is of other data.
    """


@runtime_checkable
class Fill(Protocol):
    """One cache that is being filled."""

    def wait(self) -> None:
        """Return when it is full; raises `Unsettled`."""

    def seconds_left(self) -> float:
        """Until it is full, at the rate so far."""

    def hold(self) -> None:
        """Fetch only what is asked for from now on."""

    def release(self) -> None:
        """Go on with everything."""

    def stop(self) -> None:
        """Leave it as it is, and let go of it."""


_fills: ContextVar[list[Fill] | None] = ContextVar("_fills", default=None)


@contextmanager
def filling_behind(*, allowed: bool) -> Iterator[None]:
    """Let caches be filled behind what is done inside; at its end they are left as they are."""
    fills: list[Fill] | None = [] if allowed else None
    token = _fills.set(fills)
    try:
        yield
    finally:
        _fills.reset(token)
        for fill in fills or ():
            fill.stop()


def may_fill_behind() -> bool:
    """Whether a cache may be filled behind the caller's back."""
    return _fills.get() is not None


def begun(fill: Fill) -> None:
    """Take note of a cache that is being filled from now on."""
    fills = _fills.get()
    assert fills is not None
    fills.append(fill)


def wait_for_fills() -> None:
    """Have everything in the caches.

    Raises:
        Unsettled: if that shows that the work has to begin again.
    """
    for fill in _fills.get() or ():
        fill.wait()


def seconds_left() -> float:
    """What the caches that are being filled need yet."""
    return sum((fill.seconds_left() for fill in _fills.get() or ()), 0.0)


@contextmanager
def fills_held() -> Iterator[None]:
    """Only what is asked for is fetched meanwhile: nothing else is timed with what is timed."""
    with ExitStack() as stack:
        for fill in _fills.get() or ():
            fill.hold()
            stack.callback(fill.release)
        yield
