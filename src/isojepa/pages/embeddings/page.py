"""One self-contained page from a diagnosis."""

from pathlib import Path

import numpy as np
from bokeh.plotting import figure

from isojepa.embeddings.directions import Direction
from isojepa.embeddings.measurement import Measurement
from isojepa.pages.embeddings import plots
from isojepa.theme.findings import Verdict
from isojepa.theme.render import render
from isojepa.version import __version__

MOST_DIRECTIONS = 6
MOST_ROWS = 10


def page(measurement: Measurement, verdict: Verdict, command: str, seed: int) -> str:
    """The page as HTML."""
    e = measurement
    directions = shown_directions(e)
    telling = most_telling(directions)
    return render(
        Path(__file__).with_name("page.html"),
        _figures(e, directions, telling),
        e=e,
        verdict=verdict,
        directions=directions,
        target=target(e),
        furthest=furthest(e),
        command=command,
        seed=seed,
        version=__version__,
        inf=float("inf"),
    )


def target(e: Measurement) -> str:
    """What the samples are compared with."""
    if e.spectrum.d == 1:
        return "some normal law" if e.any_scale else "N(0, 1)"
    return "N(m, s² I) for any m and s" if e.any_scale else "N(0, I)"


def shown_directions(e: Measurement) -> list[Direction]:
    """The directions of least normal shape and of largest statistic, no two showing the same."""
    found = [] if e.search is None else list(e.search.directions)
    chosen: list[Direction] = []
    for direction in [*most_telling(found), *found]:
        if len(chosen) < MOST_DIRECTIONS and not any(_alike(direction, c) for c in chosen):
            chosen.append(direction)
    return sorted(chosen, key=lambda direction: -direction.statistic)


def _alike(a: Direction, b: Direction) -> bool:
    if min(a.deviation, b.deviation) == 0:
        return a.title == b.title
    return abs(float(np.corrcoef(a.values, b.values)[0, 1])) > 0.8


def most_telling(directions: list[Direction]) -> list[Direction]:
    """The two directions of least normal shape: by their gap, then by their kurtosis."""

    def score(d: Direction) -> float:
        gap = -np.log(max(d.gap.p_value, 1e-300)) if d.gap and d.gap.density < 0.7 else 0.0
        return max(float(gap), abs(d.kurtosis) / max(d.kurtosis_error, 1e-9) / 3)

    ranked = sorted(directions, key=score, reverse=True)
    others = [d for d in ranked[1:] if not _alike(d, ranked[0])]
    return ranked[:1] + others[:1]


def furthest(e: Measurement) -> list[tuple[int, float, bool]]:
    """Rows furthest out: number, how many times the bound, and whether set aside as an outlier."""
    far = e.distances
    if far is None:
        return []
    rows = [(row, by, True) for row, by in e.outliers.items()]
    rest = np.argsort(-far.by, kind="stable")[:MOST_ROWS]
    rows += [(far.row(int(i)), float(far.by[i]), False) for i in rest]
    return rows[: max(MOST_ROWS, min(len(e.outliers), 2 * MOST_ROWS))]


def _figures(
    e: Measurement, directions: list[Direction], telling: list[Direction]
) -> dict[str, figure]:
    if e.distances is None:
        return {}
    figures = {
        "spectrum": plots.sample_spectrum(e.spectrum),
        "distances": plots.distance_histogram(e.distances, len(e.outliers)),
    }
    for i, direction in enumerate(directions):
        figures[f"histogram_{i}"] = plots.direction_histogram(direction)
        figures[f"quantiles_{i}"] = plots.quantile_plot(direction)
    axes, names = e.spectrum.axes, ("principal axis 1", "principal axis 2")
    if axes.shape[1] > 1:
        figures["plane_wide"] = plots.plane(e, axes[:, 0], axes[:, 1], names)
    if axes.shape[1] > 1 and e.outlier_samples is not None:
        towards = e.outlier_samples[0] - e.spectrum.mean
        names = ("towards the furthest outlier", "principal axis 1")
        figures["plane_outlier"] = plots.plane(e, towards, axes[:, 0], names)
    elif len(telling) == 2:
        names = (telling[0].title.lower(), telling[1].title.lower())
        figures["plane_shape"] = plots.plane(e, telling[0].vector, telling[1].vector, names)
    return figures
