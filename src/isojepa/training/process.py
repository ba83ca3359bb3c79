"""The process that trains: its devices and precision, its folder, and the signals that stop it."""

import logging
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric

from isojepa.errors import UserError
from isojepa.progress import bar, set_up_logging
from isojepa.run_folder import make_run_folder, read_run
from isojepa.training.memory import kept_memory

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """The user, or the machine, asked the run to stop; it was saved first."""

    def __init__(self, number: int, step: int, run: Path) -> None:
        super().__init__(f"stopped at update {step}; go on with --resume --out {run}")
        self.number = number


@runtime_checkable
class Session(Protocol):
    """Does what is due between two updates."""

    def follow(self, update: Any) -> str:
        """Log, measure and save; returns the newest metrics in words."""
        ...

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        ...


def start_fabric(device: str, devices: int, precision: str) -> Fabric:
    """Lightning Fabric on the device, and with the precision, asked for or found.

    Raises:
        UserError: if there is no such device, or not as many.
    """
    accelerator = {"auto": "auto", "gpu": "cuda"}.get(device, device)
    settled: Any = precision
    if precision == "auto":
        on_gpu = torch.cuda.is_available() and device in {"auto", "gpu"}
        settled = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
    try:
        fabric = Fabric(accelerator=accelerator, devices=devices, precision=settled)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        if type(error).__module__.startswith("lightning") or "accelerator" in str(error).lower():
            raise UserError(f"--device {device}: {error}") from error
        raise
    return fabric


def open_run(fabric: Fabric, out: Path, *, resume: bool, overwrite: bool) -> dict[str, Any] | None:
    """Make the run's folder and log file; returns what config.json holds of a run to go on with.

    Raises:
        UserError: see `make_run_folder` and `read_run`.
    """
    if fabric.global_rank == 0:
        make_run_folder(out, resume=resume, overwrite=overwrite)
        set_up_logging(out / "log.txt")
    else:
        logging.getLogger("isojepa").setLevel(logging.WARNING)  # one voice is enough
    fabric.barrier()
    return read_run(out) if resume else None


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
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    memory = kept_memory() if device.type == "cpu" else nullcontext()
    with memory, bar(steps, "training", done=start) as advance, stop_signals() as stopped:
        for update in updates:
            advance(1, session.follow(update))
            if stopped:
                session.save(update.step)
                raise Interrupted(stopped[0], update.step, out)


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
