"""The faults, each injected by one function; what a user should then see is checked there."""

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import processes
import torch
from odd_images import spoil
from processes import Ended, Tamper, kill_at, mount_disk, on_changes, on_reading, start, wait
from scene import SAVE_EVERY, STEPS, digest, reached, saved
from trial import Fault, Trial, Trying
from two_processes import kill_one_of_two


def kill_at_a_moment(trying: Trying) -> Trial:
    """SIGKILL after a random time."""
    after = trying.share() * trying.base.seconds
    said = trying.scene.home / f"{trying.out.name}.log"
    begun = time.monotonic()
    pid = start(trying.scene.words(trying.out), said)
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    ended = wait(pid, said, begun)
    at = reached(trying.out)
    return trying.result(f"after {after:.2f} s, at update {at}", ended, trying.train_on())


def kill_at_a_file(trying: Trying) -> Trial:
    """SIGKILL between two operations on files: while a checkpoint or the encoder is written."""
    at = 1 + int(trying.share() * trying.base.operations)
    ended = trying.scene.train(trying.out, tamper=on_changes(trying.out, kill_at(at)))
    trying.expect(ended.code == -signal.SIGKILL, "was not killed")
    what = f"before operation {at} of {trying.base.operations} on files"
    return trying.result(what, ended, trying.train_on())


def ask_to_stop(trying: Trying) -> Trial:
    """SIGTERM while it trains: saved, exit code 143, nothing to make again."""
    said = trying.scene.home / f"{trying.out.name}.log"
    begun = time.monotonic()
    pid = start(trying.scene.words(trying.out), said)
    update = 1 + int(trying.share() * (STEPS - 4))
    while reached(trying.out) < update and time.monotonic() - begun < 60:
        time.sleep(0.002)
    os.kill(pid, signal.SIGTERM)
    ended = wait(pid, said, begun)
    late = ended.code == 0 and reached(trying.out) == STEPS  # it was about to end by itself
    trying.expect(late or ended.code == 128 + signal.SIGTERM, f"exit code {ended.code}")
    lost = trying.train_on()
    trying.expect(lost == 0, f"{lost} updates made again")
    return trying.result(f"at update {update}", ended, lost)


def full_disk(trying: Trying) -> Trial:
    """A disk of too few bytes: one line and exit code 2, or, for curves and logs, on without."""
    whole = sum(p.stat().st_size for p in trying.base.run.rglob("*") if p.is_file())
    size = 4096 * int((0.02 + 0.9 * trying.share()) * whole / 4096)
    trying.out.mkdir()
    if trying.seed % 2 == 0 and mount_disk(trying.out, size):
        what = f"a disk of {size // 1024} kB"
        ended = trying.scene.train(trying.out)
        mount_disk(trying.out, 2**28, again=True)
    else:
        at = 1 + int(trying.share() * trying.base.operations)
        what = f"full from operation {at} of {trying.base.operations} on files"
        ended = trying.scene.train(trying.out, tamper=on_changes(trying.out, _full_from(at)))
    trying.expect(ended.code in (0, 2), f"exit code {ended.code}")
    trying.expect(ended.code == 0 or ended.in_one_line, "not told in one line")
    trial = trying.result(what, ended, trying.train_on())
    processes.unmount(trying.out)
    return trial


def _full_from(operation: int) -> Callable[..., None]:
    def act(count: int, event: str) -> None:
        if count >= operation and event in {"open", "os.mkdir", "os.rename"}:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return act


