"""One look for every Bokeh figure; page.js changes the colours for dark pages."""

import math
from typing import Any

from bokeh.models import FixedTicker, PrintfTickFormatter
from bokeh.models.annotations import Label, Legend, Span, Title
from bokeh.plotting import figure

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif"
INK, SOFT, LINE, GRID = "#1d2530", "#5d6675", "#c9ced6", "#eceef1"
BLUE, ORANGE, GREEN, PURPLE, GREY = "#3d74b8", "#d0743c", "#4a9a76", "#8a6bb1", "#8b93a1"
RUN_COLOURS = (BLUE, ORANGE, GREEN, PURPLE)


def run_colour(i: int) -> str:
    """Colour of the i-th of several runs; 0 is the report's own."""
    return RUN_COLOURS[i % len(RUN_COLOURS)]


def new_figure(title: str, *, height: int = 250, legend: bool = False, **options: Any) -> figure:
    """An empty figure as wide as its place on the page.

    Args:
        legend: whether a legend stands between title and plot, where no line runs through it.
        options: passed to Bokeh.
    """
    plot = figure(
        title=Title(
            text=title,
            text_font=FONT,
            text_font_size="13px",
            text_font_style="bold",
            text_color=INK,
            visible=bool(title),
        ),
        height=height,
        sizing_mode="stretch_width",
        min_width=200,
        tools="pan,box_zoom,wheel_zoom,reset,save",
        active_scroll=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        min_border_right=12,
        **options,
    )
    plot.toolbar.autohide = True
    plot.toolbar.logo = None
    plot.axis.axis_label_text_font_style = "normal"
    for part in ("axis_label", "major_label"):
        setattr(plot.axis, f"{part}_text_font", FONT)
        setattr(plot.axis, f"{part}_text_font_size", "11px")
        setattr(plot.axis, f"{part}_text_color", SOFT)
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = LINE
    plot.axis.minor_tick_line_color = None
    plot.axis.major_tick_in = 0
    plot.axis.major_tick_out = 4
    plot.grid.grid_line_color = GRID
    plot.xgrid.grid_line_color = None
    if legend:
        above = new_legend(orientation="horizontal", location="top_left", spacing=14)
        plot.add_layout(above, "above")
    return plot


def new_legend(**options: Any) -> Legend:
    """A legend without a box."""
    plain: dict[str, Any] = {
        "label_text_font": FONT,
        "label_text_font_size": "11px",
        "label_text_color": SOFT,
        "background_fill_color": None,
        "border_line_color": None,
        "glyph_width": 16,
        "margin": 0,
        "padding": 0,
    }
    return Legend(**(plain | options))


def level_line(plot: figure, at: float, text: str, colour: str, *, below: bool = False) -> None:
    """A dashed horizontal line with its meaning written on it, or below it."""
    plot.add_layout(Span(location=at, dimension="width", line_color=colour, line_dash="dashed"))
    side: dict[str, Any] = {"y_offset": -3, "text_baseline": "top"} if below else {"y_offset": 2}
    plot.add_layout(_label(text, x=8, x_units="screen", y=at, **side))


def place_line(plot: figure, at: float, text: str, colour: str, *, before: bool = False) -> None:
    """A dashed vertical line with its meaning written after it, or before it."""
    plot.add_layout(Span(location=at, dimension="height", line_color=colour, line_dash="dashed"))
    side: dict[str, Any] = {"x_offset": -5, "text_align": "right"} if before else {"x_offset": 5}
    plot.add_layout(_label(text, x=at, y=8, y_units="screen", **side))


def _label(text: str, **place: Any) -> Label:
    return Label(text=text, text_font=FONT, text_font_size="11px", text_color=SOFT, **place)


MOST_TICKS = 12


def log_ticks(plot: figure, low: float, high: float) -> None:
    """Powers of ten between two values, or 1, 2 and 5 times them where those are few.

    At most a dozen. Values that a logarithmic axis cannot show (0, less, infinite, NaN) leave
    Bokeh's own ticks.
    """
    plot.yaxis.formatter = PrintfTickFormatter(format="%g")
    if not 0 < low <= high < math.inf:
        return
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, math.ceil((last - first) / MOST_TICKS))
    mantissas = (1, 2, 5) if high < 200 * low else (1,)
    ticks = [float(f"{m}e{d}") for d in range(first, last + 1, every) for m in mantissas]
    plot.yaxis.ticker = FixedTicker(ticks=[x for x in ticks if 0 < x < math.inf])
