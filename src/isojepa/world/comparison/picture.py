"""The result of `isojepa world compare` as a picture."""

import textwrap
from pathlib import Path

from isojepa.boundaries import writing
from isojepa.errors import UserError
from isojepa.theme.style import BLUE, GREY, GRID, INK, LINE, PURPLE, SOFT
from isojepa.world.comparison.results import ComparisonResult, comparison_rows


def draw_comparison(result: ComparisonResult, path: Path) -> None:
    """A picture of success: a dot and its interval per contender, LeWM's as a line through all.

    Raises:
        UserError: if Matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError(
            "pictures of comparisons need the extra: pip install 'isojepa[world]'"
        ) from error
    contenders, rows = list(result.contenders.values()), comparison_rows(result)
    n = len(contenders)
    height = 1.2 + 0.36 * n
    figure = Figure(figsize=(8.4, height), dpi=150)
    axes = figure.add_axes((0.27, 0.55 / height, 0.44, 1 - 1.2 / height))
    axes.axvline(100 * contenders[0].rate.success, color=BLUE, linestyle="--", linewidth=1)
    for i, one in enumerate(contenders):
        low, high = (100 * x for x in one.rate.interval)
        colour = BLUE if one.held_out else PURPLE if one.training_seconds else GREY
        axes.plot([low, high], [i, i], color=colour, linewidth=2.5, solid_capstyle="round")
        axes.plot([100 * one.rate.success], [i], "o", color=colour, markersize=7, clip_on=False)
    columns = (
        (1.04, "left", ["goals reached, %", *(row[1] for row in rows)]),
        (1.6, "right", ["rank", *(row[3] for row in rows)]),
    )
    for at, side, texts in columns:
        for i, text in enumerate(texts, -1):
            axes.text(
                at, i, text, transform=axes.get_yaxis_transform(), fontsize=9,
                horizontalalignment=side, verticalalignment="center",
                color=INK if i >= 0 else SOFT,
            )  # fmt: skip
    axes.set(xlim=(-1, 101), ylim=(n - 0.4, -0.6), xlabel="goals reached, %")
    labels = [textwrap.fill(one.label, 28) for one in contenders]
    axes.set_yticks(range(n), labels, color=INK, fontsize=9)
    axes.xaxis.label.set_color(SOFT)
    axes.tick_params(axis="x", colors=SOFT)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    figure.text(
        0.015, 1 - 0.14 / height, result.title, color=INK, fontsize=10, fontweight="bold",
        verticalalignment="top",
    )  # fmt: skip
    with writing(path):
        figure.savefig(path)
