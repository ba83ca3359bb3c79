"""`isojepa select`: which of several runs to take, without labels."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from isojepa.boundaries import shown
from isojepa.encoders.selection.agreement import Selection, better, select
from isojepa.encoders.selection.criteria import CRITERIA, Candidate, candidate
from isojepa.errors import UserError
from isojepa.progress import track
from isojepa.runs.overview import find_runs
from isojepa.runs.typed import to_json
from isojepa.theme.wording import number


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """Rank encoders by what they say of themselves, without labels."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs of `isojepa pretrain`, or folders that hold them."""
    seed: int = 0
    """Of the simulated null distribution."""
    json: bool = False
    """Print JSON instead of a table."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError("give at least two runs, or a folder that holds them")
        if self.seed < 0:
            raise UserError("--seed must not be negative")


def select_runs(config: SelectConfig) -> Selection:
    """Measure the runs, print them in order, and say what was gone by.

    Raises:
        UserError: if there are fewer than two runs, or one cannot be read.
    """
    paths = _runs(config.runs)
    if len(paths) < 2:
        where = ", ".join(shown(path) for path in config.runs)
        raise UserError(f"{where}: {len(paths)} run of an encoder; give at least two")
    common = Path(os.path.commonpath([path.resolve() for path in paths]))
    names = [os.path.relpath(path.resolve(), common) for path in paths]
    measured = track(iter(zip(paths, names)), len(paths), "runs")
    found = select([candidate(path, name, seed=config.seed) for path, name in measured])
    if config.json:
        print(json.dumps(to_json(found), indent=2))
    else:
        show(found)
    return found


def _runs(folders: tuple[Path, ...]) -> list[Path]:
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{shown(folder)}: no such folder")
    return list(dict.fromkeys(path for folder in folders for path in find_runs(folder)))


def show(found: Selection) -> None:
    """The table, and what it was ranked by."""
    screen = Console(markup=False, highlight=False)
    if not screen.is_terminal:
        screen = Console(markup=False, highlight=False, width=160)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("", justify="right")
    table.add_column("run", overflow="fold")
    table.add_column("λ", justify="right")
    for name, criterion in CRITERIA.items():
        table.add_column(f"{criterion.title}{' *' * (name == found.trusted)}", justify="right")
    labelled = any(one.accuracy is not None for one in found.ranked)
    for head in ("accuracy",) * labelled + ("",):
        table.add_column(head, justify="right")
    for place, one in enumerate(found.ranked, 1):
        table.add_row(*_cells(found, place, one, labelled))
    screen.print(table)
    screen.print(f"* trusted: {found.why}.", soft_wrap=True)
    for line in _words(found, labelled):
        screen.print(line, soft_wrap=True)


def _cells(found: Selection, place: int, one: Candidate, labelled: bool) -> list[str]:
    cells = [str(place), shown(one.run), "" if one.lambd is None else f"{one.lambd:.3g}"]
    for name in CRITERIA:
        value = one.p_value if name == "gaussianity" else getattr(one, name)
        rank = 1 + sum(better(other, name) > better(one, name) for other in found.ranked)
        cells.append("–" if value is None else f"{number(value)} ({rank})")
    if labelled:
        cells.append("" if one.accuracy is None else f"{100 * one.accuracy:.1f} %")
    return [*cells, "" if one.collapsed is None else f"collapsed {one.collapsed}"]


def _words(found: Selection, labelled: bool) -> list[str]:
    lines = ["In brackets the rank by each."]
    if found.concordance is None:
        lines.append("Too few runs to say how far the criteria agree: at least three are needed.")
    else:
        pairs = "; ".join(
            f"{' and '.join(CRITERIA[n].title for n in pair.split(', '))} {tau:.2f}"
            for pair, tau in found.agreement.items()
            if tau is not None and found.trusted in pair.split(", ")
        )
        lines.append(f"Agreement (Kendall's tau): {found.concordance:.2f} on average; {pairs}.")
    known = {name: rho for name, rho in found.with_labels.items() if rho is not None}
    if labelled and known:
        each = "; ".join(f"{CRITERIA[name].title} {rho:.2f}" for name, rho in known.items())
        lines.append(f"With labels (Spearman with accuracy): {each}.")
    return lines
