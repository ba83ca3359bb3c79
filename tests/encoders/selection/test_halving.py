"""Successive halving: counts and lengths against arithmetic by hand, and what is drawn."""

from itertools import pairwise

import pytest

from isojepa.encoders.selection.halving import (
    ETA,
    LAMBDAS,
    RATES,
    Hyperparameters,
    drawn,
    rungs_within,
    runs_of_rungs,
    survivors,
)

USUAL = Hyperparameters(lambd=0.05, lr=2e-3, recipe="glyph")


def test_the_usual_settings_are_first_and_the_others_lie_within_bounds() -> None:
    made = drawn(20, USUAL, ["glyph", "small"], lambd=True, lr=True, seed=3)
    assert made[0] == USUAL
    assert [one.recipe for one in made] == ["glyph", "small"] * 10
    lambdas, rates = ([getattr(one, name) for one in made] for name in ("lambd", "lr"))
    assert LAMBDAS[0] <= min(lambdas) < 0.015
    assert 0.1 < max(lambdas) <= LAMBDAS[1]
    assert USUAL.lr / RATES <= min(rates) < USUAL.lr / 2
    assert 2 * USUAL.lr < max(rates) <= USUAL.lr * RATES
    assert made == drawn(20, USUAL, ["glyph", "small"], lambd=True, lr=True, seed=3)
    assert made != drawn(20, USUAL, ["glyph", "small"], lambd=True, lr=True, seed=4)


def test_what_is_given_stays() -> None:
    made = drawn(6, USUAL, ["glyph"], lambd=False, lr=True, seed=0)
    assert {one.lambd for one in made} == {USUAL.lambd}
    assert len({one.lr for one in made}) == 6
    assert drawn(6, USUAL, ["glyph"], lambd=False, lr=False, seed=0) == [USUAL]


@pytest.mark.parametrize(
    ("glyph", "small", "expected"),
    [(9, 0, [9, 3, 1]), (4, 0, [4, 2, 1]), (5, 4, [9, 4, 2]), (1, 1, [2]), (1, 0, [1])],
)
def test_each_recipe_keeps_a_third_and_at_least_one(
    glyph: int, small: int, expected: list[int]
) -> None:
    settings = [
        Hyperparameters(lambd=0.01 * (i + 1), lr=1.0, recipe=name)
        for name, n in (("glyph", glyph), ("small", small))
        for i in range(n)
    ]
    assert runs_of_rungs(settings) == expected
    for n in expected:
        assert len(settings) == n
        settings = survivors(settings)
    kept = {one.recipe for one in settings}
    assert kept == {name for name, n in (("glyph", glyph), ("small", small)) if n}
    assert all(one.lambd == 0.01 for one in settings)


def test_the_longest_rungs_that_fit() -> None:
    rungs = rungs_within([9, 3, 1], 1000.0, update=0.5, overhead=10.0)
    # (1000 - 13 * 10) s are 1,740 updates: 9 r + 3 * 3 r + 9 r of them
    assert [rung.steps for rung in rungs] == [64, 193, 580]
    assert sum(r.runs * (10 + r.steps * 0.5) for r in rungs) <= 1000
    assert all(b.steps >= ETA * a.steps for a, b in pairwise(rungs))
    short = rungs_within([9, 3, 1], 1000.0, update=0.5, overhead=10.0, most=90)
    assert [rung.steps for rung in short] == [10, 30, 90]
    assert rungs_within([9, 3, 1], 100.0, update=0.5, overhead=10.0)[0].steps == 0
