"""How far criteria agree, which of them is trusted and why, and how they rank the runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from scipy import stats

from isojepa.encoders.selection.criteria import CRITERIA, Candidate

LEAST = 3
"""Runs below which a correlation says nothing."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What `isojepa select` found; its JSON."""

    ranked: tuple[Candidate, ...]
    """The best first, by the trusted criterion; collapsed runs last."""
    trusted: str
    """Name of the criterion."""
    why: str
    agreement: dict[str, float | None]
    """Kendall's tau of each pair of criteria that both have three runs or more, by "one, other"."""
    concordance: float | None
    """Mean of these, from -1 to 1."""
    with_labels: dict[str, float | None]
    """Spearman's correlation of each criterion with accuracy, where accuracies are known."""


def select(candidates: Sequence[Candidate]) -> Selection:
    """Rank runs without labels.

    Raises:
        ValueError: without any.
    """
    alive = [c for c in candidates if c.collapsed is None] or list(candidates)
    trusted, why = trust(alive)
    agreement = {
        f"{one}, {other}": rank_correlation(alive, one, other, "kendall")
        for one, other in combinations(CRITERIA, 2)
    }
    known = [tau for tau in agreement.values() if tau is not None]
    return Selection(
        ranked=tuple(sorted(candidates, key=lambda c: _order(c, trusted))),
        trusted=trusted,
        why=why,
        agreement=agreement,
        concordance=sum(known) / len(known) if known else None,
        with_labels={
            name: rank_correlation(candidates, name, "accuracy", "spearman") for name in CRITERIA
        },
    )


def trust(candidates: Sequence[Candidate]) -> tuple[str, str]:
    """The criterion that suits what the runs have in common, and why."""
    if all(c.loss is not None for c in candidates) and len({c.comparable for c in candidates}) == 1:
        return "loss", (
            "the runs share data, views, batch and regulariser, so their losses compare; the paper "
            "finds Spearman .94 to .99 for it. Collapsed runs are set apart: as λ falls they make "
            "it small"
        )
    if all(c.lidar is not None for c in candidates):
        return "lidar", (
            "losses of runs that differ in data, views, batch or regulariser do not compare; LiDAR "
            "asks how many directions tell samples from their own views, which noise does not fill"
        )
    return "rankme", (
        "losses of these runs do not compare, and not all of them kept views for LiDAR; RankMe "
        "needs the embeddings alone, but counts noise as well"
    )


def rank_correlation(
    candidates: Sequence[Candidate], one: str, other: str, kind: str
) -> float | None:
    """Rank correlation of two fields over the runs that have both; None for fewer than three, or if
    one does not vary."""
    pairs = [
        (better(c, one), better(c, other)) for c in candidates
        if getattr(c, one) is not None and getattr(c, other) is not None
    ]  # fmt: skip
    if len(pairs) < LEAST or any(len(set(side)) == 1 for side in zip(*pairs)):
        return None
    function = stats.kendalltau if kind == "kendall" else stats.spearmanr
    return float(function(*zip(*pairs)).statistic)


def better(one: Candidate, name: str) -> float:
    """A criterion of a run as a number that is greater for the better."""
    value = getattr(one, name)
    if value is None:
        return -math.inf
    return CRITERIA[name].better(value) if name in CRITERIA else float(value)


def _order(one: Candidate, trusted: str) -> tuple[bool, float, str]:
    return one.collapsed is not None, -better(one, trusted), one.run
