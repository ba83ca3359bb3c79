"""`isojepa cache`: what is kept for the next run, and clearing it."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from isojepa.boundaries import shown
from isojepa.caches.folder import LIMIT, Entry, cache_folder, delete, entries, limit_bytes
from isojepa.errors import UserError

WHAT = {
    "images": "decoded images",
    "fetched": "files from addresses",
    "files": "fingerprints of files",
    "headers": "sizes of images",
    "frames": "decoded frames of episodes",
}


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """List what was decoded and is kept for the next run; it can be deleted at any time."""

    cache: Path | None = None
    """Folder of caches. Default: ISOJEPA_CACHE, else isojepa/ in the user's cache folder."""
    clear: tyro.conf.FlagCreatePairsOff[bool] = False
    """Delete all of it, but for what is being written at this moment."""
    unused: float | None = None
    """With --clear, delete only what was not used for so many days."""

    def __post_init__(self) -> None:
        if self.unused is not None and not (self.clear and self.unused >= 0):
            raise UserError("--unused goes with --clear, and is a number of days from 0 on")


def manage_cache(config: CacheConfig) -> list[Entry]:
    """Print what is kept, or clear it; returns what is kept afterwards."""
    folder = config.cache or cache_folder()
    if config.cache is not None and not folder.is_dir():
        raise UserError(f"--cache {shown(folder)}: no such folder")
    kept = entries(folder)
    if not config.clear:
        _print(folder, kept)
        return kept
    old = time.time() - 86400 * (config.unused or 0.0)
    gone = [entry for entry in kept if entry.used <= old and delete(entry)]
    left = [entry for entry in kept if entry not in gone]
    print(f"{shown(folder)}: {_amount(gone)} deleted, {_amount(left)} left")
    return left


def _print(folder: Path, kept: list[Entry]) -> None:
    limit = f"each kind at most {limit_bytes() / 1e9:g} GB ({LIMIT})"
    print(f"{shown(folder)}: {_amount(kept)}; {limit}")
    if not kept:
        return
    screen = Console(markup=False, highlight=False)
    if not screen.is_terminal:
        screen = Console(markup=False, highlight=False, width=200)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("what", "of", ""):
        table.add_column(head, overflow="fold")
    for head in ("MB", "days unused"):
        table.add_column(head, justify="right", no_wrap=True)
    for entry in reversed(kept):
        of, size = _about(entry)
        days = f"{max(0.0, time.time() - entry.used) / 86400:.1f}"
        table.add_row(WHAT.get(entry.kind, entry.kind), of, size, f"{entry.size / 1e6:,.1f}", days)
    screen.print(table)


def _about(entry: Entry) -> tuple[str, str]:
    """Whose an entry is and what size its images have, as far as it says so itself."""
    places = [path / "about.json" for path in entry.paths]
    places += [path for path in entry.paths if path.suffix == ".json"]
    for path in places:
        try:
            about = json.loads(path.read_text())
            of = str(about.get("of", about.get("source", "")))
            side = about.get("side")
        except (OSError, ValueError, AttributeError):
            continue
        size = "" if side is None else f"{side} px, {about.get('channels')} channels"
        return of, size.replace("1 channels", "grey").replace("3 channels", "colour")
    return "", ""


def _amount(found: list[Entry]) -> str:
    size = sum(entry.size for entry in found) / 1e9
    return f"{len(found)} {'entry' if len(found) == 1 else 'entries'} of {size:.2f} GB"
