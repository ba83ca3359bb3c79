"""RUN/metrics.jsonl: a line of numbers, at every so many updates."""

import json
import logging
from pathlib import Path

from isojepa.boundaries import reading, shown, writing
from isojepa.files import Json, write_atomically

log = logging.getLogger(__name__)


class Metrics:
    """RUN/metrics.jsonl: one JSON object a line, appended as training goes."""

    def __init__(self, run: Path, *, start: int = 0) -> None:
        """Open the file, dropping lines beyond update `start`, which a resumed run writes anew."""
        self.path = run / "metrics.jsonl"
        kept = [line for line in read_metrics(run) if line["step"] <= start]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def append(self, line: Json) -> None:
        """Add one line and hand it to the operating system."""
        with writing(self.path), self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_metrics(run: Path) -> list[Json]:
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
