"""Bokeh figures of a diagnosis: spectrum, distances, and samples along single directions."""

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, Range1d
from bokeh.plotting import figure
from jaxtyping import Float
from scipy import stats

from isojepa.embeddings.directions import Direction
from isojepa.embeddings.distances import Distances
from isojepa.embeddings.measurement import Measurement
from isojepa.embeddings.samples import draw_rows
from isojepa.embeddings.spectrum import Spectrum
from isojepa.theme.curves import draw_density, hover
from isojepa.theme.style import BLUE, GREY, ORANGE, log_ticks, new_figure, place_line

MOST_POINTS = 1500
"""In a scatter plot."""
MOST_QUANTILES = 160
"""In a Q-Q plot; the extremes on both sides are always among them."""


def spectrum_plot(
    spectra: Sequence[tuple[str, str, Spectrum]], perfect: Float[np.ndarray, " d"], height: int
) -> figure:
    """Eigenvalues of covariances beside those of an isotropic Gaussian.

    Args:
        spectra: name, colour and spectrum of each.
        perfect: eigenvalues of as many isotropic Gaussian samples, largest first.
        height: in pixels.
    """
    plot = new_figure(
        "Variance along the principal axes",
        height=height,
        legend=True,
        y_axis_type="log",
        x_axis_label="principal axis, by variance",
        y_axis_label="variance",
    )
    lowest, highest = float("inf"), float(perfect.max())
    for name, colour, shape in spectra:
        # Rounding decides what lies further below the largest than this.
        values = shape.eigenvalues.clip(min=max(1e-12 * shape.eigenvalues[0], 1e-30))
        lowest, highest = min(lowest, values[-1]), max(highest, values[0])
        source = ColumnDataSource({"axis": np.arange(1.0, shape.d + 1), "variance": values})
        line = plot.line(
            "axis", "variance", source=source, color=colour, line_width=2, legend_label=name
        )
        size = 5 if shape.d <= 64 else 3
        plot.scatter("axis", "variance", source=source, color=colour, size=size)
        text = "axis @axis{0}<br>variance @variance{%.3g}"
        hover(plot, line, text, "@variance", nearest_x=True)
    perfect = perfect.clip(min=lowest)
    plot.line(
        np.arange(1.0, len(perfect) + 1),
        perfect,
        color=GREY,
        line_dash="dashed",
        line_width=2,
        legend_label="isotropic Gaussian",
    )
    # At least two decades, so that what is nearly even looks even.
    middle = float(np.sqrt(perfect[0] * perfect[-1]))
    low, high = min(0.07 * middle, lowest), max(7 * middle, highest)
    plot.y_range = Range1d(start=low / 1.5, end=high * 1.5)
    log_ticks(plot, low, high)
    return plot


def mark_rank(plot: figure, rank: float, d: int) -> None:
    """A line at the effective rank of a spectrum's plot."""
    if d > 1:
        place_line(plot, rank, f"effective rank {rank:.1f}", BLUE, before=rank > d / 2)


def sample_spectrum(spectrum: Spectrum, height: int = 400) -> figure:
    """A spectrum beside that of as many isotropic Gaussian samples of the same total variance."""
    plot = spectrum_plot([("these samples", BLUE, spectrum)], spectrum.isotropic, height)
    mark_rank(plot, spectrum.effective_rank, spectrum.d)
    return plot


def distance_histogram(far: Distances, outliers: int, height: int = 400) -> figure:
    """Distances of the rows from the centre against the law of as many Gaussian rows."""
    lengths, k = np.sqrt(far.squared.astype(np.float64)), far.axes
    law = stats.chi(k)
    low = min(float(lengths.min()), float(law.ppf(1e-4)))
    high = max(float(np.quantile(lengths, 0.9995)), float(law.isf(1e-4)))
    plot = new_figure(
        f"Distance over {k} scaled ax{'es' if k > 1 else 'is'}",
        height=height,
        legend=True,
        x_axis_label="distance from the centre",
        y_axis_label="density",
    )
    rows = f"{len(lengths):,} rows" + (", without the outliers" if outliers else "")
    draw_density(plot, lengths, 70, (low, high), BLUE, legend_label=rows)
    x = np.linspace(low, high, 300)
    plot.line(x, law.pdf(x), color=GREY, line_width=2, line_dash="dashed", legend_label="Gaussian")
    plot.y_range = DataRange1d(start=0)
    return plot


