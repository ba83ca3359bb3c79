"""Baselines are scored once: by their numbers, not by names; broken entries are made again."""

from pathlib import Path

import numpy as np
import pytest

from isojepa.caches.folder import caching
from isojepa.encoders.evaluation.kept import digest, kept_scores
from isojepa.encoders.evaluation.results import FewShot, Scores

SCORES = Scores(linear=0.5, knn=0.25, shots={1: FewShot(mean=0.1, interval=(0.0, 0.2))}, n_test=9)


def arrays(seed: int = 0) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    x = (rng.random((8, 3), np.float32), rng.random((4, 3), np.float32))
    return x, (np.arange(8) % 2, np.arange(4) % 2)


def never() -> Scores:
    pytest.fail("computed again")


def test_the_same_numbers_are_scored_once(tmp_path: Path) -> None:
    features, labels = arrays()
    with caching(tmp_path):
        assert kept_scores(features, labels, 0, lambda: SCORES) == SCORES
        assert kept_scores(features, labels, 0, never) == SCORES
        other = Scores(linear=0.75)
        assert kept_scores(features, labels, 1, lambda: other) == other
        assert kept_scores(arrays(1)[0], labels, 0, lambda: other) == other


def test_a_damaged_entry_is_made_again_and_no_cache_is_asked_for_none(tmp_path: Path) -> None:
    features, labels = arrays()
    file = tmp_path / "scores" / f"{digest(features, labels, 0)}.json"
    with caching(tmp_path):
        kept_scores(features, labels, 0, lambda: SCORES)
        file.write_text("{")
        assert kept_scores(features, labels, 0, lambda: SCORES) == SCORES
        assert kept_scores(features, labels, 0, never) == SCORES
    with caching(tmp_path, off=True):
        other = Scores(linear=0.75)
        assert kept_scores(features, labels, 0, lambda: other) == other


def test_every_number_label_and_shape_counts() -> None:
    features, (train, test) = arrays()
    base = digest(features, (train, test), 0)
    changed = features[0].copy()
    changed[0, 0] += 1e-6
    assert digest((changed, features[1]), (train, test), 0) != base
    assert digest(features, (train, 1 - test), 0) != base
    assert digest(features, (train, test), 0) == base
