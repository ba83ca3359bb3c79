"""A run is a folder: made once, never overwritten by accident, every file whole or absent."""

import datetime
import io
import json
import platform
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.version import __version__

FALSE_START = {  # what a run that never began leaves behind
    "log.txt", "skipped.tsv", "views.png", "held_out.tsv", "wandb", "mlruns", "tensorboard",
}  # fmt: skip
STOPPED = {  # and one that diverged with nothing saved
    *FALSE_START, "config.json", "metrics.jsonl", "diverged.json",
}  # fmt: skip


def make_run_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or check that it may be gone on with or replaced.

    Raises:
        UserError: if it exists and neither was asked for, is not a run, or cannot be written.
    """
    is_run = (out / "config.json").is_file()
    if resume:
        if not is_run:
            raise UserError(
                f"--resume {shown(out)}: there is no run there (config.json is missing)"
            )
        with writing(out), tempfile.NamedTemporaryFile(dir=out, prefix=".part-"):
            return
    if out.exists() and not _is_empty(out):
        if not overwrite:
            what = "a run" if is_run else "something else"
            remedy = "--resume to go on with it, --overwrite to replace it, or another --out"
            raise UserError(
                f"--out {shown(out)}: {what} is already there; "
                + (f"give {remedy}" if is_run else "choose another --out")
            )
        if not is_run:
            raise UserError(
                f"--overwrite {shown(out)}: not a run, so it is left alone; choose another"
            )
        with writing(out):
            shutil.rmtree(out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in STOPPED - {"log.txt"}:
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(True)


def _is_empty(out: Path) -> bool:
    """Whether nothing of worth is there: what a run leaves that failed before it saved anything."""
    if not out.is_dir():
        return False
    names = {p.name for p in out.iterdir() if not p.name.startswith(".part-")}
    if "config.json" not in names:
        return names <= FALSE_START
    if not names <= STOPPED:
        return False
    try:
        with reading(out / "config.json", "a run's settings"):
            return "stopped" in json.loads((out / "config.json").read_text(encoding="utf-8"))
    except UserError:
        return False


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_atomically(path, json.dumps(value, indent=2) + "\n")


def describe_machine(device: torch.device) -> str:
    """The hardware, in words, for the record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = "Apple GPU" if device.type == "mps" else "CPU"
    return f"{name}, {torch.get_num_threads()} threads, {platform.machine()} {platform.system()}"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a result came about: what `provenance` records, as far as an older version did."""

    command: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    hardware: str | None = None
    started: str | None = None


def provenance(device: torch.device) -> dict[str, Any]:
    """The command, versions, hardware and time that a run records."""
    program = Path(sys.argv[0]).name
    return {
        "command": shlex.join([program, *sys.argv[1:]]),
        "versions": {
            "isojepa": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "hardware": describe_machine(device),
        "started": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
