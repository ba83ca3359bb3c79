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


def diagnosis_page(m: Measurement, verdict: Verdict, command: str, seed: int) -> str:
    """The page as HTML."""
    directions = shown_directions(m)
    telling = least_normal(directions)
    return render(
        Path(__file__).with_name("page.html"),
        _figures(m, directions, telling),
        m=m,
        verdict=verdict,
        directions=directions,
        target=target(m),
        furthest=furthest(m),
        command=command,
        seed=seed,
        version=__version__,
        inf=float("inf"),
    )


def target(m: Measurement) -> str:
    """What the samples are compared with."""
    if m.spectrum.d == 1:
        return "some normal law" if m.any_scale else "N(0, 1)"
    return "N(m, s² I) for any m and s" if m.any_scale else "N(0, I)"


def shown_directions(m: Measurement) -> list[Direction]:
    """The directions of least normal shape and of largest statistic, no two showing the same."""
    found = [] if m.search is None else list(m.search.directions)
    chosen: list[Direction] = []
    for direction in [*least_normal(found), *found]:
        if len(chosen) < MOST_DIRECTIONS and not any(_alike(direction, c) for c in chosen):
            chosen.append(direction)
    return sorted(chosen, key=lambda direction: -direction.statistic)


def _alike(a: Direction, b: Direction) -> bool:
    if min(a.deviation, b.deviation) == 0:
        return a.title == b.title
    return abs(float(np.corrcoef(a.values, b.values)[0, 1])) > 0.8


def least_normal(directions: list[Direction]) -> list[Direction]:
    """The two directions of least normal shape: by their gap, then by their kurtosis."""

    def score(d: Direction) -> float:
        gap = -np.log(max(d.gap.p_value, 1e-300)) if d.gap and d.gap.density < 0.7 else 0.0
        return max(float(gap), abs(d.kurtosis) / max(d.kurtosis_error, 1e-9) / 3)

    ranked = sorted(directions, key=score, reverse=True)
    others = [d for d in ranked[1:] if not _alike(d, ranked[0])]
    return ranked[:1] + others[:1]


def furthest(m: Measurement) -> list[tuple[int, float, bool]]:
    """Rows furthest out: number, how many times the bound, and whether set aside as an outlier."""
    far = m.distances
    if far is None:
        return []
    rows = [(row, by, True) for row, by in m.outliers.items()]
    rest = np.argsort(-far.by, kind="stable")[:MOST_ROWS]
    rows += [(far.row(int(i)), float(far.by[i]), False) for i in rest]
    return rows[: max(MOST_ROWS, min(len(m.outliers), 2 * MOST_ROWS))]


def _figures(
    m: Measurement, directions: list[Direction], telling: list[Direction]
) -> dict[str, figure]:
    if m.distances is None:
        return {}
    figures = {
        "spectrum": plots.sample_spectrum(m.spectrum),
        "distances": plots.distance_histogram(m.distances, len(m.outliers)),
    }
    for i, direction in enumerate(directions):
        figures[f"histogram_{i}"] = plots.direction_histogram(direction)
        figures[f"quantiles_{i}"] = plots.quantile_plot(direction)
    axes, names = m.spectrum.axes, ("principal axis 1", "principal axis 2")
    if axes.shape[1] > 1:
        figures |= {"plane_wide": plots.plane(m, axes[:, 0], axes[:, 1], names)}
    if axes.shape[1] > 1 and m.outlier_samples is not None:
        towards = m.outlier_samples[0] - m.spectrum.mean
        names = ("towards the furthest outlier", "principal axis 1")
        figures |= {"plane_outlier": plots.plane(m, towards, axes[:, 0], names)}
    elif len(telling) == 2:
        names = (telling[0].title.lower(), telling[1].title.lower())
        figures |= {"plane_shape": plots.plane(m, telling[0].vector, telling[1].vector, names)}
    return figures
