"""Success rates and their differences, beside what was published, on the screen and in files."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from isojepa.world.control.results import ControlResult, print_control, published_beside
from isojepa.world.control.success import (
    by_distance,
    cluster_interval,
    paired_difference,
    success_rate,
)


def test_rate_is_wilsons() -> None:
    share = success_rate(np.array([True] * 8 + [False] * 2))
    assert share.success == 0.8
    np.testing.assert_allclose(share.interval, (0.4902, 0.9433), atol=1e-4)  # Wilson 1927
    assert success_rate(np.zeros(5, bool)).interval[0] == 0


def test_intervals_over_episodes_are_scipys_where_each_has_one_pair() -> None:
    values = (np.random.default_rng(0).uniform(size=60) < 0.7).astype(float)
    found = cluster_interval(values, np.arange(60))
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=2000, random_state=0
    ).confidence_interval
    np.testing.assert_allclose(found, theirs, atol=0.02)
    assert cluster_interval(values, np.arange(60)) == found


def test_intervals_over_episodes_are_wider_where_pairs_of_one_go_alike() -> None:
    rng, inside, wide = np.random.default_rng(1), [0, 0], 0
    for _ in range(200):
        episodes = np.repeat(np.arange(30), 8)
        success = np.repeat(rng.uniform(size=30) < 0.7, 8)
        rate = success_rate(success, episodes)
        assert rate.by_episode is not None
        wide += np.diff(rate.by_episode)[0] > np.diff(rate.interval)[0]
        for k, (low, high) in enumerate((rate.interval, rate.by_episode)):
            inside[k] += low <= 0.7 <= high
    assert rate.episodes == 30
    assert wide > 190
    assert inside[0] < 140  # of 200: Wilson's takes 240 pairs for independent
    assert inside[1] > 175
    same = paired_difference(success, success, episodes)
    assert same.by_episode == (0.0, 0.0)


def test_bins_hold_about_as_many_pairs_each() -> None:
    distance = np.arange(10.0)
    bins = by_distance(distance, distance < 5, bins=3)
    assert [b.rate.pairs for b in bins] == [4, 3, 3]
    assert [b.rate.success for b in bins] == [1, pytest.approx(1 / 3), 0]
    assert by_distance(np.full(10, np.nan), distance < 5) == ()


@pytest.mark.parametrize(
    ("table", "interval"),  # both, only the first, only the second, neither
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # Newcombe 1998
        ((14, 5, 0, 22), (0.011, 0.226)),  # Altman et al., Statistics with Confidence, 6.2
        ((1, 1, 7, 12), (-0.507, -0.026)),  # Fagerland, Lydersen and Laake 2014
    ],
)
def test_paired_differences_are_those_published(
    table: tuple[int, ...], interval: tuple[float, float]
) -> None:
    a = np.repeat([True, True, False, False], table)
    b = np.repeat([True, False, True, False], table)
    found = paired_difference(a, b)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.interval == pytest.approx(interval, abs=6e-4)
    assert paired_difference(b, a).interval == pytest.approx(
        (-found.interval[1], -found.interval[0])
    )


def test_paired_differences_use_the_pairing_and_hold_their_level() -> None:
    rng = np.random.default_rng(0)
    inside, narrower = 0, 0
    for _ in range(400):  # success 0.8 and 0.7, much of it on the same pairs
        easy, luck = rng.uniform(size=100), rng.uniform(-0.1, 0.1, (2, 100))
        a, b = easy + luck[0] < 0.8, easy + luck[1] < 0.7
        low, high = paired_difference(a, b).interval
        inside += low <= 0.1 <= high
        shuffled = paired_difference(a, rng.permutation(b)).interval
        narrower += high - low < shuffled[1] - shuffled[0]
    assert 0.92 < inside / 400 < 0.99
    assert narrower > 380
    always = np.ones(50, bool)
    assert (
        paired_difference(always, always).interval[0]
        < 0
        < paired_difference(always, always).interval[1]
    )


@pytest.mark.parametrize(
    "other",
    [{}, {"offset": 10}, {"budget": 100}, {"frame_size": 64}, {"protocol": "strict"}],
    ids=str,
)
def test_published_figures_stand_beside_their_own_setting_only(other: dict[str, Any]) -> None:
    setting = {"protocol": "published", "offset": 25, "budget": 50, "frame_size": 224}
    found = published_beside("swm/TwoRoom-v1", **{**setting, **other})
    assert found.get("LeWorldModel") == (None if other else 0.87)
    assert published_beside("swm/Unknown-v0", **setting) == {}


@pytest.mark.parametrize("cut", [0.0, 0.004, 0.3])
def test_a_share_of_cut_actions_is_said(cut: float, capsys: pytest.CaptureFixture[str]) -> None:
    print_control(
        ControlResult(
            rate=success_rate(np.array([True, False])), environment="an[env]/v0",
            baselines={"r[/]": success_rate(np.array([True]))}, plan_seconds=1.0,
            sequences_per_plan=3.0, cut_actions=cut,
        )
    )  # fmt: skip
    said = capsys.readouterr().err
    assert ("30 % of the planned actions" in said) == (cut == 0.3)
    assert ("were cut" in said) == (cut == 0.3)
    assert "an[env]/v0" in said
    assert "r[/]" in said
