"""Updates under a progress bar, with the signals that stop a run and the memory it keeps."""

import logging
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from types import FrameType

from isojepa.progress import Advance, bar
from isojepa.training.interrupted import Interrupted
from isojepa.training.memory import kept_memory
from isojepa.training.optimise import B, T, Update
from isojepa.training.ranks import largest
from isojepa.training.recorder import Recorder

log = logging.getLogger(__name__)


@contextmanager
def watched(
    updates: Iterator[Update[B, T]], recorder: Recorder, *, steps: int, title: str = "training"
) -> Iterator[Iterator[Update[B, T]]]:
    """The updates, to be consumed by a `for` loop that logs, measures and saves with `recorder`.

    Args:
        steps: number of updates of the whole run, for the bar.
        title: what the bar says.

    Raises:
        Interrupted: by the iterator, on all ranks, after Ctrl-C or SIGTERM on any, once the
            recorder has saved the run.
    """
    memory = kept_memory() if recorder.fabric.device.type == "cpu" else nullcontext()
    with (
        memory,
        closing(recorder),
        bar(steps, title, done=recorder.step) as advance,
        stop_signals() as received,
    ):
        yield _follow(updates, recorder, advance, received)


def _follow(
    updates: Iterator[Update[B, T]], recorder: Recorder, advance: Advance, received: list[int]
) -> Iterator[Update[B, T]]:
    for update in updates:
        recorder.remember(update)
        yield update
        advance(1, recorder.words)
        number = largest(received[0] if received else 0)
        if number:
            recorder.save(update.step)
            raise Interrupted(number, update.step, recorder.out)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that the loop can save first; twice interrupts."""
    received: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        log.info("stopping after this update; once more to stop at once")

    try:
        before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: leave signals to the caller
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
