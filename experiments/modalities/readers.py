"""What both comparisons share: simple readers on frozen features, and rows of results on disk."""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegressionCV, RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

RIDGES = np.logspace(-3, 3, 10)
Row = dict[str, object]


def linear() -> object:
    """Ridge on standardised features, its weight by leave-one-out: as MiniRocket is read."""
    return make_pipeline(StandardScaler(), RidgeClassifierCV(RIDGES))


def logistic() -> Any:
    """Logistic regression, for few labels."""
    return make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=5, cv=2, max_iter=200))


def nearest() -> object:
    """The nearest neighbour by standardised features, as is the custom for series."""
    return make_pipeline(StandardScaler(), KNeighborsClassifier(1))


def rows_in(path: Path) -> list[Row]:
    """What is done already."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def add(path: Path, row: Row) -> None:
    """One more result, on disk at once, so that a stopped comparison goes on where it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def done(rows: Iterable[Row], **keys: object) -> bool:
    """Whether there is a row with these entries."""
    return any(all(row.get(k) == v for k, v in keys.items()) for row in rows)


def mean_of(rows: Iterable[Row], value: str, **keys: object) -> tuple[float, float, int]:
    """Mean, largest distance of a seed from it, and number of the rows with these entries."""
    found = [
        float(str(row[value])) for row in rows if all(row.get(k) == v for k, v in keys.items())
    ]
    if not found:
        return float("nan"), float("nan"), 0
    mean = float(np.mean(found))
    return mean, max(abs(x - mean) for x in found), len(found)


def ranks(table: dict[str, list[float]]) -> dict[str, float]:
    """Mean rank over the columns where all have a value, 1 the best; ties share theirs."""
    from scipy.stats import rankdata

    names = list(table)
    values = np.array([table[name] for name in names])
    whole = np.isfinite(values).all(0)
    placed = rankdata(-values[:, whole], axis=0).mean(1) if whole.any() else [np.nan] * len(names)
    return dict(zip(names, map(float, placed)))


Means = dict[object, dict[str, list[float]]]
"""By what is said of it: accuracy in per cent of each method on each set."""


def ranked_table(head: str, sets: Sequence[str], means: Means) -> str:
    """Markdown: a row a method, a column a set, and mean ranks; all that `means` has in a cell."""
    places = {key: ranks(table) for key, table in means.items()}
    lines = [f"| {head} | " + " | ".join((*sets, "mean rank")) + " |"]
    lines.append("|---" * (len(sets) + 2) + "|")
    for m in next(iter(means.values())):
        cells = [
            " / ".join(f"{table[m][i]:.1f}" for table in means.values()) for i in range(len(sets))
        ]
        cells.append(" / ".join(f"{place[m]:.1f}" for place in places.values()))
        lines.append(f"| {m} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def tell(made: Iterable[Row], path: Path, table: Callable[[list[Row]], str]) -> str:
    """Print each row as it comes and the table at the end, which is also written beside them."""
    for row in made:
        print(row, flush=True)
    text = table(rows_in(path))
    path.with_suffix(".md").write_text(text + "\n")
    print(text)
    return text