def direction_histogram(direction: Direction, height: int = 210) -> figure:
    """The held-out samples along a direction, the target's density and the best normal one."""
    x = direction.values
    low, high = np.quantile(x, [0.001, 0.999])
    low, high = min(float(low), -3.5), max(float(high), 3.5)
    plot = new_figure("", height=height, x_axis_label="projection", y_axis_label="density")
    density = draw_density(plot, x, 61, (low, high), BLUE)
    grid = np.linspace(low, high, 300)
    plot.line(grid, stats.norm.pdf(grid), color=GREY, line_width=2, line_dash="dashed")
    if direction.deviation > 0:
        fitted = stats.norm.pdf(grid, direction.mean, direction.deviation)
        top = max(float(density.max()), 0.4)
        plot.line(grid, np.minimum(fitted, 1.3 * top), color=ORANGE, line_width=1.5)
        plot.y_range = Range1d(start=0, end=1.1 * top)
    rug = np.array([value for _, value in direction.drivers])
    inside = rug[(rug >= low) & (rug <= high)]
    plot.scatter(inside, 0, marker="inverted_triangle", size=8, color=ORANGE)
    return plot


def quantile_plot(direction: Direction, height: int = 210) -> figure:
    """Quantiles of the held-out samples against those of N(0, 1); on the dashed line if equal."""
    order = np.argsort(direction.values)
    n = len(order)
    ends = min(12, n // 4)
    inner = np.linspace(ends, n - 1 - ends, max(0, min(MOST_QUANTILES, n - 2 * ends)))
    at = np.unique(np.r_[np.arange(ends), inner.round().astype(int), np.arange(n - ends, n)])
    expected = stats.norm.ppf((at + 0.5) / n)
    values, rows = direction.values[order[at]], direction.rows[order[at]]
    plot = new_figure("", height=height, x_axis_label="N(0, 1)", y_axis_label="projection")
    reach = float(max(np.abs(expected).max(), 3.0))
    plot.line([-reach, reach], [-reach, reach], color=GREY, line_dash="dashed", line_width=2)
    source = ColumnDataSource({"x": expected, "y": values, "row": rows})
    points = plot.scatter("x", "y", source=source, color=BLUE, size=4, alpha=0.8)
    driving = {row for row, _ in direction.drivers}
    marked = np.flatnonzero(np.isin(direction.rows[order], list(driving)))
    marks = ColumnDataSource(
        {
            "x": stats.norm.ppf((marked + 0.5) / n),
            "y": direction.values[order[marked]],
            "row": direction.rows[order[marked]],
        }
    )
    drawn = plot.scatter("x", "y", source=marks, color=ORANGE, size=7)
    for glyphs in (points, drawn):
        hover(plot, glyphs, "row @row{0,0}: @y{0.00}")
    return plot


def plane(
    measurement: Measurement,
    first: Float[np.ndarray, " d"],
    second: Float[np.ndarray, " d"],
    titles: tuple[str, str],
    height: int = 400,
) -> figure:
    """The samples looked at in the plane of two directions, with the circle of 99 % of N(0, I)."""
    first = first / np.linalg.norm(first)
    second = second - (second @ first) * first
    second = second / max(float(np.linalg.norm(second)), 1e-30)
    inside = ~np.isin(measurement.rows.sample_rows, list(measurement.outliers))
    x, rows = (
        measurement.rows.sample[inside] / measurement.unit,
        measurement.rows.sample_rows[inside],
    )
    centre = x.mean(0) if measurement.any_scale else np.zeros(x.shape[1])
    shown = draw_rows(len(x), MOST_POINTS, seed=0)
    groups = [(x[shown], rows[shown], BLUE, 4)]
    if measurement.outlier_samples is not None:
        far = measurement.outlier_samples[:MOST_POINTS] / measurement.unit
        groups.append((far, np.array(list(measurement.outliers)[:MOST_POINTS]), ORANGE, 8))
    basis = np.stack([first, second], axis=1)
    plot = new_figure(
        "", height=height, x_axis_label=titles[0], y_axis_label=titles[1], match_aspect=True
    )
    angle = np.linspace(0, 2 * np.pi, 181)
    radius = float(stats.chi(2).isf(0.01))
    plot.line(
        radius * np.cos(angle), radius * np.sin(angle), color=GREY, line_dash="dashed", line_width=2
    )
    for samples, numbers, colour, size in groups:
        flat = (samples - centre) @ basis
        source = ColumnDataSource({"x": flat[:, 0], "y": flat[:, 1], "row": numbers})
        points = plot.scatter("x", "y", source=source, color=colour, size=size, alpha=0.6)
        hover(plot, points, "row @row{0,0}")
    return plot
