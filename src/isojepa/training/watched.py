"""Updates under a progress bar, with the signals that stop a run and the memory it keeps."""

import logging
import math
import signal
import time
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
SAVE, TIME_IS_UP = 1, 128  # signals have the numbers between


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
            recorder has saved the run; likewise once --max-minutes are over.
    """
    memory = kept_memory() if recorder.fabric.device.type == "cpu" else nullcontext()
    with (
        memory,
        closing(recorder),
        bar(steps, title, done=recorder.step) as advance,
        stop_signals() as received,
    ):
        yield _follow(updates, recorder, steps, advance, received)


def _follow(
    updates: Iterator[Update[B, T]],
    recorder: Recorder,
    steps: int,
    advance: Advance,
    received: list[int],
) -> Iterator[Update[B, T]]:
    started = saved = time.monotonic()
    for update in updates:
        recorder.remember(update)
        yield update
        advance(1, recorder.words)
        now = time.monotonic()
        if received:
            asked = received[0]
        elif now - started >= 60 * (recorder.config.max_minutes or math.inf):
            asked = TIME_IS_UP
        else:
            asked = int(now - saved >= 60 * (recorder.config.save_minutes or math.inf))
        asked = largest(asked)  # clocks differ: what one rank asks for, all do
        if asked:
            recorder.save(update.step)
            saved = now
        if asked > SAVE and (asked != TIME_IS_UP or update.step < steps):
            raise Interrupted(asked % TIME_IS_UP, update.step, recorder.config.out)


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
