"""`isojepa runs`: the runs below a folder, what state each is in and how good it is."""

import json
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import CONFIG, RunRecord, read_divergence, read_run
from isojepa.runs.typed import read_json, to_json
from isojepa.theme.wording import duration, number

State = Literal["running", "finished", "stopped", "interrupted", "diverged", "damaged"]
Key = Literal[
    "run", "kind", "state", "updates", "score", "effective_rank", "verdict", "seconds", "size",
    "started",
]  # fmt: skip
DESCENDING = {"updates", "score", "effective_rank", "seconds", "size", "started"}
TRACES = ("metrics.jsonl", "checkpoints", "log.txt")
"""One of them beside a config.json that cannot be read tells that it was a run's."""
VERDICT = re.compile(r'<div class="state">([^<]*)</div>')
QUIET = 60.0
"""Seconds, and `LINES` times those between two lines of metrics, after which a run that has not
ended is no longer taken to be running."""
LINES = 10


@dataclass(frozen=True, kw_only=True)
class RunsConfig:
    """List the runs below a folder, whatever state they are in."""

    folder: tyro.conf.Positional[Path] = Path()
    """Where to look."""
    sort: Key = "run"
    """Column to sort by; numbers and dates with the greatest first."""
    json: bool = False
    """Print JSON, an object a run."""


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """What the list says of one run; None where a file does not tell."""

    run: str
    """Path below the folder."""
    kind: str | None = None
    """encoder, world model or policy."""
    state: State
    why: str | None = None
    """What is damaged, or why it stopped."""
    updates: int | None = None
    """At the last line of metrics."""
    steps: int | None = None
    """Updates asked for."""
    score: float | None = None
    """A share in [0, 1]; `measure` says of what."""
    measure: str | None = None
    effective_rank: float | None = None
    verdict: str | None = None
    """Of report.html."""
    seconds: float | None = None
    """Of training, where it has ended."""
    size: int = 0
    """Bytes on disk."""
    started: str | None = None


def list_runs(config: RunsConfig) -> list[RunRow]:
    """Print the list, and return its rows.

    Raises:
        UserError: if there is no such folder.
    """
    if not config.folder.is_dir():
        raise UserError(f"{shown(config.folder)}: no such folder")
    rows = sort_rows(
        [row_of(path, config.folder) for path in find_runs(config.folder)], config.sort
    )
    if config.json:
        print(json.dumps(to_json(rows), indent=2))
    elif rows:
        _print(rows)
    else:
        print(f"no runs below {shown(config.folder)}")
    return rows


def find_runs(folder: Path) -> Iterator[Path]:
    """The run folders at or below a folder, in the order of their names."""
    for place, below, names in os.walk(folder):
        below.sort()
        if CONFIG in names and _is_run(Path(place)):
            below.clear()  # what lies in a run is no run
            yield Path(place)


def _is_run(folder: Path) -> bool:
    try:
        content = read_json(folder / CONFIG)
    except UserError:
        return any((folder / name).exists() for name in TRACES)
    return isinstance(content, dict) and isinstance(content.get("config"), dict)


def row_of(path: Path, folder: Path, now: float | None = None) -> RunRow:
    """The row of one run; whatever cannot be read of it makes it `damaged`, with the reason.

    Args:
        now: seconds since the epoch, by default those of the clock.
    """
    name, size = shown(os.path.relpath(path, folder)), _size(path)
    try:
        record = read_run(path)
        lines = read_metrics(path)
        state, why = _state(path, record, lines, time.time() if now is None else now)
        score, measure = _score(path, lines)
        return RunRow(
            run=name,
            kind=_kind(record),
            state=state,
            why=why,
            updates=lines[-1]["step"] if lines else None,
            steps=_steps(record),
            score=score,
            measure=measure,
            effective_rank=_last(lines, "effective_rank"),
            verdict=_verdict(path),
            seconds=record.seconds,
            size=size,
            started=record.made.started,
        )
    except UserError as error:
        return RunRow(run=name, state="damaged", why=str(error), size=size)


def _kind(record: RunRecord) -> str:
    if record.policy is not None:
        return "policy"
    return "encoder" if "projection_dim" in record.config else "world model"


def _steps(record: RunRecord) -> int | None:
    steps = record.config.get("steps")
    return steps if type(steps) is int else None