def damaged_checkpoint(trying: Trying) -> Trial:
    """A bit flipped, or the end cut off, in a random file of the newest checkpoint."""
    stop = SAVE_EVERY * 3 + 1
    ended = trying.scene.train(trying.out, tamper=_stop_at(stop))
    files = sorted((trying.out / "checkpoints" / f"step-{SAVE_EVERY * 3:08d}").iterdir())
    file = files[trying.seed // 2 % len(files)]
    content = bytearray(file.read_bytes())
    if trying.seed % 2:
        keep = int(trying.rng.integers(len(content)))
        what = f"{file.name} cut to {keep} of {len(content)} bytes"
        content = content[:keep]
    else:
        bit = int(trying.rng.integers(8 * len(content)))
        what = f"bit {bit} of {file.name} flipped"
        content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    again = trying.scene.train(trying.out)
    words = " ".join(again.said.split())
    told = "checkpoint left aside" in words and file.parent.name in words
    harmless = file.name == "meta.json"  # a space may have become another
    trying.expect(told or harmless, "went unnoticed")
    trying.expect(again.code == 0, f"exit code {again.code}")
    resumed = SAVE_EVERY * (2 if told else 3)
    trying.expect(f"resumed at update {resumed}" in words, "not from the checkpoint before it")
    named = what + (", named; the one before it used" if told else ", without effect")
    return trying.result(named, again._replace(code=ended.code), stop - 1 - resumed)


def damaged_product(trying: Trying) -> Trial:
    """A bit flipped in the exported weights: refused by name, and written anew by --resume."""
    shutil.copytree(trying.base.run, trying.out)
    file = trying.out / trying.scene.product / "model.safetensors"
    content = bytearray(file.read_bytes())
    bit = int(trying.share() * 8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    words = _reader(trying)
    ended = processes.run(words, trying.scene.home / f"{trying.out.name}.log")
    trying.expect(ended.code == 2, f"exit code {ended.code}")
    trying.expect(ended.in_one_line and "model.safetensors" in ended.said, "not named")
    return trying.result(f"bit {bit} of {file.name} flipped", ended, trying.train_on())


def _reader(trying: Trying) -> list[str]:
    if trying.scene.product == "encoder":
        place = trying.scene.home / f"{trying.out.name}.npz"
        data = ("--data", str(trying.scene.data), "--out", str(place), "--device", "cpu")
        return ["embed", str(trying.out), *data]
    return ["world", "surprise", "--run", str(trying.out), "--device", "cpu"]


def _stop_at(update: int) -> Tamper:
    """SIGKILL as the update of that number is about to be logged."""

    def tamper() -> None:
        from isojepa.training.recorder import Recorder

        remember = Recorder.remember

        def last(self: Recorder, made: object) -> None:
            if made.step == update:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGKILL)
            remember(self, made)  # type: ignore[arg-type]

        Recorder.remember = last  # type: ignore[method-assign, assignment]

    return tamper


def not_a_number(trying: Trying) -> Trial:
    """A weight becomes NaN, infinite or 3e38: stopped, the good checkpoint kept, gone on with."""
    update = 1 + int(trying.share() * (STEPS - 1))
    value = [float("nan"), float("inf"), float("-inf"), 3e38][trying.seed % 4]

    def tamper() -> None:
        step, made = torch.optim.AdamW.step, 0

        def poisoned(self: torch.optim.AdamW, *rest: object) -> object:
            nonlocal made
            result, weights = step(self, *rest), self.param_groups[0]["params"]
            made += len(weights) > 4  # the online probe has two
            if made == update and len(weights) > 4:
                with torch.no_grad():
                    weights[0].fill_(value)
            return result

        torch.optim.AdamW.step = poisoned  # type: ignore[method-assign, assignment]

    ended = trying.scene.train(trying.out, tamper=tamper)
    trying.expect(ended.code == 2 and ended.in_one_line, f"exit code {ended.code}")
    told = "became infinite or NaN" in " ".join(ended.said.split())
    trying.expect(told, "not told")
    trying.expect(saved(trying.out) <= update, "a checkpoint holds it")
    return trying.result(f"{value} after update {update}", ended, trying.train_on())


def data_under_the_job(trying: Trying) -> Trial:
    """An image is deleted or replaced while the images are read, then put back."""
    data = trying.scene.home / f"{trying.out.name}-data"
    shutil.copytree(trying.scene.data, data, dirs_exist_ok=True)
    files = sorted(data.rglob("*.jpg"))
    file = files[int(trying.rng.integers(len(files)))]
    original, other = file.read_bytes(), files[0 if file != files[0] else 1].read_bytes()
    at, deleted = 1 + int(trying.share() * 3 * len(files)), bool(trying.seed % 2)

    def act(count: int) -> None:
        if count == at:
            file.unlink() if deleted else file.write_bytes(other)

    log = trying.scene.home / f"{trying.out.name}.log"
    words = trying.scene.words(trying.out, data=data)
    ended = processes.run(words, log, on_reading(data, act))
    file.write_bytes(original)
    what = f"{'deleted' if deleted else 'replaced'} at opening {at} of {3 * len(files)}"
    trying.expect(ended.code in (0, 2), f"exit code {ended.code}")
    trying.expect(ended.code == 0 or ended.in_one_line, "not told in one line")
    skipped = trying.out / "skipped.tsv"
    named = skipped.is_file() and file.name in skipped.read_text()
    if ended.code == 2:
        trying.expect(file.name in ended.said, "the file is not named")
        shutil.rmtree(trying.out, ignore_errors=True)
        processes.run(trying.scene.words(trying.out, data=data), log)
        trial = trying.result(f"{what}: refused", ended)
    elif named:
        trial = trying.ended(f"{what}: left out and named", ended)
    elif digest(trying.out, "encoder") == trying.base.weights:
        trial = trying.result(f"{what}: read before", ended)
    else:  # the other picture was trained on: then it has to be the one that is on record
        again = processes.run(trying.scene.words(trying.out, data=data), log)
        told = again.code == 2 and file.name in again.said and "have changed" in again.said
        trying.expect(told, "trained on what is not on record")
        trial = trying.ended(f"{what}: trained on as found, and on record so", ended)
    shutil.rmtree(data)
    return trial


def fill_the_cache(trying: Trying) -> Trial:
    """SIGKILL, or a full disk, as decoded images are written into an empty cache."""
    cache = trying.scene.home / f"{trying.out.name}-cache"
    shutil.rmtree(cache, ignore_errors=True)
    at, killed = 1 + int(trying.share() * CACHE_WRITES), bool(trying.seed % 2)

    def tamper() -> None:
        from isojepa.caches.positioned import Positioned

        write, made = Positioned.write, 0

        def counted(self: Positioned, *rest: object) -> object:
            nonlocal made
            made += 1
            if made < at:
                return write(self, *rest)  # type: ignore[arg-type]
            if killed:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        Positioned.write = counted  # type: ignore[assignment, method-assign]

    ended = trying.scene.train(trying.out, "--cache", str(cache), tamper=tamper)
    trying.expect(ended.code == (-signal.SIGKILL if killed else 0), f"exit code {ended.code}")
    what = f"{'killed' if killed else 'full'} at write {at} of some {CACHE_WRITES}"
    trial = trying.result(what, ended, trying.train_on())
    shutil.rmtree(cache, ignore_errors=True)
    return trial


CACHE_WRITES = 180  # two for each of 96 pictures but those that are copies


def run_under_the_job(trying: Trying) -> Trial:
    """Files of the run are deleted or overwritten while it trains."""
    names = (
        "metrics.jsonl",
        "checkpoints",
        "config.json",
        "log.txt",
        "held_out.tsv",
        "episodes.json",
    )
    name = names[trying.seed % len(names)]
    low, high = 0.3 * trying.base.operations, 0.9 * trying.base.operations
    at = int(trying.rng.uniform(low, high))

    def act(count: int, _event: str) -> None:
        place = trying.out / name
        if count != at or not place.exists():
            return
        if place.is_dir():
            place.rename(trying.scene.home / f"{trying.out.name}-taken")
        elif trying.seed % 4 < 2:
            place.unlink()
        else:
            os.truncate(place, 3)

    ended = trying.scene.train(trying.out, tamper=on_changes(trying.out, act))
    shutil.rmtree(trying.scene.home / f"{trying.out.name}-taken", ignore_errors=True)
    trying.expect(ended.code in (0, 2), f"exit code {ended.code}")
    trying.expect(ended.code == 0 or ended.in_one_line, "not told in one line")
    what = f"{name} at operation {at} of {trying.base.operations}"
    if ended.code != 0:
        trying.may_lose = STEPS if name == "checkpoints" else SAVE_EVERY  # they are gone, then
    return trying.result(what, ended, None if ended.code == 0 else trying.train_on())


def kill_the_export(trying: Trying) -> Trial:
    """SIGKILL while `isojepa export` writes: whole or absent, and written by the next attempt."""
    shutil.copytree(trying.base.run, trying.out)
    log, to = trying.scene.home / f"{trying.out.name}.log", trying.out / "export-safetensors"
    words = ["export", str(trying.out), "--format", "safetensors", "--overwrite"]
    at = 1 + int(trying.share() * EXPORT_OPERATIONS)
    ended = processes.run(words, log, on_changes(trying.out, kill_at(at)))
    trying.expect(ended.code in (0, -signal.SIGKILL), f"exit code {ended.code}")
    there = to.is_dir()
    trying.expect(not there or len(list(to.iterdir())) >= 4, "half an export is there")
    again = processes.run(words, log)
    trying.expect(again.code == 0, f"cannot be exported any more: {again.last_line}")
    what = f"before operation {at} on files, {'done' if there else 'absent'} then"
    return trying.result(what, ended)


EXPORT_OPERATIONS = 20


def two_hundred_odd_images(trying: Trying) -> Trial:
    """200 damaged and odd images among 2,000: what cannot be read is named, the rest trained on."""
    data = trying.scene.home / f"{trying.out.name}-data"
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(trying.scene.home / "many", data)
    unreadable, readable = spoil(data, 200, trying.rng)
    short = ("--max-skipped", "0.2", "--steps", "6")
    scene, log = trying.scene, trying.scene.home / f"{trying.out.name}.log"
    ended = processes.run([*scene.words(trying.out, data=data), *short], log)
    trying.expect(ended.code == 0, f"exit code {ended.code}: {ended.last_line}")
    told = trying.out / "skipped.tsv"
    lines = [x.split("\t") for x in told.read_text().splitlines()] if told.is_file() else []
    skipped = {Path(line[0]).name for line in lines}
    trying.expect(unreadable <= skipped, f"not named: {sorted(unreadable - skipped)[:3]}")
    wrongly = sorted(readable & skipped)
    trying.expect(not wrongly, f"readable, but skipped: {wrongly[:3]}")
    for path in [p for p in data.rglob("*") if p.name in skipped]:
        path.unlink()
    clean = scene.home / f"{trying.out.name}-clean"
    shutil.rmtree(clean, ignore_errors=True)
    processes.run([*scene.words(clean, data=data), *short], log)
    same = digest(trying.out, "encoder") == digest(clean, "encoder") is not None
    trying.expect(same, "other weights than without the unreadable ones")
    for place in (data, clean):
        shutil.rmtree(place, ignore_errors=True)
    what = f"{len(skipped)} of 2,000 left out, {len(readable)} odd ones read"
    return trying.ended(what, Ended(*ended), identical=same)


BOTH = (
    ("kill", "SIGKILL at a random moment", kill_at_a_moment),
    ("kill-writing", "SIGKILL between two operations on files", kill_at_a_file),
    ("stop", "SIGTERM while it trains", ask_to_stop),
    ("full-disk", "the disk is full", full_disk),
    ("damaged-checkpoint", "a checkpoint cut short, or with one bit flipped", damaged_checkpoint),
    ("damaged-product", "what was trained, with one bit flipped", damaged_product),
    ("nan", "a weight becomes NaN or infinite", not_a_number),
    ("run-files", "files of the run deleted or cut under the job", run_under_the_job),
)
FAULTS = (
    *(Fault(f"{name}-{scene}", says, inject, scene)
      for scene in ("photos", "dots") for name, says, inject in BOTH),
    Fault("data", "an image deleted or replaced as images are read", data_under_the_job, "photos"),
    Fault("cache", "SIGKILL or a full disk as decoded images are kept", fill_the_cache, "photos"),
    Fault("export", "SIGKILL as `isojepa export` writes", kill_the_export, "photos", costly=True),
    Fault("odd-images", "200 odd images among 2,000", two_hundred_odd_images, "photos"),
    Fault("two-processes", "SIGKILL of one of two", kill_one_of_two, "photos", costly=True),
)  # fmt: skip
