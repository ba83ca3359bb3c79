"""Bokeh figures of surprise: around events, and events told from usual frames."""

from typing import NamedTuple

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    FixedTicker,
    NumeralTickFormatter,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.plotting import figure

from isojepa.theme.curves import hover
from isojepa.theme.style import BLUE, GREEN, GREY, ORANGE, PURPLE, level_line, log_ticks, new_figure
from isojepa.world.analysis.surprise_results import SurpriseArrays, SurpriseResult


class EventStyle(NamedTuple):
    """How a kind of event is named and drawn."""

    title: str
    label: str
    colour: str


STYLES = {
    "unchanged": EventStyle("Nothing happens", "nothing", GREY),
    "teleport": EventStyle("Teleport", "teleport", ORANGE),
    "colour": EventStyle("Change of colour", "colour", PURPLE),
}


def event_style(name: str) -> EventStyle:
    """Of a kind of event, see `events.EVENTS`."""
    return STYLES.get(name, EventStyle(name, name, BLUE))


def surprise_traces(result: SurpriseResult) -> figure:
    """Median surprise around the event and its middle half, for each kind of event."""
    event, first, bound = result.event, result.first, result.usual.quantile_99
    plot = new_figure(
        "Error around the event",
        height=320,
        legend=True,
        y_axis_type="log",
        x_axis_label="blocks from the event",
        y_axis_label="times the usual",
    )
    extremes = [1.0, bound]
    for name, one in result.conditions.items():
        _, label, colour = event_style(name)
        low, middle, high = (
            np.maximum(np.array(quartile[first:], float), 1e-6)  # None becomes NaN
            for quartile in (one.trace.low, one.trace.median, one.trace.high)
        )
        at = np.arange(len(middle)) + float(first - event)
        plot.varea(at, low, high, color=colour, alpha=0.16)
        source = ColumnDataSource({"step": at, "value": middle, "name": [label] * len(at)})
        line = plot.line(
            "step", "value", source=source, color=colour, line_width=2.5, legend_label=label
        )
        plot.scatter("step", "value", source=source, color=colour, size=6)
        hover(plot, line, "<b>@name</b> × @value{%.3g}<br>block @step", "@value", nearest_x=True)
        extremes += [float(np.nanmin(low)), float(np.nanmax(high))]
    low_end, high_end = 0.7 * max(min(extremes), 1e-3), 1.5 * max(extremes)
    plot.y_range = Range1d(start=low_end, end=high_end)
    log_ticks(plot, low_end, high_end)
    level_line(plot, bound, "1 % of usual errors lie above", GREEN)
    plot.add_layout(Span(location=0, dimension="height", line_color=GREY, line_dash="dotted"))
    plot.xaxis.ticker = FixedTicker(ticks=list(range(first - event, result.frames - event)))
    return plot


def surprise_roc(result: SurpriseResult) -> figure:
    """ROC curves: events told from usual frames by their error alone."""
    plot = new_figure(
        "Telling events from usual frames",
        height=320,
        legend=True,
        x_axis_label="share of usual frames taken for events",
        y_axis_label="share of events found",
    )
    plot.line([0, 1], [0, 1], color=GREY, line_dash="dotted")
    for name, one in result.conditions.items():
        _, label, colour = event_style(name)
        false, true = one.roc
        plot.line(false, true, color=colour, line_width=2.5, legend_label=label)
    plot.x_range = Range1d(start=-0.02, end=1.02)
    plot.y_range = Range1d(start=-0.02, end=1.04)
    for axis in (plot.xaxis, plot.yaxis):
        axis.formatter = NumeralTickFormatter(format="0 %")
    return plot


def surprise_histogram(arrays: SurpriseArrays) -> figure:
    """Errors at the events beside the usual ones, on a logarithmic axis."""
    samples = [("usual", GREY, arrays.null)]
    for name in ("teleport", "colour"):
        samples.append((*event_style(name)[1:], arrays.events[name].event))
    logs = [np.log10(np.maximum(values, 1e-4)) for *_, values in samples]
    everything = np.concatenate(logs)
    edges = np.linspace(float(everything.min()), float(everything.max()) + 1e-6, 61)
    plot = new_figure(
        "How large the errors are",
        height=320,
        legend=True,
        x_axis_type="log",
        x_axis_label="error, times the usual",
        y_axis_label="share",
    )
    for (name, colour, _), values in zip(samples, logs):
        counts = np.histogram(values, edges)[0] / len(values)
        plot.quad(
            left=10 ** edges[:-1], right=10 ** edges[1:], top=counts, bottom=0, color=colour,
            alpha=0.5, line_color=None, legend_label=name,
        )  # fmt: skip
    plot.xaxis.formatter = PrintfTickFormatter(format="%.3g")
    plot.y_range = DataRange1d(start=0)
    return plot
