"""Pairs of starts and goals, recipes and videos."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.world.control.pairs import draw_pairs, draw_walled_pairs
from isojepa.world.control.recipes import OURS, PUBLISHED, adapted
from isojepa.world.control.videos import Video, write_video
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories

pytest.importorskip("h5py")
from tests.world.episode_files import draw, write_dots

# Pairs


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Trajectories:
    folder = tmp_path_factory.mktemp("dots")
    write_dots(folder / "dots.h5", episodes=8, steps=30)
    return open_trajectories(folder / "dots.h5", cache=folder / "cache")


def far(start: dict[str, np.ndarray], goal: dict[str, np.ndarray]) -> np.ndarray:
    return np.linalg.norm(start["proprio"] - goal["proprio"], axis=-1)


def test_pairs_are_frames_apart_in_one_episode(data: Trajectories) -> None:
    pairs = draw_pairs(data, np.arange(8), count=40, offset=10, seed=0, distance=far)
    assert (pairs.start + 10 < data.lengths[pairs.episode]).all()
    assert len({*zip(pairs.episode.tolist(), pairs.start.tolist())}) == 40
    goals = pairs.states(data, goal=True)["proprio"]
    for i in range(40):
        column = data.column("proprio", int(pairs.episode[i]))
        np.testing.assert_array_equal(goals[i], column[pairs.start[i] + 10])
    again = draw_pairs(data, np.arange(8), count=40, offset=10, seed=0, distance=far)
    other = draw_pairs(data, np.arange(8), count=40, offset=10, seed=1, distance=far)
    np.testing.assert_array_equal(pairs.start, again.start)
    assert (pairs.start != other.start).any()


def test_strict_pairs_are_unsolved_and_of_the_episodes_given(data: Trajectories) -> None:
    def near(start: Any, goal: Any) -> np.ndarray:
        return far(start, goal) < 8

    pairs = draw_pairs(
        data, np.array([2, 5]), count=10, offset=10, seed=0, distance=far, solved=near
    )
    assert set(pairs.episode.tolist()) <= {2, 5}
    assert (pairs.distance >= 8).all()


def test_too_few_pairs_are_refused(data: Trajectories) -> None:
    with pytest.raises(UserError, match="50 pairs asked for, but 1 episodes hold only 20"):
        draw_pairs(data, np.array([0]), count=50, offset=10, seed=0)
    with pytest.raises(UserError, match="needs episodes of at least 61 steps"):
        draw_pairs(data, np.arange(8), count=1, offset=60, seed=0)


def test_fewer_pairs_are_taken_where_that_is_asked(data: Trajectories) -> None:
    some = draw_pairs(data, np.array([0]), count=50, offset=10, seed=0, fewer=True)
    assert len(some.start) == 20
    none = draw_pairs(data, np.arange(8), count=1, offset=60, seed=0, fewer=True, solved=far)
    assert len(none.start) == 0


def test_walled_pairs_are_of_any_two_frames_with_something_between(data: Trajectories) -> None:
    def walled(start: Any, goal: Any) -> np.ndarray:
        return (start["proprio"][:, 0] > 16) != (goal["proprio"][:, 0] > 16)

    asked: dict[str, Any] = {"count": 30, "walled": walled, "distance": far}
    pairs = draw_walled_pairs(data, np.arange(8), seed=0, **asked)
    starts, goals = (pairs.states(data, goal=g) for g in (False, True))
    assert walled(starts, goals).all()
    assert (pairs.episode != pairs.goal_episode).any()
    np.testing.assert_allclose(pairs.distance, far(starts, goals))
    assert len({*zip(*(x.tolist() for x in pairs[:4]))}) == 30
    again = draw_walled_pairs(data, np.arange(8), seed=0, **asked)
    np.testing.assert_array_equal(pairs.goal, again.goal)
    with pytest.raises(UserError, match="too few with something between"):
        draw_walled_pairs(data, np.arange(8), count=4, seed=0, walled=lambda a, b: far(a, b) < 0)


def test_a_pairs_seed_depends_on_the_pair_alone(data: Trajectories) -> None:
    pairs = draw_pairs(data, np.arange(8), count=20, offset=10, seed=0)
    assert pairs.take(np.array([7, 3])).keys(5) == [pairs.keys(5)[7], pairs.keys(5)[3]]
    assert len({*pairs.keys(5), *pairs.keys(6)}) == 40


# Recipes


def test_recipes_are_adapted() -> None:
    same = adapted(PUBLISHED, {"planner": None, "horizon": None}, frame_skip=5)
    assert same == PUBLISHED
    changed = adapted(
        PUBLISHED, {"planner": "icem", "horizon": 8, "candidates": 64, "cost": "any"}, frame_skip=5
    )
    settings = changed.as_json()
    assert settings["planner"]["name"] == "icem"
    assert settings["planner"]["candidates"] == 64
    assert settings["planner"]["elites"] == 8
    assert settings["planner"]["block"] == 5
    assert (settings["horizon"], settings["cost"]) == (8, "any")
    json.dumps(settings)
    assert adapted(PUBLISHED, {"horizon": 3}, frame_skip=5).execute == 3
    with pytest.raises(UserError, match="--tolerance: the planner RandomShooting has no such"):
        adapted(OURS, {"planner": "random", "tolerance": 0.1}, frame_skip=5)
    with pytest.raises(UserError, match="--execute 9"):
        adapted(PUBLISHED, {"execute": 9}, frame_skip=5)


def test_films_are_written(tmp_path: Path) -> None:
    starts, goals = np.array([[6.0, 6], [25, 8], [16, 16], [8, 24]]), np.full((4, 2), 20.0)
    films = [[draw(p) for p in (a, b, b)] for a, b in zip(starts, goals)]
    video = Video(films, np.stack([draw(p) for p in goals]), np.array([True] * 4))
    write_video(tmp_path / "new" / "film.gif", video)
    import imageio.v3 as iio

    shown = iio.imread(tmp_path / "new" / "film.gif")
    assert shown.shape[1:] == (4 * 136, 2 * 136, 3)
    assert len(shown) >= 2
    with pytest.raises(UserError, match=r"end in \.gif or \.mp4"):
        write_video(tmp_path / "film.avi", video)
