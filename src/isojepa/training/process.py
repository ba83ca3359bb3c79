"""The process that trains: its folder, its updates, and the signals that stop it."""

import logging
import signal
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric

from isojepa.errors import UserError
from isojepa.progress import bar, set_up_logging
from isojepa.runs.folder import make_run_folder
from isojepa.training.interrupted import Interrupted
from isojepa.training.memory import kept_memory
from isojepa.training.ranks import largest, on_first, together
from isojepa.training.trackers import Trackers, open_trackers

log = logging.getLogger(__name__)


@runtime_checkable
class Session(Protocol):
    """Does what is due between two updates."""

    def follow(self, update: Any) -> str:
        """Log, measure and save; returns the newest metrics in words."""
        ...

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        ...

    def close(self) -> None:
        """Close what is open, also where the run ends early."""
        ...


def open_run(fabric: Fabric, config: Any, stored: dict[str, Any] | None) -> Trackers:
    """Make the run's folder and log file and reach its trackers, before the data are read.

    Args:
        config: with the fields `out`, `resume`, `overwrite`, `tensorboard` and `wandb`.
        stored: config.json of a run to go on with.

    Raises:
        UserError: see `make_run_folder` and `open_trackers`.
    """
    found = Trackers([])

    def begin() -> None:
        nonlocal found
        make_run_folder(config.out, resume=config.resume, overwrite=config.overwrite)
        set_up_logging(config.out / "log.txt")
        found = open_trackers(
            config.out, tensorboard=config.tensorboard, wandb=config.wandb, stored=stored
        )

    if fabric.global_rank != 0:
        logging.getLogger("isojepa").setLevel(logging.ERROR)  # one voice is enough
    on_first(begin)
    return found


def require_shares(fabric: Fabric, batch_size: int) -> None:
    """Raise `UserError` unless every process gets a part of each batch."""
    if batch_size < fabric.world_size:
        raise UserError(
            f"--batch-size {batch_size} --devices {fabric.world_size}: the batch is shared among "
            f"the devices; give at least {fabric.world_size}, or fewer devices"
        )


def follow_updates(
    updates: Iterable[Any],
    session: Session,
    *,
    device: torch.device,
    start: int,
    steps: int,
    out: Path,
) -> None:
    """Make updates `start` to `steps` under a progress bar, with the session between them.

    Args:
        updates: each has a `step`, counted from 1.
        device: that trains.
        out: the run's folder, for the message.

    Raises:
        UserError: on all ranks, for what the user can put right on any.
        Interrupted: on all ranks after Ctrl-C or SIGTERM on any, once the run is saved.
    """
    memory = kept_memory() if device.type == "cpu" else nullcontext()
    with (
        memory,
        closing(session),
        bar(steps, "training", done=start) as advance,
        stop_signals() as stopped,
    ):
        for update in updates:
            advance(1, together(partial(session.follow, update)))
            number = largest(stopped[0] if stopped else 0)
            if number:
                together(partial(session.save, update.step))
                raise Interrupted(number, update.step, out)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that the loop can save first; twice interrupts."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
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
