"""What figures have in common: values under the pointer, curves over training, histograms."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from isojepa.theme.style import FONT, INK

Curve = tuple[np.ndarray, np.ndarray]
"""Steps and values, each (t,)."""
MOST_POINTS = 1000
"""A longer curve is averaged in blocks: the page stays small and the eye sees no difference."""
FEW, DENSE = 30, 60
"""Points up to which each is marked, and beyond which a running mean is drawn."""


def hover(
    plot: figure, glyphs: GlyphRenderer, text: str, *printf: str, nearest_x: bool = False
) -> None:
    """Show `text` under the pointer.

    Args:
        text: HTML; Bokeh fills in the @fields, and escapes them.
        printf: fields with a format of printf, such as @value{%.3g}.
        nearest_x: show the point above or below the pointer, however far.
    """
    options: dict[str, Any] = {}
    if nearest_x:
        options = {"mode": "vline", "line_policy": "nearest", "point_policy": "snap_to_data"}
    plot.add_tools(
        HoverTool(
            renderers=[glyphs],
            tooltips=f'<div style="margin:4px;font:12px {FONT};color:{INK}">{text}</div>',
            formatters=dict.fromkeys(printf, "printf"),
            **options,
        )
    )


def draw_curve(
    plot: figure,
    curve: Curve,
    name: str,
    colour: str,
    *,
    smooth: bool = True,
    legend: bool = False,
    unit: str = "step",
) -> None:
    """Values logged during training; dense ones thinly, under their running mean if `smooth`.

    Args:
        name: shown under the pointer, and in the legend if there is one.
        unit: what the steps count.
    """
    steps, values = _shorten(curve)
    if not len(steps):
        return
    dense = smooth and len(values) > DENSE and bool(np.isfinite(values).all())
    line = gaussian_filter1d(values, len(values) / 100, mode="nearest") if dense else values
    columns = {"step": steps, "value": values, "line": line, "name": [name] * len(steps)}
    source = ColumnDataSource(columns)
    if dense:
        plot.line("step", "value", source=source, color=colour, alpha=0.3)
    labelled: dict[str, Any] = {"legend_label": name} if legend else {}
    drawn = plot.line("step", "line", source=source, color=colour, line_width=2, **labelled)
    if len(values) <= FEW:
        plot.scatter("step", "value", source=source, color=colour, size=5)
    text = ("<b>@name</b> " if name else "") + f"@value{{%.4g}}<br>{unit} @step{{%d}}"
    hover(plot, drawn, text, "@value", "@step", nearest_x=True)


def _shorten(curve: Curve) -> Curve:
    steps, values = curve
    if len(steps) <= MOST_POINTS:
        return curve
    blocks = zip(np.array_split(steps, MOST_POINTS), np.array_split(values, MOST_POINTS))
    means = np.array([(s.mean(), v.mean()) for s, v in blocks])
    return means[:, 0], means[:, 1]


def draw_density(
    plot: figure,
    values: Float[np.ndarray, " n"],
    bins: int,
    between: tuple[float, float],
    colour: str,
    **options: Any,
) -> Float[np.ndarray, " b"]:
    """A histogram of area 1, but for values outside; returns the heights of its bars."""
    counts, edges = np.histogram(values, bins, between)
    density = counts / (len(values) * (edges[1] - edges[0]))
    plot.quad(
        top=density, bottom=0, left=edges[:-1], right=edges[1:], color=colour, alpha=0.45,
        line_color=None, **options,
    )  # fmt: skip
    return density
