"""Bokeh figures of a world model's training: errors, SIGReg, rank, straightness."""

from collections.abc import Iterator, Sequence

import numpy as np
from bokeh.models import (
    AdaptiveTicker,
    ColumnDataSource,
    FixedTicker,
    NumeralTickFormatter,
    Range1d,
)
from bokeh.plotting import figure

from isojepa.objective.regularisers import TESTS, TITLES
from isojepa.pages.world.world_run import WorldRun
from isojepa.theme.curves import Curve, draw_curve, hover
from isojepa.theme.style import BLUE, GREEN, GREY, ORANGE, PURPLE, level_line, log_ticks, new_figure

SIGREG_FLOOR = 1.06  # expected of perfectly Gaussian embeddings
BLOCK_COLOURS = (GREEN, BLUE, PURPLE, ORANGE, "#c2483b")
"""Rollout errors 1, 2, ... blocks ahead."""


def training_plots(world: WorldRun) -> dict[str, figure]:
    """What was logged and measured during training, one figure each, their steps linked."""
    figures = dict(_plots(world))
    over_steps = [plot for name, plot in figures.items() if name != "horizon"]
    for plot in over_steps:
        plot.x_range = over_steps[0].x_range
    return figures


def _plots(world: WorldRun) -> Iterator[tuple[str, figure]]:
    run = world.run
    curves = [
        (run.curve("prediction"), "training", BLUE),
        (run.curve("held_out_prediction"), "held out", ORANGE),
    ]
    if any(len(steps) for (steps, _), *_ in curves):
        plot = _plot_over_updates("Prediction error, one block ahead", [c for c, *_ in curves])
        for curve, name, colour in curves:
            _draw(plot, curve, name, colour, smooth=name == "training")
        yield "prediction", plot
    if len((curve := run.curve("sigreg"))[0]) and run.settings.get("regulariser") != "none":
        name = run.settings.get("regulariser", "sigreg")
        tests = name in TESTS and run.settings.get("scale", "joint") == "joint"
        plot = _plot_over_updates(
            f"{TITLES.get(name, name)}: how far from Gaussian",
            [curve],
            legend=False,
            least=0.5 * SIGREG_FLOOR if tests else None,
        )
        _draw(plot, curve, "", BLUE)
        if tests:
            level_line(plot, SIGREG_FLOOR, "1.06: a perfect Gaussian", GREEN, below=True)
        yield "sigreg", plot
    if len((curve := run.curve("effective_rank"))[0]):
        plot = _plot_over_updates(
            "Effective rank of held-out embeddings", [curve], legend=False, log=False
        )
        _draw(plot, curve, "", BLUE, smooth=False)
        top = float(curve[1].max())
        plot.y_range = Range1d(start=0, end=1.15 * max(top, 2.0))
        level_line(plot, 1.0, "1: collapsed", ORANGE)
        yield "rank", plot
    yield from _rollouts(world).items()
    if len((curve := run.curve("straightness"))[0]):
        plot = _plot_over_updates("Straightness of latent paths", [curve], legend=False, log=False)
        _draw(plot, curve, "", BLUE, smooth=False)
        low, high = float(curve[1].min()), float(curve[1].max())
        plot.y_range = Range1d(start=min(-0.2, low - 0.1), end=max(0.4, high + 0.1))
        plot.yaxis.axis_label = "cosine of velocities"
        level_line(plot, 0.0, "0: no common direction", GREY, below=bool(curve[1][0] >= 0))
        yield "straightness", plot


def _rollouts(world: WorldRun) -> dict[str, figure]:
    errors, still = world.ahead("rollout"), world.ahead("persistence")
    if not errors:
        return {}
    curves = [world.run.curve(f"held_out_rollout_{k}") for k in range(1, len(errors) + 1)]
    over_time = _plot_over_updates("Held-out rollout error, blocks ahead", curves)
    for k, curve in enumerate(curves):
        colour = BLOCK_COLOURS[min(k, len(BLOCK_COLOURS) - 1)]
        _draw(over_time, curve, f"{k + 1}", colour, smooth=False)
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
        hover(plot, line, "<b>@name</b> @value{%.3g}<br>@step ahead", "@value", nearest_x=True)
    plot.xaxis.ticker = FixedTicker(ticks=ahead.tolist())
    plot.y_range = Range1d(start=0, end=1.1 * max(*errors, *still, 1.0))
    plot.line(
        [1.0, float(len(ahead))], [1.0, 1.0], color=GREEN, line_dash="dotted", line_width=2,
        legend_label="the mean",
    )  # fmt: skip
    return {"rollouts": over_time, "horizon": plot}


def _plot_over_updates(
    title: str,
    curves: Sequence[Curve],
    *,
    legend: bool = True,
    log: bool = True,
    least: float | None = None,
) -> figure:
    values = np.concatenate([values for _, values in curves])
    values = values[np.isfinite(values)]
    log = log and len(values) > 0 and values.min() > 0
    plot = new_figure(
        title, height=250, legend=legend, x_axis_label="update",
        y_axis_type="log" if log else "linear",
    )  # fmt: skip
    plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
    plot.xaxis.ticker = AdaptiveTicker(min_interval=1)
    if log:
        low = 0.8 * float(values.min()) if least is None else min(least, float(values.min()))
        high = 1.25 * float(values.max())
        plot.y_range = Range1d(start=low, end=high)
        log_ticks(plot, low, high)
    return plot


def _draw(plot: figure, curve: Curve, name: str, colour: str, *, smooth: bool = True) -> None:
    draw_curve(plot, curve, name, colour, smooth=smooth, legend=bool(name), unit="update")
