"""The split on which settings are chosen, and the errors a user can fix."""

import numpy as np
import pytest

from isojepa.encoders.evaluation.labelled import Labelled, check, validation_split
from isojepa.errors import UserError


def numbered(y: list[int]) -> Labelled:
    """Samples whose only feature is their own row number."""
    return Labelled(np.arange(len(y), dtype=np.float32)[:, None], np.array(y))


def test_split_is_a_stratified_partition() -> None:
    data = numbered([0] * 50 + [1] * 10 + [7] * 5)
    fit, validation = validation_split(data, 0.2, seed=3)
    assert sorted([*fit.x[:, 0], *validation.x[:, 0]]) == list(range(65))
    assert [int((validation.y == label).sum()) for label in (0, 1, 7)] == [10, 2, 1]


def test_split_depends_on_the_seed_alone() -> None:
    data = numbered([0, 1] * 20)
    first, again, other = (validation_split(data, 0.2, seed)[1].x for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_small_classes_keep_a_sample_to_fit() -> None:
    fit, validation = validation_split(numbered([0] * 10 + [1] + [2] * 2), 0.9)
    assert set(fit.y) == {0, 1, 2}
    assert 1 not in validation.y


def test_split_needs_one_class_with_two_samples() -> None:
    with pytest.raises(UserError, match="single training sample"):
        validation_split(numbered([0, 1, 2]))


good = numbered([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (numbered([3, 3, 3]), good, "fewer than 2 classes"),
        (good._replace(x=np.full((4, 1), np.nan, np.float32)), good, "train features contain NaN"),
        (good, good._replace(x=np.full((4, 1), np.inf, np.float32)), "test features contain NaN"),
        (good, numbered([]), "test set is empty"),
        (good._replace(y=np.array([0, 1])), good, "4 feature rows and 2 labels"),
        (good, good._replace(x=np.zeros((4, 2), np.float32)), "1 dimensions and test features 2"),
    ],
)
def test_mistakes_are_named(train: Labelled, test: Labelled, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check(train, test._replace(y=test.y.astype(np.int64)))
