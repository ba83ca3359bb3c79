"""The result of `isojepa world compare`, as a table on the screen and as a picture."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from isojepa.boundaries import writing
from isojepa.errors import UserError
from isojepa.progress import console
from isojepa.theme.style import (
    BLUE,
    GREY,
    GRID,
    INK,
    LINE,
    PURPLE,
    SOFT,
)

COLUMNS = ("", "goals reached, %", "less LeWM's, points", "rank", "error", "seconds")
NOTE = (
    "Intervals: 95 %, over the pairs. Rank: effective, of held-out embeddings, 1 if collapsed. "
    "Error: of the prediction one block ahead, as a share of the embeddings' variance. "
    "Seconds: of training, per seed."
)


def title_of(result: dict[str, Any]) -> str:
    """The setting, in words."""
    config = result["config"]
    pairs = next(iter(result["contenders"].values()))["pairs"]
    seeds = f" over {config['seeds']} seeds" if config["seeds"] > 1 else ""
    return (
        f"{result['environment']}, {result['protocol']} protocol: {pairs} goals{seeds} "
        f"{config['offset']} steps ahead, budget {config['budget']}"
    )


def rows_of(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row of `COLUMNS` per contender; what a contender has not got stays empty."""
    rows: list[tuple[str, ...]] = []
    for one in result["contenders"].values():
        low, high = one["interval"]
        reached = f"{100 * one['success']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        less = ""
        if one["difference"] is not None:
            low, high = one["difference"]["interval"]
            less = f"{100 * one['difference']['difference']:+.1f} "
            less += f"[{100 * low:+.1f}, {100 * high:+.1f}]"
        rank, error = (
            f"{value:{form}}" if (value := mean_of(one, name)) is not None else ""
            for name, form in (("effective_rank", ".1f"), ("held_out_rollout_1", ".3g"))
        )
        seconds = one["training_seconds"]
        rows.append(
            (one["label"], reached, less, rank, error, f"{np.mean(seconds):.0f}" if seconds else "")
        )
    return rows


def mean_of(contender: dict[str, Any], measure: str) -> float | None:
    """A measure's mean over the seeds; None where it was not measured."""
    values: Sequence[Any] = [one[measure] for one in contender["held_out"]]
    return float(np.mean(values)) if values and None not in values else None


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=title_of(result), box=box.SIMPLE_HEAD, padding=0)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name else "left", no_wrap=bool(name))
    for row in rows_of(result):
        table.add_row(*row)
    console.print(table)
    console.print(NOTE, highlight=False)


def draw(result: dict[str, Any], path: Path) -> None:
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
    contenders, rows = list(result["contenders"].values()), rows_of(result)
    n = len(contenders)
    height = 1.2 + 0.36 * n
    figure = Figure(figsize=(8.4, height), dpi=150)
    axes = figure.add_axes((0.27, 0.55 / height, 0.44, 1 - 1.2 / height))
    axes.axvline(100 * contenders[0]["success"], color=BLUE, linestyle="--", linewidth=1)
    for i, one in enumerate(contenders):
        low, high = (100 * x for x in one["interval"])
        colour = BLUE if one["held_out"] else PURPLE if one["training_seconds"] else GREY
        axes.plot([low, high], [i, i], color=colour, linewidth=2.5, solid_capstyle="round")
        axes.plot([100 * one["success"]], [i], "o", color=colour, markersize=7, clip_on=False)
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
    labels = [textwrap.fill(one["label"], 28) for one in contenders]
    axes.set_yticks(range(n), labels, color=INK, fontsize=9)
    axes.xaxis.label.set_color(SOFT)
    axes.tick_params(axis="x", colors=SOFT)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    figure.text(
        0.015, 1 - 0.14 / height, title_of(result), color=INK, fontsize=10, fontweight="bold",
        verticalalignment="top",
    )  # fmt: skip
    with writing(path):
        figure.savefig(path)
