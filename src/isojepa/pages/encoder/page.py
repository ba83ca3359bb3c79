"""A run folder -> one self-contained HTML page that can be read offline."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tyro
from bokeh.plotting import figure

from isojepa.boundaries import writing
from isojepa.embeddings.samples import draw_rows
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.pages.encoder import embedding_map, plots, tables
from isojepa.pages.encoder.compare import compare_runs
from isojepa.pages.encoder.evidence import Evidence, gather
from isojepa.pages.encoder.pictures import Sprites, sprite_sheet
from isojepa.pages.encoder.verdict import judge_training
from isojepa.pages.run import Run, load_run, picture_width
from isojepa.theme import style, wording
from isojepa.theme.findings import Verdict
from isojepa.theme.render import data_uri, render

log = logging.getLogger(__name__)
MOST_ON_MAP = 1000
MOST_SKIPPED = 200
"""Skipped files listed on the page; skipped.tsv has them all."""


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Turn a run folder into one illustrated HTML page."""

    run: tyro.conf.Positional[Path]
    """The folder that `isojepa pretrain` wrote."""
    compare: tuple[Path, ...] = ()
    """Other run folders to show beside it."""
    out: Path | None = None
    """The page to write; report.html in the run folder by default."""


def report(config: ReportConfig) -> Path:
    """Write the page, say where it is, and return its path."""
    path = write_encoder_page(config.run, config.compare, config.out)
    log.info("report: %s", path)
    return path


def write_encoder_page(run: Path, compare: Sequence[Path] = (), out: Path | None = None) -> Path:
    """Write the report on a run folder and return its path.

    About 6 s on two cores for 1,000 samples of 128 dimensions. The page is written under another
    name first, so `out` is never half a page.

    Args:
        run: a run folder; only config.json must exist, what else is missing is left out.
        compare: run folders to show beside it.
        out: file to write, RUN/report.html by default.

    Raises:
        UserError: if a folder is no run, a file in it is malformed, or `out` is a folder.
    """
    out = run / "report.html" if out is None else out
    names = [path.resolve().name for path in (run, *compare)]
    if len(set(names)) < len(names):
        names = [str(path) for path in (run, *compare)]
    case = gather(load_run(run, names[0]))
    others = [gather(load_run(p, name), test=False) for p, name in zip(compare, names[1:])]
    if out.is_dir():
        raise UserError(f"{out} is a folder: give the name of a file to write, {out}/report.html.")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, _render(case, others))
    return out


def _render(case: Evidence, others: list[Evidence]) -> str:
    run, cases = case.run, [case, *others]
    pictures = _pictures(run)
    return render(
        Path(__file__).with_name("page.html"),
        {**_figures(case), **_comparison_figures(cases), **pictures.figures},
        case=case,
        run=run,
        verdict=judge_training(case),
        scores=tables.score_table(run),
        sprites=pictures.sprites,
        neighbours=pictures.neighbours,
        started=_date(run.record.made.started),
        views=data_uri(run.views, "png") if run.views else None,
        views_small=run.views is not None and picture_width(run.views) < 560,
        skipped=run.skipped[:MOST_SKIPPED],
        comparison=_comparison(cases) if others else None,
        missing=_missing(run),
    )


def _figures(case: Evidence) -> dict[str, figure]:
    figures = {f"curve_{key}": plot for key, plot in plots.curves(case).items()}
    if case.projections is not None:
        shown = [(case.run.name, style.BLUE, case.projections)]
        figures |= {"spectrum": plots.projection_spectra(shown, 460)}
    if case.slices is not None:
        test = case.slices
        median = f"Median direction: {wording.number(test.median)}"
        worst = f"Worst direction: {wording.number(test.worst)}"
        figures |= {
            "slice_median": plots.slice_histogram(test.median_values, median, style.BLUE),
            "slice_worst": plots.slice_histogram(test.worst_values, worst, style.ORANGE),
        }
    return figures


def _comparison_figures(cases: list[Evidence]) -> dict[str, figure]:
    if len(cases) == 1:
        return {}
    curves = plots.comparison_curves(cases)
    figures = {f"comparison_{key}": plot for key, plot in curves.items()}
    shapes = [
        (c.run.name, style.run_colour(i), c.projections)
        for i, c in enumerate(cases)
        if c.projections is not None
    ]
    if shapes:
        figures |= {"comparison_spectrum": plots.projection_spectra(shapes, 340)}
    return figures


class ThumbnailFigures(NamedTuple):
    """What needs the thumbnails: map, neighbours and the sheet that both are cut from."""

    sprites: Sprites | None = None
    neighbours: tables.Neighbourhoods | None = None
    figures: Mapping[str, figure] = MappingProxyType({})


def _pictures(run: Run) -> ThumbnailFigures:
    sample = run.sample
    if sample is None or len(sample.paths) < 2 or not np.isfinite(sample.embeddings).all():
        return ThumbnailFigures()
    shown = draw_rows(len(sample.paths), MOST_ON_MAP, seed=0).tolist()
    neighbours = tables.neighbourhoods(sample)
    on_page = {row.place for row in neighbours.rows}
    on_page |= {n.place for row in neighbours.rows for n in row.neighbours}
    sprites = sprite_sheet(sample.thumbnails, sorted(on_page | set(shown)))
    plane = embedding_map.layout(sample.embeddings[shown])
    drawn = embedding_map.draw_map(plane, sample, shown, sprites)
    return ThumbnailFigures(sprites, neighbours, {"map": drawn})


class RunComparison(NamedTuple):
    """Runs side by side."""

    runs: list[tuple[str, Verdict, str]]
    """Name, verdict and colour of each."""
    rows: list[tuple[str, list[str]]]
    words: list[str]
    """What sets each of the others apart."""


def _comparison(cases: list[Evidence]) -> RunComparison:
    runs = [(c.run.name, judge_training(c), style.run_colour(i)) for i, c in enumerate(cases)]
    words = [compare_runs(cases[0], other) for other in cases[1:]]
    return RunComparison(runs, tables.run_rows(cases), words)


def _date(started: str | None) -> str | None:
    try:
        return datetime.fromisoformat(str(started)).strftime("%d %B %Y, %H:%M")
    except ValueError:
        return None


def _missing(run: Run) -> str:
    parts = {
        "metrics.jsonl (training curves)": run.metrics,
        "scores.json (scores)": run.scores,
        "sample.npz (shape, map and neighbours)": run.sample,
        "views.png (views)": run.views,
    }
    names = [name for name, content in parts.items() if not content]
    return wording.listed(names) if names else ""
