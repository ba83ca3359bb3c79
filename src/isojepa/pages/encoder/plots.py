"""Bokeh figures of the curves and of the projections' shape."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    DataRange1d,
    HoverTool,
    NumeralTickFormatter,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from isojepa.pages.encoder.evidence import Evidence
from isojepa.pages.encoder.statistics import Geometry
from isojepa.pages.run import Curve
from isojepa.theme.style import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    level_line,
    log_ticks,
    new_figure,
    place_line,
    run_colour,
)
from isojepa.theme.wording import number

MOST_POINTS = 1000
"""A longer curve is averaged in blocks: the page stays small and the eye sees no difference."""

# Curves over training

PANELS = {
    "loss": "Loss",
    "invariance": "Invariance: how far views disagree",
    "sigreg": "SIGReg: how far from Gaussian",
    "effective_rank": "Effective rank of a batch of projections",
    "accuracy": "Accuracy while training, %",
    "lr": "Learning rate",
}
ACCURACIES = {"probe_accuracy": ("linear probe", BLUE), "knn_accuracy": ("k-NN", ORANGE)}


def curves(evidence: Evidence) -> dict[str, figure]:
    """A figure for each thing logged during training, their steps and crosshairs linked."""
    run, figures = evidence.run, {}
    for key in PANELS:
        if key == "accuracy":
            logged = {name: run.curve(name) for name in ACCURACIES if len(run.curve(name)[0])}
            if logged:
                figures[key] = _accuracy_panel(logged)
        elif len(run.curve(key)[0]):
            curve = run.curve(key)
            figures[key] = panel = _panel(key, [curve], evidence)
            _draw(panel, curve, key.replace("_", " "), BLUE, smooth=key != "lr")
    _link(list(figures.values()))
    return figures


def comparison_curves(cases: Sequence[Evidence]) -> dict[str, figure]:
    """Loss, invariance, SIGReg and effective rank of several runs, one figure each."""
    figures = {}
    for key in ("loss", "invariance", "sigreg", "effective_rank"):
        logged = {i: case.run.curve(key) for i, case in enumerate(cases)}
        logged = {i: curve for i, curve in logged.items() if len(curve[0])}
        if logged:
            figures[key] = panel = _panel(key, list(logged.values()), cases[0])
            for i, curve in logged.items():
                _draw(panel, curve, cases[i].run.name, run_colour(i))
    _link(list(figures.values()))
    return figures


def _panel(key: str, curves: Sequence[Curve], evidence: Evidence) -> figure:
    if key == "sigreg":
        return _sigreg_panel(curves, evidence)
    span = None if key == "lr" else _log_span(curves)
    panel = _steps_panel(key, log=span is not None)
    if span is not None:
        log_ticks(panel, *span)
    elif key == "lr":
        panel.yaxis.formatter = PrintfTickFormatter(format="%.1e")
    return panel


def _steps_panel(key: str, *, log: bool = False, legend: bool = False) -> figure:
    scale = "log" if log else "linear"
    panel = new_figure(PANELS[key], x_axis_label="step", y_axis_type=scale, legend=legend)
    panel.xaxis.formatter = NumeralTickFormatter(format="0,0")
    return panel


def _accuracy_panel(logged: Mapping[str, Curve]) -> figure:
    panel = _steps_panel("accuracy", legend=True)
    for key, (steps, values) in logged.items():
        name, colour = ACCURACIES[key]
        _draw(panel, (steps, 100 * values), name, colour, legend_label=name)
    return panel


def _sigreg_panel(curves: Sequence[Curve], evidence: Evidence) -> figure:
    """With lines at a perfect Gaussian and, if training came near it, at collapse to a point."""
    values = np.concatenate([values for _, values in curves])
    top = float(values[np.isfinite(values)].max(initial=2 * evidence.floor))
    point = evidence.point if evidence.point is not None and top > 0.3 * evidence.point else None
    low, high = 0.5 * evidence.floor, 1.8 * max(top, point or 0.0)
    panel = _steps_panel("sigreg", log=True)
    panel.y_range = Range1d(start=low, end=high)
    log_ticks(panel, low, high)
    level_line(
        panel, evidence.floor, f"{evidence.floor:.2f}: a perfect Gaussian", GREEN, below=True
    )
    if point is not None:
        level_line(panel, point, f"{number(point)}: a single point", ORANGE)
    return panel


def _log_span(curves: Iterable[Curve]) -> tuple[float, float] | None:
    """Least and largest value if they call for a logarithmic axis, else None."""
    values = np.concatenate([values for _, values in curves])
    values = values[np.isfinite(values)]
    if len(values) == 0 or values.min() <= 0 or values.max() <= 10 * values.min():
        return None
    return float(values.min()), float(values.max())


def _draw(
    plot: figure, curve: Curve, name: str, colour: str, *, smooth: bool = True, **legend: Any
) -> None:
    """The logged values, and with `smooth` a running mean over dense ones."""
    steps, values = _shorten(curve)
    dense = smooth and len(values) > 60 and bool(np.isfinite(values).all())
    line = gaussian_filter1d(values, len(values) / 100, mode="nearest") if dense else values
    columns = {"step": steps, "value": values, "line": line, "name": [name] * len(steps)}
    source = ColumnDataSource(columns)
    if dense:
        plot.line("step", "value", source=source, color=colour, alpha=0.3)
    drawn = plot.line("step", "line", source=source, color=colour, line_width=2, **legend)
    if len(values) <= 30:
        plot.scatter("step", "value", source=source, color=colour, size=5)
    _hover(plot, drawn, "<b>@name</b> @value{%.4g}<br>step @step{%d}")


def _shorten(curve: Curve) -> Curve:
    steps, values = curve
    if len(steps) <= MOST_POINTS:
        return curve
    blocks = zip(np.array_split(steps, MOST_POINTS), np.array_split(values, MOST_POINTS))
    means = np.array([(s.mean(), v.mean()) for s, v in blocks])
    return means[:, 0], means[:, 1]


def _hover(plot: figure, line: Any, text: str) -> None:
    """`text` is HTML; Bokeh fills in the @fields, and escapes them."""
    fields = ("@value", "@step", "@variance")
    plot.add_tools(
        HoverTool(
            renderers=[line],
            mode="vline",
            line_policy="nearest",
            point_policy="snap_to_data",
            tooltips=f'<div style="margin:4px;font:12px {FONT};color:{INK}">{text}</div>',
            formatters=dict.fromkeys(fields, "printf"),
        )
    )


def _link(figures: Sequence[figure]) -> None:
    """Pan, zoom and point at one step in all figures at once."""
    cursor = Span(dimension="height", line_color=GREY, line_width=1, line_alpha=0.6)
    for plot in figures:
        plot.x_range = figures[0].x_range
        plot.add_tools(CrosshairTool(overlay=cursor))


# The shape of the projections


def spectrum(shapes: Sequence[tuple[str, str, Geometry]], height: int) -> figure:
    """Eigenvalues of the projections' covariance beside those of N(0, I).

    Args:
        shapes: name, colour and geometry of each run; the first gives the reference its n and d.
        height: in pixels.
    """
    plot = new_figure(
        "Eigenvalues of the projections' covariance",
        height=height,
        legend=True,
        y_axis_type="log",
        x_axis_label="direction, by variance",
        y_axis_label="variance",
    )
    _, _, first = shapes[0]
    extremes = []
    for name, colour, shape in shapes:
        # Rounding decides what lies further below the largest than this.
        values = shape.eigenvalues.clip(min=max(1e-12 * shape.eigenvalues[0], 1e-30))
        extremes += [values.min(), values.max()]
        source = ColumnDataSource({"direction": np.arange(1, shape.d + 1), "variance": values})
        line = plot.line(
            "direction", "variance", source=source, color=colour, line_width=2, legend_label=name
        )
        size = 5 if shape.d <= 64 else 3
        plot.scatter("direction", "variance", source=source, color=colour, size=size)
        _hover(plot, line, "direction @direction<br>variance @variance{%.3g}")
        if len(shapes) == 1:
            text = f"effective rank {shape.effective_rank:.1f}"
            late = shape.effective_rank > 0.7 * shape.d
            place_line(plot, shape.effective_rank, text, colour, before=late)
    perfect = first.isotropic.clip(min=min(extremes))
    plot.line(
        np.arange(1.0, first.d + 1),
        perfect,
        color=GREY,
        line_dash="dashed",
        line_width=2,
        legend_label="isotropic Gaussian",
    )
    # At least two decades, so that what is nearly flat looks flat.
    low, high = min(0.07, *extremes, perfect.min()), max(7.0, *extremes, perfect.max())
    plot.y_range = Range1d(start=low / 1.5, end=high * 1.5)
    log_ticks(plot, low, high)
    return plot


def slice_histogram(values: Float[np.ndarray, " n"], title: str, colour: str) -> figure:
    """The sample along one direction against the density of N(0, 1)."""
    reach = float(np.clip(np.abs(values).max(), 4.0, 10.0))
    bins = 2 * round(reach / 0.25) + 1  # odd, so that one is centred on 0
    density, edges = np.histogram(values, bins=bins, range=(-reach, reach), density=True)
    x = np.linspace(-reach, reach, 241)
    plot = new_figure(title, height=230, x_axis_label="projection", y_axis_label="density")
    plot.y_range = DataRange1d(start=0)
    plot.quad(
        top=density, bottom=0, left=edges[:-1], right=edges[1:], color=colour, alpha=0.45,
        line_color=None,
    )  # fmt: skip
    normal = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    plot.line(x, normal, color=GREY, line_width=2, line_dash="dashed")
    return plot
