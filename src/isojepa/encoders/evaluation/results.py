"""scores.json: how well simple classifiers read frozen representations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from isojepa.runs.typed import Others, Sparse, from_json, read_result, write_result


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """Accuracy over the draws of labelled samples, in [0, 1]."""

    mean: float
    interval: tuple[float, float] | None = None
    """95 % confidence interval of the mean (Student's t over draws), clipped to [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Accuracies of one representation on the test set, in [0, 1]; None if not measured."""

    linear: float | None = None
    knn: float | None = None
    kernel: float | None = None
    shots: dict[int, FewShot | None] = field(default_factory=dict)
    """By the number of labelled samples a class."""
    n_train: int | None = None
    n_test: int | None = None
    n_repeated: Sparse[int | None] = None
    """Test images that are, byte for byte, images trained on."""


def write_scores(path: Path, scores: Mapping[str, Scores]) -> None:
    """Write the scores of each representation, by its name."""
    write_result(path, dict(scores))


def read_scores(path: Path) -> dict[str, Scores]:
    """What `write_scores` wrote, by representation; empty without a file.

    Raises:
        UserError: if the file cannot be read, or holds something else.
    """
    if not path.is_file():
        return {}
    rows = read_result(_File, path).rows
    return {name: from_json(Scores, row, path) for name, row in rows.items()}


@dataclass(frozen=True)
class _File:
    rows: Others
