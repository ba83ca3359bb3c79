"""Bokeh figures of probes and of latent distances."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker
from bokeh.plotting import figure

from isojepa.embeddings.samples import draw_rows
from isojepa.theme.curves import hover
from isojepa.theme.style import BLUE, GREY, ORANGE, new_figure
from isojepa.theme.wording import fixed
from isojepa.world.analysis.latent_distances import (
    DistanceCorrelations,
    LatentDistances,
    running_median,
)
from isojepa.world.analysis.probe_results import ProbeArrays, QuantityScores

MOST_POINTS = 1200  # in a scatter plot
MOST_SCATTERS = 6
ANGLE_TICKS: Mapping[float | str, str] = {-np.pi: "-π", 0.0: "0", np.pi: "π"}


def probe_scatters(
    quantities: Sequence[QuantityScores], arrays: ProbeArrays, *, flip: bool
) -> list[figure]:
    """Predictions of the linear probe against the truth, and where in the plane they err.

    Args:
        flip: y grows downwards, as in images.
    """
    shown = draw_rows(len(arrays.z), MOST_POINTS, seed=0)
    truth, guess = arrays.truth[shown], arrays.linear[shown]
    figures = []
    for one, x, y in zip(quantities[:MOST_SCATTERS], truth.T, guess.T):
        quantity = one.quantity
        if quantity.angle:
            x = (x + np.pi) % (2 * np.pi) - np.pi
        plot = new_figure(
            f"{quantity.name}: r = {fixed(one.scores.model.linear.r)}",
            height=270,
            x_axis_label="true",
            y_axis_label="read from the embedding",
        )
        low, high = float(min(x.min(), y.min())), float(max(x.max(), y.max()))
        plot.line([low, high], [low, high], color=GREY, line_dash="dashed", line_width=2)
        columns = {"x": x, "y": y, "episode": arrays.episode[shown], "step": arrays.step[shown]}
        points = plot.scatter(
            "x", "y", source=ColumnDataSource(columns), color=BLUE, size=4, alpha=0.45
        )
        text = "true @x{%.3g}, read @y{%.3g}<br>episode @episode, step @step"
        hover(plot, points, text, "@x", "@y")
        if quantity.angle:
            for axis in (plot.xaxis, plot.yaxis):
                axis.ticker = FixedTicker(ticks=[-np.pi, 0.0, np.pi])
                axis.major_label_overrides = {**ANGLE_TICKS}
        figures.append(plot)
    names = [one.quantity.name for one in quantities]
    for i, (a, b) in enumerate(pairwise(names)):
        if (a[-1:], b[-1:]) == ("x", "y") and a[:-1] == b[:-1]:  # of the same thing
            places = truth[:, i : i + 2], guess[:, i : i + 2]
            return [*figures, _errors_in_plane(a[:-1].strip(), *places, flip=flip)]
    return figures


def _errors_in_plane(thing: str, truth: np.ndarray, guess: np.ndarray, *, flip: bool) -> figure:
    """Lines from the true places (m, 2) to those read."""
    plot = new_figure(
        f"{thing}: from true to read" if thing else "From the true place to that read",
        height=270,
        x_axis_label=f"{thing} x".strip(),
        y_axis_label=f"{thing} y".strip(),
        match_aspect=True,
    )
    (x, y), (to_x, to_y) = truth.T, guess.T
    plot.segment(x, y, to_x, to_y, color=ORANGE, line_width=1.2, alpha=0.7)
    plot.scatter(x, y, color=BLUE, size=3, alpha=0.6)
    plot.y_range = DataRange1d(flipped=flip)
    return plot


def distance_plots(
    pairs: LatentDistances, found: DistanceCorrelations, unit: str
) -> dict[str, figure]:
    """Latent distance of pairs of frames against their distance in state, path and time."""
    unit = unit or "distance"
    figures = {}
    for name, title, label, x, correlation in (
        ("state", "Distance of states", unit, pairs.state, found.state),
        ("path", "Shortest path", unit, pairs.path, found.path),
        ("steps", "Time", "environment steps", pairs.steps, found.steps),
    ):
        known = np.flatnonzero(np.isfinite(x))
        if correlation is None or not len(known):
            continue
        x, y = x[known], pairs.latent[known]
        plot = new_figure(
            f"{title}: ρ = {fixed(correlation.spearman, 2)}",
            height=270,
            x_axis_label=label,
            y_axis_label="distance of embeddings",
        )
        kept = draw_rows(len(x), MOST_POINTS, seed=0)
        plot.scatter(x[kept], y[kept], color=BLUE, size=4, alpha=0.3)
        middle = running_median(x, y)
        plot.line(middle[0], middle[1], color=ORANGE, line_width=2.5)
        plot.x_range, plot.y_range = DataRange1d(start=0), DataRange1d(start=0)
        figures[name] = plot
    return figures
