"""The cells of `run.py` -> results.csv, table.md and figure.png."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

ORDER = ("pixels", "pca", "untrained", "isojepa", "lejepa", "simclr", "vicreg", "dino")
NAMES = {
    "pca": "PCA", "isojepa": "**ours**", "lejepa": "lightly LeJEPA",
    "simclr": "lightly SimCLR", "vicreg": "lightly VICReg", "dino": "lightly DINO",
}  # fmt: skip
MEASURES = ("linear", "knn", "shot1", "shot5", "shot10")
Cell = dict[str, Any]


def write(out: Path) -> None:
    """Write all three from what is there."""
    cells = [json.loads(f.read_text()) for f in sorted((out / "cells").glob("*.json"))]
    if not cells:
        raise SystemExit(f"{out}: no cells yet")
    columns = ["set", "method", "minutes", "seed", "updates", "seconds", *MEASURES]
    with (out / "results.csv").open("w", newline="") as file:
        rows = csv.DictWriter(file, columns, extrasaction="ignore")
        rows.writeheader()
        rows.writerows(cells)
    text = "\n\n".join(_of_minutes(cells, m) for m in sorted({c["minutes"] for c in cells} - {0}))
    (out / "table.md").write_text(text + "\n")
    figure(cells, out / "figure.png")
    print(text)


def _of_minutes(cells: list[Cell], minutes: float) -> str:
    here = [c for c in cells if c["minutes"] in (0, minutes)]
    sets = sorted({c["set"] for c in here}, key=[c["set"] for c in here].index)
    methods = [m for m in ORDER if any(c["method"] == m for c in here)]
    lines = [f"{minutes:g} minutes: linear / k-NN, in %; mean over seeds, ± their half range.", "",
             "| set | " + " | ".join(NAMES.get(m, m) for m in methods) + " | beats pixels after |",
             "|---|" + "---:|" * (len(methods) + 1)]  # fmt: skip
    for name in sets:
        row = [_cell([c for c in here if (c["set"], c["method"]) == (name, m)]) for m in methods]
        lines.append(f"| {name} | " + " | ".join(row) + f" | {_beats(here, name)} |")
    return "\n".join([*lines, "", _gains(here, sets)])


def _cell(cells: list[Cell]) -> str:
    if not cells:
        return "–"
    return " / ".join(_spread([c[m] for c in cells]) for m in ("linear", "knn"))


def _spread(values: list[float]) -> str:
    half = (max(values) - min(values)) / 2
    return f"{np.mean(values):.1f}" + (f" ±{half:.1f}" if len(values) > 1 else "")


def mean(cells: list[Cell], name: str, method: str, measure: str) -> float | None:
    """Over seeds; None where nothing was measured."""
    found = [c[measure] for c in cells if (c["set"], c["method"]) == (name, method)]
    return float(np.mean(found)) if found else None


def _beats(cells: list[Cell], name: str) -> str:
    """Minutes until the online k-NN is better than that of pixels, the slowest seed's."""
    wall = mean(cells, name, "pixels", "knn")
    ours = [c["curve"] for c in cells if (c["set"], c["method"]) == (name, "isojepa")]
    if wall is None or not ours or not all(ours):
        return "–"
    times = [next((t for t, value in curve if value > wall), None) for curve in ours]
    return "never" if None in times else f"{max(t for t in times if t is not None):.1f} min"


def _gains(cells: list[Cell], sets: list[str]) -> str:
    """Ours against the best of those that learn nothing, and of lightly's, over the sets."""
    lines = []
    for title, others in (("what learns nothing", ORDER[:3]), ("lightly's four", ORDER[4:])):
        for measure in ("linear", "knn"):
            gains = []
            for name in sets:
                ours = mean(cells, name, "isojepa", measure)
                theirs = [mean(cells, name, m, measure) for m in others]
                best = [t for t in theirs if t is not None]
                if ours is not None and best:
                    gains.append((ours - max(best), name))
            if gains:
                worst, average = min(gains), np.mean([g for g, _ in gains])
                lines.append(
                    f"- {measure}, over the best of {title}: mean {average:+.1f} "
                    f"points, worst {worst[0]:+.1f} ({worst[1]}), over {len(gains)} sets"
                )
    return "\n".join(lines)


def figure(cells: list[Cell], path: Path) -> None:
    """k-NN of each method on each set, one point a seed."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    longest = max(c["minutes"] for c in cells)
    here = [c for c in cells if c["minutes"] in (0, longest)]
    sets = sorted({c["set"] for c in here}, key=[c["set"] for c in here].index)
    drawn, axes = plt.subplots(figsize=(9, 0.5 * len(sets) + 1.6))
    for k, method in enumerate(ORDER):
        points = [(c["knn"], sets.index(c["set"]) + 0.08 * (k - 3.5))
                  for c in here if c["method"] == method]  # fmt: skip
        if points:
            x, y = zip(*points)
            size = 46 if method == "isojepa" else 22
            axes.scatter(x, y, s=size, label=NAMES.get(method, method).strip("*"), color=f"C{k}")
    axes.set_yticks(range(len(sets)), sets)
    axes.invert_yaxis()
    axes.set_xlabel(f"k-NN accuracy (R² for the simulator), %, {longest:g} minutes")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(ncol=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)
    drawn.tight_layout()
    drawn.savefig(path, dpi=130)
    plt.close(drawn)