def _state(
    path: Path, record: RunRecord, lines: list[Json], now: float
) -> tuple[State, str | None]:
    loss = lines[-1].get("loss") if lines else None
    if isinstance(loss, float) and not math.isfinite(loss):
        return "diverged", "the loss is not a number"
    if record.stopped is not None:
        return ("diverged" if "NaN" in record.stopped else "stopped"), record.stopped
    made, steps = lines[-1]["step"] if lines else 0, _steps(record)
    divergence = read_divergence(path)
    if divergence is not None and made < divergence.step:
        what = f"{divergence.what} became infinite or NaN at update {divergence.step}"
        return "diverged", what
    if record.seconds is not None:
        return ("stopped" if steps is not None and made < steps else "finished"), None
    return ("running" if now - _last_sign(path) < _patience(record, lines) else "interrupted"), None


def _last_sign(path: Path) -> float:
    """When the run last wrote something, in seconds since the epoch."""
    signs = [path / name for name in (CONFIG, *TRACES)]
    return max((sign.stat().st_mtime for sign in signs if sign.exists()), default=0.0)


def _patience(record: RunRecord, lines: list[Json]) -> float:
    """Seconds of silence that a run at work may keep."""
    speeds = [_last(lines, f"{unit}_per_second") for unit in ("images", "clips")]
    batch, every = record.config.get("batch_size"), record.config.get("log_every")
    speed = next((s for s in speeds if s), None)
    if speed is None or not isinstance(batch, int) or not isinstance(every, int):
        return 10 * QUIET
    return QUIET + LINES * batch * every / speed


def _score(path: Path, lines: list[Json]) -> tuple[float | None, str | None]:
    """The best known score and what it is: of scores.json, of control, or of the online probe."""
    if (path / "scores.json").is_file():
        table = read_json(path / "scores.json")
        row = table.get("encoder") if isinstance(table, dict) else None
        linear = row.get("linear") if isinstance(row, dict) else None
        if isinstance(linear, float):
            return linear, "linear probe"
    for file in (path / "control.json", *sorted(path.glob("control*.json"))):
        content = read_json(file) if file.is_file() else None
        success = content.get("success") if isinstance(content, dict) else None
        if isinstance(success, int | float):
            return float(success), "goals reached"
    probe = _last(lines, "probe_accuracy")
    return probe, None if probe is None else "online probe"


def _last(lines: list[Json], key: str) -> float | None:
    values = (line[key] for line in reversed(lines) if isinstance(line.get(key), int | float))
    return next((float(value) for value in values), None)


def _verdict(path: Path) -> str | None:
    page = path / "report.html"
    if not page.is_file():
        return None
    with reading(page, "a report"):
        found = VERDICT.search(page.read_text(encoding="utf-8", errors="replace"))
    return None if found is None else found[1].strip()


def _size(path: Path) -> int:
    places = (Path(place) / name for place, _, names in os.walk(path) for name in names)
    total = 0
    for file in places:
        try:
            total += file.lstat().st_size
        except OSError:  # a run at work renames and removes
            continue
    return total


def sort_rows(rows: list[RunRow], key: Key) -> list[RunRow]:
    """Rows in the order of a column; those that do not have it come last."""
    known = [row for row in rows if getattr(row, key) is not None]
    known.sort(key=lambda row: getattr(row, key), reverse=key in DESCENDING)
    return known + [row for row in rows if getattr(row, key) is None]


def _print(rows: list[RunRow]) -> None:
    screen = Console(markup=False, highlight=False)
    if not screen.is_terminal:
        screen = Console(markup=False, highlight=False, width=200)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("run", "kind", "state", "verdict", "score", ""):
        table.add_column(head, overflow="fold")
    for head in ("rank", "updates", "time", "MB"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    screen.print(table)
    for row in rows:
        if row.why is not None:
            screen.print(f"{row.run}: {row.why}", soft_wrap=True)


def _cells(row: RunRow) -> tuple[str, ...]:
    made = "" if row.updates is None else f"{row.updates:,}"
    return (
        row.run,
        row.kind or "",
        row.state,
        row.verdict or "",
        "" if row.score is None else f"{100 * row.score:.1f} %",
        row.measure or "",
        "" if row.effective_rank is None else number(row.effective_rank),
        made if row.steps is None else f"{made or 0} of {row.steps:,}",
        "" if row.seconds is None else duration(row.seconds),
        f"{row.size / 1e6:.1f}",
    )
