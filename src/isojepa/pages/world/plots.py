"""Bokeh figures of a world model's page: training, probes, distances, surprise."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    PrintfTickFormatter,
    Range1d,
)
from bokeh.models.annotations import Span
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure
from scipy.ndimage import gaussian_filter1d

from isojepa.pages.world.evidence import Arrays, WorldRun
from isojepa.theme.style import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    level_line,
    log_ticks,
    new_figure,
)
from isojepa.world.analysis.latent_distances import running_median

SIGREG_FLOOR = 1.06  # expected of perfectly Gaussian embeddings
BLOCK_COLOURS = (GREEN, BLUE, PURPLE, ORANGE, "#c2483b")
"""Rollout errors 1, 2, ... blocks ahead."""
CONDITIONS = {
    "unchanged": ("nothing", GREY),
    "teleport": ("teleport", ORANGE),
    "colour": ("colour", PURPLE),
}
MOST_POINTS = 1200  # in a scatter plot
MOST_SCATTERS = 6
ANGLE_TICKS: dict[float | str, Any] = {-np.pi: "-π", 0.0: "0", np.pi: "π"}


def training(world: WorldRun) -> dict[str, figure]:
    """What was logged and measured during training, one figure each, their steps linked."""
    figures: dict[str, figure] = {}
    run = world.run
    curves = [
        (run.curve("prediction"), "training", BLUE, True),
        (run.curve("held_out_prediction"), "held out", ORANGE, False),
    ]
    if any(len(steps) for (steps, _), *_ in curves):
        plot = _steps("Prediction error, one block ahead", curves)
        for curve, name, colour, dense in curves:
            _draw(plot, curve, name, colour, dense=dense)
        figures["prediction"] = plot
    if len((curve := run.curve("sigreg"))[0]) and run.settings.get("regulariser") != "none":
        joint = run.settings.get("scale", "joint") == "joint"
        sigreg = run.settings.get("regulariser", "sigreg") == "sigreg"
        plot = _steps(
            "SIGReg: how far from Gaussian" if sigreg else "Regulariser",
            [(curve,)],
            legend=False,
            least=0.5 * SIGREG_FLOOR if sigreg and joint else None,
        )
        _draw(plot, curve, "", BLUE)
        if sigreg and joint:
            level_line(plot, SIGREG_FLOOR, "1.06: a perfect Gaussian", GREEN, below=True)
        figures["sigreg"] = plot
    if len((curve := run.curve("effective_rank"))[0]):
        plot = _steps("Effective rank of held-out embeddings", [(curve,)], legend=False, log=False)
        _draw(plot, curve, "", BLUE, dense=False)
        top = float(curve[1].max())
        plot.y_range = Range1d(start=0, end=1.15 * max(top, 2.0))
        level_line(plot, 1.0, "1: collapsed", ORANGE)
        figures["rank"] = plot
    figures |= _rollouts(world)
    if len((curve := run.curve("straightness"))[0]):
        plot = _steps("Straightness of latent paths", [(curve,)], legend=False, log=False)
        _draw(plot, curve, "", BLUE, dense=False)
        low, high = float(curve[1].min()), float(curve[1].max())
        plot.y_range = Range1d(start=min(-0.2, low - 0.1), end=max(0.4, high + 0.1))
        plot.yaxis.axis_label = "cosine of velocities"
        level_line(plot, 0.0, "0: no common direction", GREY, below=bool(curve[1][0] >= 0))
        figures["straightness"] = plot
    over_steps = [plot for name, plot in figures.items() if name != "horizon"]
    for plot in over_steps:
        plot.x_range = over_steps[0].x_range
    return figures


def _rollouts(world: WorldRun) -> dict[str, figure]:
    errors, still = world.ahead("rollout"), world.ahead("persistence")
    if not errors:
        return {}
    curves = [(world.run.curve(f"held_out_rollout_{k}"),) for k in range(1, len(errors) + 1)]
    over_time = _steps("Held-out rollout error, blocks ahead", curves)
    for k, (curve,) in enumerate(curves):
        colour = BLOCK_COLOURS[min(k, len(BLOCK_COLOURS) - 1)]
        _draw(over_time, curve, f"{k + 1}", colour, dense=False)
    ahead = np.arange(1, len(errors) + 1)
    plot = new_figure(
        "After training: error by horizon",
        height=250,
        legend=True,
        x_axis_label="blocks ahead",
        y_axis_label="share of the variance missed",
    )
    for values, name, colour, dash in (
        (errors, "model", BLUE, "solid"),
        (still, "no change", GREY, "dashed"),
    ):
        at = ahead[: len(values)]
        source = ColumnDataSource({"step": at, "value": values, "name": [name] * len(at)})
        line = plot.line(
            "step", "value", source=source, color=colour, line_width=2, line_dash=dash,
            legend_label=name,
        )  # fmt: skip
        plot.scatter("step", "value", source=source, color=colour, size=6)
        _hover(plot, line, "<b>@name</b> @value{%.3g}<br>@step ahead", "@value", vline=True)
    plot.xaxis.ticker = FixedTicker(ticks=ahead.tolist())
    plot.y_range = Range1d(start=0, end=1.1 * max(*errors, *still, 1.0))
    plot.line(
        [1.0, float(len(ahead))], [1.0, 1.0], color=GREEN, line_dash="dotted", line_width=2,
        legend_label="the mean",
    )  # fmt: skip
    return {"rollouts": over_time, "horizon": plot}


def probe_scatters(
    quantities: Sequence[dict[str, Any]], arrays: Arrays, *, flip: bool
) -> list[figure]:
    """Predictions of the linear probe against the truth, and where in the plane they err.

    Args:
        flip: y grows downwards, as in images.
    """
    truth, guess = arrays["truth"], arrays["linear"]
    shown = _some(len(truth))
    figures = []
    for i, quantity in enumerate(quantities[:MOST_SCATTERS]):
        x, y = truth[shown, i], guess[shown, i]
        if quantity["angle"]:
            x = (x + np.pi) % (2 * np.pi) - np.pi
        r = quantity["scores"]["model"]["linear"]["r"]
        plot = new_figure(
            f"{quantity['name']}: r = {r:.3f}",
            height=270,
            x_axis_label="true",
            y_axis_label="read from the embedding",
        )
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        plot.line([low, high], [low, high], color=GREY, line_dash="dashed", line_width=2)
        columns = {"x": x, "y": y}
        columns |= {k: arrays[k][shown] for k in ("episode", "step")}
        points = plot.scatter(
            "x", "y", source=ColumnDataSource(columns), color=BLUE, size=4, alpha=0.45
        )
        text = "true @x{%.3g}, read @y{%.3g}<br>episode @episode, step @step"
        _hover(plot, points, text, "@x", "@y")
        if quantity["angle"]:
            for axis in (plot.xaxis, plot.yaxis):
                axis.ticker = FixedTicker(ticks=[-np.pi, 0.0, np.pi])
                axis.major_label_overrides = ANGLE_TICKS
        figures.append(plot)
    place = _plane(quantities)
    if place is not None:
        figures.append(_errors_in_plane(quantities, place, truth[shown], guess[shown], flip))
    return figures


def _plane(quantities: Sequence[dict[str, Any]]) -> int | None:
    """The first of two neighbouring quantities that are x and y of the same thing."""
    for i, (a, b) in enumerate(pairwise(quantities)):
        if (a["name"][-1], b["name"][-1]) == ("x", "y") and a["name"][:-1] == b["name"][:-1]:
            return i
    return None


def _errors_in_plane(
    quantities: Sequence[dict[str, Any]], i: int, truth: np.ndarray, guess: np.ndarray, flip: bool
) -> figure:
    """Lines from the true places to those read."""
    thing = quantities[i]["name"][:-1].strip()
    plot = new_figure(
        f"{thing}: from true to read" if thing else "From the true place to that read",
        height=270,
        x_axis_label=quantities[i]["name"],
        y_axis_label=quantities[i + 1]["name"],
        match_aspect=True,
    )
    x, y = truth[:, i : i + 2].T
    to_x, to_y = guess[:, i : i + 2].T
    plot.segment(x, y, to_x, to_y, color=ORANGE, line_width=1.2, alpha=0.7)
    plot.scatter(x, y, color=BLUE, size=3, alpha=0.6)
    plot.y_range = DataRange1d(flipped=flip)
    return plot


def distances(arrays: Arrays, found: dict[str, Any], unit: str) -> dict[str, figure]:
    """Latent distance of pairs of frames against their distance in state, path and time."""
    labels = {
        "state": ("Distance of states", unit or "distance"),
        "path": ("Shortest path", unit or "distance"),
        "steps": ("Time", "environment steps"),
    }
    figures = {}
    for name, (title, label) in labels.items():
        if name not in found or f"pair_{name}" not in arrays:
            continue
        x, y = arrays[f"pair_{name}"], arrays["pair_latent"]
        known = np.flatnonzero(np.isfinite(x))
        x, y = x[known], y[known]
        plot = new_figure(
            f"{title}: ρ = {found[name]['spearman']:.2f}",
            height=270,
            x_axis_label=label,
            y_axis_label="distance of embeddings",
        )
        kept = _some(len(x))
        plot.scatter(x[kept], y[kept], color=BLUE, size=4, alpha=0.3)
        middle = running_median(x, y)
        plot.line(middle[0], middle[1], color=ORANGE, line_width=2.5)
        plot.x_range, plot.y_range = DataRange1d(start=0), DataRange1d(start=0)
        figures[name] = plot
    return figures


def surprise_traces(result: dict[str, Any]) -> figure:
    """Median surprise around the event and its middle half, for each kind of event."""
    event, first = result["event"], result["first"]
    plot = new_figure(
        "Error around the event",
        height=320,
        legend=True,
        y_axis_type="log",
        x_axis_label="blocks from the event",
        y_axis_label="times the usual",
    )
    extremes = [1.0, result["usual"]["quantile_99"]]
    for name, one in result["conditions"].items():
        label, colour = CONDITIONS.get(name, (name, BLUE))
        low, middle, high = (
            np.array([np.nan if v is None else v for v in one["trace"][q]], float)[first:]
            for q in ("low", "median", "high")
        )
        at = np.arange(len(middle)) + first - event
        low, middle, high = (np.maximum(v, 1e-6) for v in (low, middle, high))
        plot.varea(at, low, high, color=colour, alpha=0.16)
        source = ColumnDataSource({"step": at, "value": middle, "name": [label] * len(at)})
        line = plot.line(
            "step", "value", source=source, color=colour, line_width=2.5, legend_label=label
        )
        plot.scatter("step", "value", source=source, color=colour, size=6)
        _hover(plot, line, "<b>@name</b> × @value{%.3g}<br>block @step", "@value", vline=True)
        extremes += [float(np.nanmin(low)), float(np.nanmax(high))]
    low_end, high_end = 0.7 * max(min(extremes), 1e-3), 1.5 * max(extremes)
    plot.y_range = Range1d(start=low_end, end=high_end)
    log_ticks(plot, low_end, high_end)
    level_line(plot, result["usual"]["quantile_99"], "1 % of usual errors lie above", GREEN)
    plot.add_layout(Span(location=0, dimension="height", line_color=GREY, line_dash="dotted"))
    plot.xaxis.ticker = FixedTicker(ticks=list(range(first - event, result["frames"] - event)))
    return plot


def surprise_roc(result: dict[str, Any]) -> figure:
    """ROC curves: events told from usual frames by their error alone."""
    plot = new_figure(
        "Telling events from usual frames",
        height=320,
        legend=True,
        x_axis_label="share of usual frames taken for events",
        y_axis_label="share of events found",
    )
    plot.line([0, 1], [0, 1], color=GREY, line_dash="dotted")
    for name, one in result["conditions"].items():
        label, colour = CONDITIONS.get(name, (name, BLUE))
        false, true = np.array(one["roc"], float)
        plot.line(false, true, color=colour, line_width=2.5, legend_label=label)
    plot.x_range = Range1d(start=-0.02, end=1.02)
    plot.y_range = Range1d(start=-0.02, end=1.04)
    for axis in (plot.xaxis, plot.yaxis):
        axis.formatter = NumeralTickFormatter(format="0 %")
    return plot


def surprise_histogram(arrays: Arrays) -> figure:
    """Errors at the events beside the usual ones, on a logarithmic axis."""
    names = [name for name in ("teleport", "colour") if f"event_{name}" in arrays]
    samples = {"usual": (arrays["null"], GREY)}
    samples |= {CONDITIONS[n][0]: (arrays[f"event_{n}"], CONDITIONS[n][1]) for n in names}
    logs = {k: (np.log10(np.maximum(v, 1e-4)), c) for k, (v, c) in samples.items()}
    everything = np.concatenate([v for v, _ in logs.values()])
    edges = np.linspace(float(everything.min()), float(everything.max()) + 1e-6, 61)
    plot = new_figure(
        "How large the errors are",
        height=320,
        legend=True,
        x_axis_type="log",
        x_axis_label="error, times the usual",
        y_axis_label="share",
    )
    for name, (values, colour) in logs.items():
        counts = np.histogram(values, edges)[0] / len(values)
        plot.quad(
            left=10 ** edges[:-1], right=10 ** edges[1:], top=counts, bottom=0, color=colour,
            alpha=0.5, line_color=None, legend_label=name,
        )  # fmt: skip
    plot.xaxis.formatter = PrintfTickFormatter(format="%g")
    plot.y_range = DataRange1d(start=0)
    return plot


def _steps(
    title: str,
    curves: Sequence[tuple[Any, ...]],
    *,
    legend: bool = True,
    log: bool = True,
    least: float | None = None,
) -> figure:
    values = np.concatenate([curve[0][1] for curve in curves])
    values = values[np.isfinite(values)]
    log = log and len(values) > 0 and values.min() > 0
    plot = new_figure(
        title, height=250, legend=legend, x_axis_label="update",
        y_axis_type="log" if log else "linear",
    )  # fmt: skip
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    if log:
        low = 0.8 * float(values.min()) if least is None else min(least, float(values.min()))
        high = 1.25 * float(values.max())
        plot.y_range = Range1d(start=low, end=high)
        log_ticks(plot, low, high)
    return plot


def _draw(
    plot: figure,
    curve: tuple[np.ndarray, np.ndarray],
    name: str,
    colour: str,
    *,
    dense: bool = True,
) -> None:
    """The values as a line; dense ones thinly, under their running mean."""
    steps, values = curve
    if not len(steps):
        return
    smooth = dense and len(values) > 60 and bool(np.isfinite(values).all())
    line = gaussian_filter1d(values, len(values) / 100, mode="nearest") if smooth else values
    columns = {"step": steps, "value": values, "line": line, "name": [name] * len(steps)}
    source = ColumnDataSource(columns)
    legend: dict[str, Any] = {"legend_label": name} if name else {}
    if smooth:
        plot.line("step", "value", source=source, color=colour, alpha=0.3)
    drawn = plot.line("step", "line", source=source, color=colour, line_width=2, **legend)
    if len(values) <= 30:
        plot.scatter("step", "value", source=source, color=colour, size=5)
    text = ("<b>@name</b> " if name else "") + "@value{%.4g}<br>update @step{%d}"
    _hover(plot, drawn, text, "@value", "@step", vline=True)


def _hover(
    plot: figure, glyphs: GlyphRenderer, text: str, *printf: str, vline: bool = False
) -> None:
    options: dict[str, Any] = {"mode": "vline", "line_policy": "nearest"} if vline else {}
    plot.add_tools(
        HoverTool(
            renderers=[glyphs],
            tooltips=f'<div style="margin:4px;font:12px {FONT};color:{INK}">{text}</div>',
            formatters=dict.fromkeys(printf, "printf"),
            **options,
        )
    )


def _some(n: int) -> np.ndarray:
    if n <= MOST_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).permutation(n)[:MOST_POINTS])
