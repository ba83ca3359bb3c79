"""Scores, neighbours and runs side by side, as rows for the page's tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from isojepa.encoders.evaluation.results import FewShot, Scores
from isojepa.pages.encoder.baselines import MEASURES
from isojepa.pages.encoder.evidence import Evidence
from isojepa.pages.encoder.pictures import cosine_neighbours, spread_queries
from isojepa.pages.run import Run, Sample
from isojepa.theme.wording import number, percent

# Scores

REPRESENTATIONS = {
    "encoder": "This encoder",
    "untrained": "The same encoder, untrained",
    "pca": "PCA",
    "pixels": "Raw pixels",
    "raw": "Raw values",
}


class ScoreCell(NamedTuple):
    """One cell of the score table."""

    value: float | int | None
    interval: tuple[float, float] | None
    best: bool
    """Whether no other representation scores higher, to the digit shown."""


class ScoreTable(NamedTuple):
    """Accuracies by representation and reader."""

    measures: tuple[str, ...]
    shots: tuple[int, ...]
    """Numbers of labelled pictures a class."""
    rows: tuple[tuple[str, tuple[ScoreCell, ...]], ...]
    """Title and cells, `measures` first and `shots` after them."""
    n_train: int | None
    n_test: int | None


def score_table(run: Run) -> ScoreTable | None:
    """The scores of a run with the best of each column marked; None without scores."""
    names = [name for name in REPRESENTATIONS if run.scores.get(name, Scores()) != Scores()]
    if not names:
        return None
    scores = [run.scores[name] for name in names]
    measures = [key for key in MEASURES if any(getattr(s, key) is not None for s in scores)]
    shots = sorted({shot for s in scores for shot in s.shots})
    columns = [[_plain(getattr(s, key)) for s in scores] for key in measures]
    columns += [[_shot(s.shots.get(shot)) for s in scores] for shot in shots]
    marked = [_mark_best(column) for column in columns]
    return ScoreTable(
        measures=tuple(measures),
        shots=tuple(shots),
        rows=tuple(
            (REPRESENTATIONS[name], tuple(column[i] for column in marked))
            for i, name in enumerate(names)
        ),
        n_train=scores[0].n_train,
        n_test=scores[0].n_test,
    )


def _plain(value: float | int | None) -> ScoreCell:
    return ScoreCell(value, None, best=False)


def _shot(entry: FewShot | None) -> ScoreCell:
    if entry is None:
        return _plain(None)
    low, high = entry.interval or (0.0, 1.0)
    interval = None if entry.interval is None else (max(0.0, low), min(1.0, high))
    return ScoreCell(entry.mean, interval, best=False)


def _mark_best(column: list[ScoreCell]) -> list[ScoreCell]:
    known = [round(score.value, 3) for score in column if score.value is not None]
    return [
        score._replace(
            best=score.value is not None and len(known) > 1 and round(score.value, 3) == max(known)
        )
        for score in column
    ]


# Neighbours


class Neighbour(NamedTuple):
    """A sample shown beside a query."""

    place: int
    """Its index in the run's sample."""
    similarity: float
    label: str
    agrees: bool | None
    """Whether it is of the query's class; None if either is not known."""


class Neighbourhood(NamedTuple):
    """A query and the samples most like it, nearest first."""

    place: int
    label: str
    neighbours: tuple[Neighbour, ...]


class Neighbourhoods(NamedTuple):
    """Some queries, and how often neighbours agree over the whole sample."""

    rows: tuple[Neighbourhood, ...]
    agreement: float | None
    """Share of all samples' neighbours that are of the same class; None without labels."""
    chance: float | None
    """The same for neighbours drawn at random."""


def neighbourhoods(sample: Sample, count: int = 10, k: int = 8) -> Neighbourhoods:
    """Nearest neighbours by cosine in the encoder's embedding, for queries of many classes."""
    n, labels = len(sample.embeddings), sample.labels
    nearest, similarity = cosine_neighbours(sample.embeddings, np.arange(n), k)

    def label(index: int) -> str:
        return "" if labels is None else sample.class_name(int(labels[index]))

    def agrees(a: int, b: int) -> bool | None:
        if labels is None or labels[a] < 0 or labels[b] < 0:
            return None
        return bool(labels[a] == labels[b])

    rows = tuple(
        Neighbourhood(
            query,
            label(query),
            tuple(
                Neighbour(other, float(s), label(other), agrees(query, other))
                for other, s in zip(nearest[query].tolist(), similarity[query])
            ),
        )
        for query in spread_queries(labels, n, count).tolist()
    )
    agreement = chance = None
    if labels is not None and (labels >= 0).all():
        agreement = float((labels[nearest] == labels[:, None]).mean())
        counts = np.bincount(labels)
        chance = float((counts * (counts - 1)).sum() / (n * (n - 1)))
    return Neighbourhoods(rows, agreement, chance)


# Runs side by side


def run_rows(cases: Sequence[Evidence]) -> list[tuple[str, list[str]]]:
    """Title and one entry a run, for the table that compares them."""
    shapes = [case.projections for case in cases]
    scores = [case.run.scores.get("encoder", Scores()) for case in cases]
    rows = [
        ("Regulariser", [case.regulariser for case in cases]),
        ("λ", ["–" if case.lambd is None else f"{case.lambd:g}" for case in cases]),
        ("Loss at the end", [number(case.last("loss")) for case in cases]),
        ("Invariance", [number(case.last("invariance")) for case in cases]),
        ("Its value", [number(case.last("sigreg")) for case in cases]),
        ("Standard deviation of projections", [number(s and s.deviation) for s in shapes]),
        (
            "Effective rank of projections",
            ["–" if s is None else f"{s.uncentred_rank:.1f} of {s.d}" for s in shapes],
        ),
        ("Linear probe", [percent(s.linear) for s in scores]),
        ("k-NN", [percent(s.knn) for s in scores]),
    ]
    return [(title, entries) for title, entries in rows if set(entries) != {"–"}]
