"""One of two processes of a run is killed: the other has to end, and the run to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from processes import Ended
from scene import SAVE_EVERY, STEPS, digest, reached
from trial import Trial, Trying, resumed_at

WITHIN = 60.0  # seconds
TWO = ("--devices", "2")


def kill_one_of_two(trying: Trying) -> Trial:
    """SIGKILL of the first or the second process; the other ends with an error within a minute."""
    whole = _undisturbed(trying)
    log = trying.scene.home / f"{trying.out.name}.log"
    update = 1 + int(trying.share() * (STEPS - 10))
    first = _begin(trying.scene.words(trying.out, *TWO), log)
    second = _child(first)
    while reached(trying.out) < update and first.poll() is None:
        time.sleep(0.01)
    victim = (first.pid, second)[trying.seed % 2]
    os.kill(victim, signal.SIGKILL)
    begun = time.monotonic()
    while (first.poll() is None or _lives(second)) and time.monotonic() - begun < WITHIN:
        time.sleep(0.05)
    seconds = time.monotonic() - begun
    trying.expect(first.poll() is not None and not _lives(second), "the other did not end")
    _end(first, second)
    ended = Ended(first.returncode, log.read_text(errors="replace"), seconds)
    trying.expect(first.returncode != 0, "exit code 0")
    at = reached(trying.out)
    subprocess_ended = _begin(trying.scene.words(trying.out, *TWO), log).wait()
    trying.expect(subprocess_ended == 0, f"cannot be gone on with: {log.read_text()[-300:]}")
    lost = at - resumed_at(log.read_text())
    trying.expect(lost <= SAVE_EVERY, f"{lost} updates lost")
    which = "second" if trying.seed % 2 else "first"
    same = digest(trying.out, "encoder") == whole
    trying.expect(same, "other weights than the undisturbed run of two processes")
    what = f"the {which} at update {at}; the other ended after {seconds:.1f} s"
    return trying.ended(what, ended, lost, same)


def _undisturbed(trying: Trying) -> str | None:
    out = trying.scene.home / "undisturbed-two"
    if digest(out, "encoder") is None:
        log = trying.scene.home / "undisturbed-two.log"
        if _begin(trying.scene.words(out, *TWO), log).wait() != 0:
            raise RuntimeError(log.read_text())
    return digest(out, "encoder")


def _begin(words: list[str], log: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "isojepa.cli", *words]
    with log.open("w") as screen:
        return subprocess.Popen(command, stdout=screen, stderr=screen)


def _child(first: subprocess.Popen) -> int:
    while first.poll() is None:
        found = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        for pid in found:
            if b"isojepa.cli" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
        time.sleep(0.1)
    raise RuntimeError("it ended before it had started another")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _end(first: subprocess.Popen, second: int) -> None:
    first.kill()
    first.wait()
    if _lives(second):
        os.kill(second, signal.SIGKILL)
