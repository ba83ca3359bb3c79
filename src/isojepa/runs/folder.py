"""A run is a folder: made once, never overwritten by accident, every file whole or absent."""

import datetime
import io
import json
import logging
import platform
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.version import __version__

log = logging.getLogger(__name__)
FALSE_START = {  # what a run that never began leaves behind
    "log.txt", "skipped.tsv", "views.png", "held_out.tsv", "wandb", "tensorboard",
}  # fmt: skip
STOPPED = {*FALSE_START, "config.json", "metrics.jsonl"}  # and one that diverged with nothing saved


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
        return "stopped" in read_run(out)
    except UserError:
        return False


def read_run(run: Path) -> dict[str, Any]:
    """The contents of RUN/config.json.

    Raises:
        UserError: if there is none or it is damaged.
    """
    path = run / "config.json"
    if not path.is_file():
        raise UserError(f"{run}: not a run folder (config.json is missing)")
    with reading(path, "a run's settings"):
        made = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(made, dict):
        raise UserError(f"{shown(path)}: damaged (a {type(made).__name__} instead of an object)")
    return made


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


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table of tab-separated text, whole or not at all; any name of a file may be a cell.

    Tabs, line breaks and backslashes are written \\t, \\n, \\r and \\\\, bytes that are not UTF-8
    as \\xNN; `read_rows` turns them back.
    """
    lines = ("\t".join(map(_escaped, row)) for row in (columns, *rows))
    write_atomically(path, "\n".join(lines) + "\n")


def read_rows(path: Path) -> list[list[str]]:
    """The rows that `write_rows` wrote, without the line of column names; [] without a file.

    Raises:
        UserError: if the file cannot be read.
    """
    if not path.is_file():
        return []
    with reading(path, "a table of this program"), path.open(encoding="utf-8", newline="") as file:
        lines = file.read().split("\n")[1:]
    return [[_unescaped(cell) for cell in line.split("\t")] for line in lines if line]


ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
ESCAPES |= {chr(0xDC00 + byte): f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
ESCAPED = re.compile(r"\\(?:[\\tnr]|x[89a-f][0-9a-f])")
UNESCAPES = {escaped: character for character, escaped in ESCAPES.items()}
TABLE = str.maketrans(ESCAPES)


def _escaped(cell: str) -> str:
    return cell.translate(TABLE)


def _unescaped(cell: str) -> str:
    return ESCAPED.sub(lambda found: UNESCAPES[found[0]], cell) if "\\" in cell else cell


def write_skipped(place: Path, skipped: Iterable[tuple[str, str]]) -> Path:
    """Write the files left out, and why; returns the table's path.

    Args:
        place: a run's folder, for its skipped.tsv; or a file, for one beside it that has the
            file's name with .skipped.tsv for its ending.
    """
    path = place / "skipped.tsv" if place.is_dir() else place.with_suffix(".skipped.tsv")
    rows = [(name, " ".join(reason.split())) for name, reason in skipped]
    write_rows(path, ("path", "reason"), rows)
    return path


def read_skipped(run: Path) -> list[tuple[str, str]]:
    """The files that skipped.tsv of a run names, and why they were left out."""
    return [(row[0], " ".join(row[1:])) for row in read_rows(run / "skipped.tsv")]


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
    """The lines of RUN/metrics.jsonl: objects with a whole, positive `step`.

    Every other line is left out, with a warning; a last one that a crash cut short without.
    """
    path = run / "metrics.jsonl"
    if not path.is_file():
        return []
    with reading(path, "a run's metrics"):
        texts = path.read_text(encoding="utf-8", errors="replace").split("\n")
    lines, damaged = [], []
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text) if text.strip() else None
        except (ValueError, RecursionError):
            line = ()
        if isinstance(line, dict) and type(line.get("step")) is int and 0 < line["step"] < 2**53:
            lines.append(line)
        elif line is not None and number < len(texts):
            damaged.append(number)
    if damaged:
        log.warning(
            "%s: line %s damaged and left out",
            shown(path),
            f"{damaged[0]} is"
            if len(damaged) == 1
            else f"{damaged[0]} and {len(damaged) - 1} more are",
        )
    return lines


def save_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
