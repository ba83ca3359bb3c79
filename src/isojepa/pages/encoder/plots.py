"""Bokeh figures of the curves and of the projections' shape."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from bokeh.models import (
    CrosshairTool,
    DataRange1d,
    NumeralTickFormatter,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure
from jaxtyping import Float
from scipy import stats

from isojepa.embeddings.spectrum import Spectrum, isotropic_eigenvalues
from isojepa.pages.embeddings.plots import mark_rank, spectrum_plot
from isojepa.pages.encoder.evidence import Evidence
from isojepa.theme.curves import Curve, draw_curve, draw_density
from isojepa.theme.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    level_line,
    log_ticks,
    new_figure,
    run_colour,
)
from isojepa.theme.wording import number

# Curves over training

PANELS = {
    "loss": "Loss",
    "invariance": "Invariance: how far views disagree",
    "sigreg": "Regulariser",
    "effective_rank": "Effective rank of a batch of projections",
    "accuracy": "Accuracy while training, %",
    "lr": "Learning rate",
    "lambd": "λ, found while training",
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
        elif len(run.curve(key)[0]) and (key != "lambd" or evidence.settings.lambd == "auto"):
            curve = run.curve(key)
            figures[key] = panel = _panel(key, [curve], evidence)
            draw_curve(panel, curve, key.replace("_", " "), BLUE, smooth=key not in ("lr", "lambd"))
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
                draw_curve(panel, curve, cases[i].run.name, run_colour(i))
    _link(list(figures.values()))
    return figures


def _panel(key: str, curves: Sequence[Curve], evidence: Evidence) -> figure:
    if key == "sigreg" and evidence.floor > 0:  # not NaN
        return _sigreg_panel(curves, evidence)
    span = None if key == "lr" else _log_span(curves)
    title = f"{evidence.regulariser}: how far from Gaussian" if key == "sigreg" else None
    panel = _steps_panel(key, log=span is not None, title=title)
    if span is not None:
        log_ticks(panel, *span)
    elif key == "lr":
        panel.yaxis.formatter = PrintfTickFormatter(format="%.1e")
    return panel


def _steps_panel(
    key: str, *, log: bool = False, legend: bool = False, title: str | None = None
) -> figure:
    scale = "log" if log else "linear"
    panel = new_figure(title or PANELS[key], x_axis_label="step", y_axis_type=scale, legend=legend)
    panel.xaxis.formatter = NumeralTickFormatter(format="0,0")
    return panel


def _accuracy_panel(logged: Mapping[str, Curve]) -> figure:
    panel = _steps_panel("accuracy", legend=True)
    for key, (steps, values) in logged.items():
        name, colour = ACCURACIES[key]
        draw_curve(panel, (steps, 100 * values), name, colour, legend=True)
    return panel


def _sigreg_panel(curves: Sequence[Curve], evidence: Evidence) -> figure:
    """With lines at a perfect Gaussian and, if training came near it, at collapse to a point."""
    values = np.concatenate([values for _, values in curves])
    top = float(values[np.isfinite(values)].max(initial=2 * evidence.floor))
    point = evidence.point if evidence.point is not None and top > 0.3 * evidence.point else None
    low, high = 0.5 * evidence.floor, 1.8 * max(top, point or 0.0)
    title = f"{evidence.regulariser}: how far from Gaussian"
    panel = _steps_panel("sigreg", log=True, title=title)
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


def _link(figures: Sequence[figure]) -> None:
    """Pan, zoom and point at one step in all figures at once."""
    cursor = Span(dimension="height", line_color=GREY, line_width=1, line_alpha=0.6)
    for plot in figures:
        plot.x_range = figures[0].x_range
        plot.add_tools(CrosshairTool(overlay=cursor))


# The shape of the projections


def projection_spectra(shapes: Sequence[tuple[str, str, Spectrum]], height: int) -> figure:
    """Eigenvalues of the projections' covariance beside those of N(0, I).

    Args:
        shapes: name, colour and spectrum of each run; the first gives the reference its n and d.
        height: in pixels.
    """
    first = shapes[0][-1]
    perfect = isotropic_eigenvalues(first.n - 1, first.d)
    plot = spectrum_plot(shapes, perfect, height)
    if len(shapes) == 1:
        mark_rank(plot, first.uncentred_rank, first.d)
    return plot


def slice_histogram(values: Float[np.ndarray, " n"], title: str, colour: str) -> figure:
    """The sample along one direction against the density of N(0, 1)."""
    reach = float(np.clip(np.abs(values).max(), 4.0, 10.0))
    bins = 2 * round(reach / 0.25) + 1  # odd, so that one is centred on 0
    x = np.linspace(-reach, reach, 241)
    plot = new_figure(title, height=230, x_axis_label="projection", y_axis_label="density")
    plot.y_range = DataRange1d(start=0)
    draw_density(plot, values, bins, (-reach, reach), colour)
    plot.line(x, stats.norm.pdf(x), color=GREY, line_width=2, line_dash="dashed")
    return plot
