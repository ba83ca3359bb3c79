"""A run folder -> one self-contained HTML page that can be read offline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from bokeh.plotting import figure

from isojepa.boundaries import writing
from isojepa.embeddings.samples import draw_rows
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.pages.encoder import map, plots, tables
from isojepa.pages.encoder.evidence import Evidence, gather
from isojepa.pages.encoder.pictures import (
    Sprites,
    data_uri,
    sprite_sheet,
)
from isojepa.pages.encoder.verdict import compare as compare_runs
from isojepa.pages.encoder.verdict import judge_training
from isojepa.pages.run import Run, load_run, picture_width
from isojepa.theme import style, wording
from isojepa.theme.render import render

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


def run(config: ReportConfig) -> Path:
    """Write the page and return its path."""
    return build(config.run, config.compare, config.out)


def build(run: Path, compare: Sequence[Path] = (), out: Path | None = None) -> Path:
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
    pictures = _pictures(case.run)
    return render(
        Path(__file__).with_name("page.html"),
        _figures(case, others) | pictures.pop("figures", {}),
        case=case,
        run=case.run,
        verdict=judge_training(case),
        scores=tables.score_table(case.run),
        **pictures,
        **_details(case.run),
        comparison=_comparison(case, others) if others else None,
        missing=_missing(case.run),
    )


def _figures(case: Evidence, others: list[Evidence]) -> dict[str, figure]:
    figures = {f"curve_{key}": plot for key, plot in plots.curves(case).items()}
    if case.projections is not None:
        figures["spectrum"] = plots.projection_spectra(
            [(case.run.name, style.BLUE, case.projections)], 460
        )
    if case.slices is not None:
        test = case.slices
        median = f"Along the median of {test.slices} directions: {wording.number(test.median)}"
        worst = f"Along the worst: {wording.number(test.worst)}"
        figures["slice_median"] = plots.slice_histogram(test.median_values, median, style.BLUE)
        figures["slice_worst"] = plots.slice_histogram(test.worst_values, worst, style.ORANGE)
    if others:
        cases = [case, *others]
        curves = plots.comparison_curves(cases)
        figures |= {f"comparison_{key}": plot for key, plot in curves.items()}
        shapes = [
            (c.run.name, style.run_colour(i), c.projections)
            for i, c in enumerate(cases)
            if c.projections is not None
        ]
        if shapes:
            figures["comparison_spectrum"] = plots.projection_spectra(shapes, 340)
    return figures


def _pictures(run: Run) -> dict[str, Any]:
    """What needs the thumbnails: map, neighbours and the sprite sheet both are cut from."""
    sample = run.sample
    usable = sample is not None and len(sample.paths) > 1 and np.isfinite(sample.embeddings).all()
    if sample is None or not usable:
        return {"sprites": None, "neighbours": None}
    shown = draw_rows(len(sample.paths), MOST_ON_MAP, seed=0).tolist()
    neighbours = tables.neighbourhoods(sample)
    on_page = {row.place for row in neighbours.rows}
    on_page |= {n.place for row in neighbours.rows for n in row.neighbours}
    sprites: Sprites = sprite_sheet(sample.thumbnails, sorted(on_page | set(shown)))
    plane = map.layout(sample.embeddings[shown])
    return {
        "sprites": sprites,
        "neighbours": neighbours,
        "figures": {"map": map.embedding_map(plane, sample, shown, sprites)},
    }


def _comparison(case: Evidence, others: list[Evidence]) -> dict[str, Any]:
    cases = [case, *others]
    return {
        "runs": [
            {"name": c.run.name, "verdict": judge_training(c), "colour": style.run_colour(i)}
            for i, c in enumerate(cases)
        ],
        "rows": tables.run_rows(cases),
        "words": [compare_runs(case, other) for other in others],
    }


def _details(run: Run) -> dict[str, Any]:
    started = run.record.made.started
    try:
        started = datetime.fromisoformat(str(started)).strftime("%d %B %Y, %H:%M")
    except ValueError:
        started = None
    return {
        "started": started,
        "views": data_uri(run.views, "png") if run.views else None,
        "views_small": run.views is not None and picture_width(run.views) < 560,
        "skipped": run.skipped[:MOST_SKIPPED],
    }


def _missing(run: Run) -> str:
    parts = {
        "metrics.jsonl (training curves)": run.metrics,
        "scores.json (scores)": run.scores,
        "sample.npz (shape, map and neighbours)": run.sample,
        "views.png (views)": run.views,
    }
    names = [name for name, content in parts.items() if not content]
    return wording.listed(names) if names else ""
