"""A run is a folder: made once, never overwritten by accident, every file whole or absent."""

import datetime
import io
import json
import platform
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isojepa.boundaries import writing
from isojepa.errors import UserError
from isojepa.files import write_atomically

FALSE_START = {"log.txt", "skipped.tsv", "views.png"}  # what a run that never began leaves behind


def make_run_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or check that it may be gone on with or replaced.

    Raises:
        UserError: if it exists and neither was asked for, is not a run, or cannot be written.
    """
    is_run = (out / "config.json").is_file()
    if resume:
        if not is_run:
            raise UserError(f"--resume {out}: there is no run there (config.json is missing)")
        return
    if out.exists() and not (out.is_dir() and {p.name for p in out.iterdir()} <= FALSE_START):
        if not overwrite:
            what = "a run" if is_run else "something else"
            remedy = "--resume to go on with it, --overwrite to replace it, or another --out"
            raise UserError(
                f"--out {out}: {what} is already there; "
                + (f"give {remedy}" if is_run else "choose another --out")
            )
        if not is_run:
            raise UserError(f"--overwrite {out}: not a run, so it is left alone; choose another")
        with writing(out):
            shutil.rmtree(out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)


def read_run(run: Path) -> dict[str, Any]:
    """The contents of RUN/config.json.

    Raises:
        UserError: if there is none or it is damaged.
    """
    path = run / "config.json"
    if not path.is_file():
        raise UserError(f"{run}: not a run folder (config.json is missing)")
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error})") from error


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")


def describe_machine(device: torch.device) -> str:
    """The hardware, in words, for the record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = "Apple GPU" if device.type == "mps" else "CPU"
    return f"{name}, {torch.get_num_threads()} threads, {platform.machine()} {platform.system()}"


def provenance(device: torch.device) -> dict[str, Any]:
    """The command, versions, hardware and time that a run records."""
    import isojepa

    program = Path(sys.argv[0]).name
    return {
        "command": shlex.join([program, *sys.argv[1:]]),
        "versions": {
            "isojepa": isojepa.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "hardware": describe_machine(device),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def write_skipped(run: Path, skipped: Iterable[tuple[str, str]]) -> None:
    """Write skipped.tsv: the files left out, and why."""
    rows = [f"{name}\t{' '.join(reason.split())}" for name, reason in skipped]
    write_atomically(run / "skipped.tsv", "\n".join(["path\treason", *rows]) + "\n")


class Metrics:
    """RUN/metrics.jsonl: one JSON object a line, appended as training goes."""

    def __init__(self, run: Path, *, start: int = 0) -> None:
        """Open the file, dropping lines beyond update `start`, which a resumed run writes anew."""
        self.path = run / "metrics.jsonl"
        kept = [line for line in read_metrics(run) if line["step"] <= start]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def append(self, line: dict[str, Any]) -> None:
        """Add one line and hand it to the operating system."""
        with writing(self.path), self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The lines of RUN/metrics.jsonl; a last line cut short by a crash is left out."""
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text().splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
