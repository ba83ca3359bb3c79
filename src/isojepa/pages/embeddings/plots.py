"""Bokeh figures of a diagnosis: spectrum, distances, and samples along single directions."""

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, Range1d
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure
from jaxtyping import Float
from scipy import stats

from isojepa.embeddings.directions import Direction
from isojepa.embeddings.distances import Distances
from isojepa.embeddings.measurement import Measurement
from isojepa.embeddings.spectrum import Spectrum
from isojepa.theme.style import (
    BLUE,
    FONT,
    GREY,
    INK,
    ORANGE,
    log_ticks,
    new_figure,
    place_line,
)

MOST_POINTS = 1500
"""In a scatter plot."""
MOST_QUANTILES = 160
"""In a Q-Q plot; the extremes on both sides are always among them."""


def spectrum(shape: Spectrum, height: int = 400) -> figure:
    """Eigenvalues of the covariance beside those of an isotropic Gaussian of the same n."""
    plot = new_figure(
        "Variance along the principal axes",
        height=height,
        legend=True,
        y_axis_type="log",
        x_axis_label="principal axis, by variance",
        y_axis_label="variance",
    )
    floor = max(1e-12 * shape.eigenvalues[0], 1e-30)  # rounding decides what lies below
    values, perfect = shape.eigenvalues.clip(min=floor), shape.isotropic.clip(min=floor)
    at = np.arange(1.0, shape.d + 1)
    source = ColumnDataSource({"axis": at, "variance": values})
    line = plot.line(
        "axis", "variance", source=source, color=BLUE, line_width=2, legend_label="these samples"
    )
    plot.scatter("axis", "variance", source=source, color=BLUE, size=5 if shape.d <= 64 else 3)
    plot.line(
        at,
        perfect,
        color=GREY,
        line_dash="dashed",
        line_width=2,
        legend_label="isotropic Gaussian, same n and total",
    )
    if shape.d > 1:
        late = shape.effective_rank > 0.7 * shape.d
        text = f"effective rank {shape.effective_rank:.1f}"
        place_line(plot, shape.effective_rank, text, BLUE, before=late)
    _hover(plot, line, "axis @axis{0}<br>variance @variance{%.3g}", "@variance")
    # At least two decades, so that what is nearly even looks even.
    middle = float(np.sqrt(values[0] * max(perfect[-1], values[-1])))
    low, high = min(0.07 * middle, values[-1]), max(7 * middle, values[0])
    plot.y_range = Range1d(start=low / 1.5, end=high * 1.5)
    log_ticks(plot, low, high)
    return plot


def distance_histogram(far: Distances, outliers: int, height: int = 400) -> figure:
    """Distances of the rows from the centre against the law of as many Gaussian rows."""
    lengths, k = np.sqrt(far.squared.astype(np.float64)), far.axes
    law = stats.chi(k)
    low = min(float(lengths.min()), float(law.ppf(1e-4)))
    high = max(float(np.quantile(lengths, 0.9995)), float(law.isf(1e-4)))
    density, edges = np.histogram(lengths, 70, (low, high))
    width = edges[1] - edges[0]
    plot = new_figure(
        f"Distance from the centre, over {k} scaled ax{'es' if k > 1 else 'is'}",
        height=height,
        legend=True,
        x_axis_label="distance",
        y_axis_label="density",
    )
    plot.quad(
        top=density / (len(lengths) * width),
        bottom=0,
        left=edges[:-1],
        right=edges[1:],
        color=BLUE,
        alpha=0.45,
        line_color=None,
        legend_label=f"{len(lengths):,} rows" + (", without the outliers" if outliers else ""),
    )
    x = np.linspace(low, high, 300)
    plot.line(x, law.pdf(x), color=GREY, line_width=2, line_dash="dashed", legend_label="Gaussian")
    plot.y_range = DataRange1d(start=0)
    return plot


def direction_histogram(direction: Direction, height: int = 210) -> figure:
    """The held-out samples along a direction, the target's density and the best normal one."""
    x = direction.values
    low, high = np.quantile(x, [0.001, 0.999])
    low, high = min(float(low), -3.5), max(float(high), 3.5)
    density, edges = np.histogram(x, 61, (low, high))
    density = density / (len(x) * (edges[1] - edges[0]))
    plot = new_figure("", height=height, x_axis_label="projection", y_axis_label="density")
    plot.quad(
        top=density, bottom=0, left=edges[:-1], right=edges[1:], color=BLUE, alpha=0.45,
        line_color=None,
    )  # fmt: skip
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
        _hover(plot, glyphs, "row @row{0,0}: @y{0.00}")
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
    inside = ~np.isin(measurement.scan.rows, list(measurement.outliers))
    x, rows = measurement.scan.sample[inside] / measurement.unit, measurement.scan.rows[inside]
    centre = x.mean(0) if measurement.any_scale else np.zeros(x.shape[1])
    shown = np.sort(np.random.default_rng(0).permutation(len(x))[:MOST_POINTS])
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
        _hover(plot, points, "row @row{0,0}")
    return plot


def _hover(plot: figure, glyphs: GlyphRenderer, text: str, *printf: str) -> None:
    plot.add_tools(
        HoverTool(
            renderers=[glyphs],
            tooltips=f'<div style="margin:4px;font:12px {FONT};color:{INK}">{text}</div>',
            formatters=dict.fromkeys(printf, "printf"),
        )
    )
