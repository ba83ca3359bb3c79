"""Commands of isojepa in processes of their own, which can be killed and tampered with.

A process that has imported PyTorch forks one for each command: it is a process like any other, with
its own signals and files, and begins in a few milliseconds.
"""

import ctypes
import mmap
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"  # processes are forked from this one, which may have no other thread

from isojepa import cli  # noqa: E402

LONGEST = 600.0  # seconds; what takes longer hangs
CLONE_NEWNS, MS_PRIVATE_AND_ALL_BELOW = 0x00020000, 0x44000
Tamper = Callable[[], object]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    """Its exit code; minus the signal's number if one killed it."""
    said: str
    seconds: float

    @property
    def last_line(self) -> str:
        """What it said last: its words to the user."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        text = " ".join(lines)
        start = text.rfind("isojepa: ")
        return text[start:] if start >= 0 else (lines[-1] if lines else "")

    @property
    def in_one_line(self) -> bool:
        """Whether a user can read why: no traceback, and one line of ours."""
        return "Traceback" not in self.said and "isojepa: " in self.said


def start(
    words: list[str], said: Path, tamper: Tamper | None = None, modules: Path | None = None
) -> int:
    """Begin a command, which writes the names of its modules there; returns its process id."""
    said.write_text("")
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        screen = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        sys.argv = ["isojepa", *words]
        if tamper is not None:
            tamper()
        code = cli.main(words)
        if modules is not None:
            modules.write_text("\n".join(n for n in sys.modules if not n.startswith("__")))
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def wait(pid: int, said: Path, begun: float, longest: float = LONGEST) -> Ended:
    """The end of a command that was begun; one that does not end is killed and says so."""
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        seconds = time.monotonic() - begun
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return Ended(code, said.read_text(errors="replace"), seconds)
        if seconds > longest:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return Ended(-999, said.read_text(errors="replace") + "\nhung", seconds)
        time.sleep(0.005)


def run(
    words: list[str], said: Path, tamper: Tamper | None = None, modules: Path | None = None
) -> Ended:
    """A command from its beginning to its end."""
    begun = time.monotonic()
    return wait(start(words, said, tamper, modules), said, begun)


WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree"}


def on_changes(below: Path, act: Callable[[int, str], object]) -> Tamper:
    """Call `act(count, event)` before each operation of the process that changes files there.

    Opening for writing, renaming, removing, making folders: the moments between which a killed
    process leaves different things behind. What `act` raises, the operation raises.
    """
    count, place = 0, str(below)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event == "open":
            if not isinstance(arguments[2], int) or not arguments[2] & WRITES:
                return
        elif event not in CHANGES:
            return
        inside = event in {"os.remove", "os.rmdir"} and arguments[-1] != -1  # of an open folder
        if inside or os.fsdecode(_path(arguments[0])).startswith(place):
            count += 1
            act(count, event)

    return lambda: sys.addaudithook(hook)


def on_reading(below: Path, act: Callable[[int], object]) -> Tamper:
    """Call `act(count)` before each time that the process opens a file there for reading."""
    count, place = 0, str(below)

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event != "open" or (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        path = os.fsdecode(_path(arguments[0]))
        if path.startswith(place) and path.endswith(".jpg"):
            count += 1
            act(count)

    return lambda: sys.addaudithook(hook)


def _path(argument: object) -> str | bytes:
    return argument if isinstance(argument, str | bytes) else str(argument)


class Counter:
    """A number that a forked process shares with this one."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 8)

    def __call__(self, count: int, *_: object) -> None:
        self._memory[:8] = count.to_bytes(8, "little")

    @property
    def value(self) -> int:
        return int.from_bytes(self._memory[:8], "little")


def kill_at(operation: int) -> Callable[..., None]:
    """SIGKILL, before the operation of that number."""

    def act(count: int, *_: object) -> None:
        if count == operation:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def own_mounts() -> bool:
    """Give this process mounts of its own, which vanish with it; False where it may not."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if libc is None or libc.unshare(CLONE_NEWNS) != 0:
        return False
    return libc.mount(b"none", b"/", None, MS_PRIVATE_AND_ALL_BELOW, None) == 0


def mount_disk(place: Path, size: int, *, again: bool = False) -> bool:
    """A disk in memory of that many bytes; `again` changes the size of one that is there."""
    libc = ctypes.CDLL(None, use_errno=True)
    flags, options = 0x20 if again else 0, f"size={size}".encode()
    return libc.mount(b"tmpfs", os.fsencode(place), b"tmpfs", flags, options) == 0


def unmount(place: Path) -> None:
    ctypes.CDLL(None).umount2(os.fsencode(place), 2)
