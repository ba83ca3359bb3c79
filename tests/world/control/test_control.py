"""The replanning loop, pairs and protocols, baselines, films and bad input."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isojepa.errors import UserError
from isojepa.world.control.films import Film, write_film
from isojepa.world.control.pairs import draw_pairs
from isojepa.world.control.play import (
    Policy,
    Seen,
    Stage,
    play,
)
from isojepa.world.control.policies import (
    ClonedPolicy,
    PlanningPolicy,
    RandomPolicy,
    Replanning,
    ScriptedPolicy,
    encode_frames,
    straight_line,
)
from isojepa.world.control.recipes import (
    OURS,
    PUBLISHED,
    adapted,
    describe,
)
from isojepa.world.control.stage import PlatformStage
from isojepa.world.episodes.action_scale import ActionScale
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories
from isojepa.world.learning.cloning import GoalPolicy
from isojepa.world.model.presets import preset
from isojepa.world.planners.costs import last_step
from isojepa.world.planners.planners import CEM

pytest.importorskip("h5py")
from tests.world.episode_files import SPEED, draw, write_dots

SKIP = 3


class DotModel(nn.Module):
    """Knows the dots' world exactly: an embedding is the dot's position."""

    frame_size, frame_skip, history, embedding_dim, action_dim = 32, SKIP, 3, 2, 2 * SKIP

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.scale = ActionScale(torch.zeros(2), torch.full((2,), 0.5))
        self.encoded = 0
        self.pasts: list[tuple[int, int]] = []

    def encode(self, frames: Tensor) -> Tensor:
        self.encoded += frames.shape[0]
        dark = 255 - frames[:, :, 1].float()  # green is missing where the dot is
        at = torch.arange(32.0)
        total = dark.sum((-2, -1)).clamp(min=1)
        x = (dark.sum(-2) * at).sum(-1) / total
        return torch.stack([x, (dark.sum(-1) * at).sum(-1) / total], -1)

    def rollout(self, z: Tensor, past_actions: Tensor, candidates: Tensor) -> Tensor:
        self.pasts.append((z.shape[1], past_actions.shape[1]))
        steps = (0.5 * candidates).unflatten(-1, (SKIP, 2)).sum(-2)
        return z[:, -1][:, None, None] + SPEED * steps.cumsum(2)


class DotStage:
    """The dots' world; a goal counts as reached within 1.5 pixels."""

    def __init__(self, starts: np.ndarray, goals: np.ndarray) -> None:
        self.at, self.goals = starts.copy(), goals
        self.asked: list[list[int]] = []

    def look(self, rows: np.ndarray) -> Seen:
        frames = np.stack([draw(p) for p in self.at[rows]])
        return Seen(rows, frames, {"proprio": self.at[rows]})

    def step(self, rows: np.ndarray, actions: np.ndarray) -> np.ndarray:
        self.asked.append(rows.tolist())
        assert (np.abs(actions) <= 1 + 1e-5).all()
        self.at[rows] = np.clip(self.at[rows] + SPEED * actions, 2, 30)
        return np.linalg.norm(self.at[rows] - self.goals[rows], axis=1) < 1.5


STARTS = np.array([[6.0, 6], [25, 8], [16, 16], [8, 24]])
GOALS = np.array([[20.0, 18], [10, 20], [17, 16], [9, 9]])
BOUND = np.ones(2, np.float32)


def planning(model: Any, **settings: Any) -> PlanningPolicy:
    settings = {"horizon": 3, "execute": 1, "history": 1, "warm_start": True, **settings}
    bounded = settings.pop("bounded", True)
    return PlanningPolicy(
        model,
        CEM(candidates=60, elites=8, iterations=5),
        lambda goal: [(1.0, last_step(goal))],
        low=-BOUND,
        high=BOUND,
        bounded=bounded,
        replanning=Replanning(at_once=3, **settings),
    )


def goal_frames() -> np.ndarray:
    return np.stack([draw(p) for p in GOALS])


def test_planning_reaches_image_goals() -> None:
    stage = DotStage(STARTS, GOALS)
    assert isinstance(stage, Stage)
    policy = planning(DotModel())
    policy.begin(goal_frames())
    outcome = play(stage, policy, b=4, budget=30)
    assert outcome.success.all()
    assert (outcome.steps <= 20).all()
    assert outcome.steps[2] <= 3  # next to it
    assert policy.total_plans == outcome.decisions


def test_the_same_seed_gives_the_same_episodes() -> None:
    ends = []
    for _ in range(2):
        stage, policy = DotStage(STARTS, GOALS), planning(DotModel())
        policy.begin(goal_frames())
        play(stage, policy, b=4, budget=12)
        ends.append(stage.at)
    np.testing.assert_array_equal(*ends)


def test_episodes_that_are_over_are_left_alone() -> None:
    stage = DotStage(STARTS, GOALS)
    policy = planning(DotModel(), execute=3)
    policy.begin(goal_frames())
    outcome = play(stage, policy, b=4, budget=30)
    for row in range(4):
        assert sum(row in rows for rows in stage.asked) == outcome.steps[row]


def test_the_budget_holds_within_a_block() -> None:
    stage = DotStage(STARTS, np.full((4, 2), 100.0))
    policy = planning(DotModel())
    policy.begin(goal_frames())
    outcome = play(stage, policy, b=4, budget=7)
    assert len(stage.asked) == 7
    assert not outcome.success.any()
    assert (outcome.steps == 7).all()


@pytest.mark.parametrize(("execute", "history"), [(1, 1), (2, 1), (1, 3), (3, 3)])
def test_replanning_and_history(execute: int, history: int) -> None:
    model = DotModel()
    policy = planning(model, execute=execute, history=history)
    policy.begin(goal_frames()[:3])
    stage = DotStage(STARTS[:3], np.full((3, 2), 100.0))
    play(stage, policy, b=3, budget=6 * SKIP)
    assert policy.total_plans == 3 * 6 // execute
    seen = [1 + min(history - 1, k) for k in range(0, 6, execute)]
    found = list(dict.fromkeys(model.pasts))
    assert found == list(dict.fromkeys((t, t - 1) for t in seen))
    assert model.encoded == 3 + 3 * (6 if history > 1 else 6 // execute)


def test_the_past_is_what_was_done() -> None:
    model, pasts = DotModel(), []

    def rollout(z: Tensor, past_actions: Tensor, candidates: Tensor) -> Tensor:
        pasts.append((z, past_actions))
        return DotModel.rollout(model, z, past_actions, candidates)

    model.rollout = rollout  # type: ignore[method-assign]
    policy = planning(model, history=3)
    policy.begin(goal_frames()[:1])
    stage = DotStage(STARTS[:1], np.full((1, 2), 100.0))
    play(stage, policy, b=1, budget=4 * SKIP)
    z, past = pasts[-1]
    moves = SPEED * (0.5 * past).unflatten(-1, (SKIP, 2)).sum(-2)
    torch.testing.assert_close(z.diff(dim=1), moves, atol=0.3, rtol=0)


def test_the_past_is_what_was_executed_where_actions_are_cut() -> None:
    """A planner without bounds, as published: what lies beyond them never happened."""
    model, pasts, asked = DotModel(), [], []

    def rollout(z: Tensor, past_actions: Tensor, candidates: Tensor) -> Tensor:
        pasts.append(past_actions)
        return DotModel.rollout(model, z, past_actions, candidates)

    model.rollout = rollout  # type: ignore[method-assign]
    policy = planning(model, history=3, bounded=False)
    policy.begin(np.stack([draw(np.array([30.0, 30.0]))]))
    at = np.array([[4.0, 4.0]])
    for _ in range(3):
        actions = policy.act(DotStage(at, GOALS[:1]).look(np.arange(1)))
        asked.append(actions)
        at = np.clip(at + SPEED * np.clip(actions[0], -1, 1).sum(0), 2, 30)
    assert np.abs(asked[0]).max() > 1.2  # the planner does go beyond
    done = np.clip(np.concatenate(asked[:2], 1), -1, 1).reshape(1, 2, -1)
    np.testing.assert_allclose(0.5 * pasts[-1].numpy(), done, atol=1e-6)


def test_actions_that_are_cut_are_counted() -> None:
    stage = PlatformStage.__new__(PlatformStage)
    stage.low, stage.high, stage.taken, stage.cut = -BOUND, BOUND, 0, 0
    stage.frames = np.zeros((4, 8, 8, 3), np.uint8)
    sent = []

    def step(every: np.ndarray, mask: np.ndarray) -> Any:
        sent.append(every[mask])
        infos = {"pixels": np.zeros((4, 1, 8, 8, 3), np.uint8)}
        return None, None, np.zeros(4, bool), None, infos

    stage.world = SimpleNamespace(envs=SimpleNamespace(step=step), infos={})
    stage.step(np.array([0, 2, 3]), np.array([[0.5, 1.0 + 1e-6], [0.0, -1.5], [9.0, 9.0]]))
    stage.step(np.array([2]), np.array([[1.0, -1.0]]))
    assert (stage.taken, stage.cut) == (4, 2)
    np.testing.assert_allclose(sent[0], [[0.5, 1], [0, -1], [1, 1]])


def test_goal_images_of_another_size_are_resized_and_oblong_ones_refused() -> None:
    model = DotModel()
    large = np.stack([draw(p, 96) for p in GOALS])
    small = encode_frames(model, goal_frames())
    torch.testing.assert_close(encode_frames(model, large), small, atol=0.6, rtol=0)
    with pytest.raises(UserError, match="96 x 64 pixels; the model sees squares of 32"):
        encode_frames(model, large[:, :64])


def test_baselines() -> None:
    line = straight_line("swm/TwoRoom-v1", [{"proprio": goal} for goal in GOALS])
    assert line is not None
    assert play(DotStage(STARTS, GOALS), line, b=4, budget=30).success.all()
    assert straight_line("swm/Unknown-v0", []) is None
    chance = RandomPolicy(-BOUND, BOUND)
    chance.begin(goal_frames())
    actions = chance.act(DotStage(STARTS, GOALS).look(np.arange(4)))
    assert actions.shape == (4, 1, 2)
    scripted = ScriptedPolicy(lambda seen: np.sign(GOALS[seen.rows] - seen.state["proprio"]))
    assert play(DotStage(STARTS, GOALS), scripted, b=4, budget=30).success.any()


# Pairs and rates


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


# Recipes


def test_recipes_are_adapted() -> None:
    same = adapted(PUBLISHED, {"planner": None, "horizon": None}, frame_skip=5)
    assert same == PUBLISHED
    changed = adapted(
        PUBLISHED, {"planner": "icem", "horizon": 8, "candidates": 64, "cost": "any"}, frame_skip=5
    )
    settings = describe(changed)
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
    films = [[draw(p) for p in (a, b, b)] for a, b in zip(STARTS, GOALS)]
    film = Film(films, goal_frames(), np.array([True] * 4))
    write_film(tmp_path / "new" / "film.gif", film)
    import imageio.v3 as iio

    shown = iio.imread(tmp_path / "new" / "film.gif")
    assert shown.shape[1:] == (4 * 136, 2 * 136, 3)
    assert len(shown) >= 2
    with pytest.raises(UserError, match=r"end in \.gif or \.mp4"):
        write_film(tmp_path / "film.avi", film)


def test_a_cloned_policy_acts_for_each_frame_and_its_own_goal() -> None:
    spec = replace(
        preset("lewm-micro").spec, frame_size=32, frame_skip=SKIP, action_dim=2 * SKIP,
        action_mean=(0.5, -1.0), action_std=(0.1, 2.0),
    )  # fmt: skip
    torch.manual_seed(0)
    policy = GoalPolicy(spec).eval()
    cloned = ClonedPolicy(policy)
    assert isinstance(cloned, Policy)
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    cloned.begin(frames[2:])
    actions = cloned.act(Seen(np.array([2, 0]), frames[:2], {}))
    x = torch.from_numpy(frames).permute(0, 3, 1, 2)
    with torch.no_grad():
        blocks = policy(x[:2], x[[4, 2]]).reshape(2, SKIP, 2).numpy()
    np.testing.assert_allclose(actions, [0.5, -1.0] + blocks * [0.1, 2.0], rtol=1e-5, atol=1e-6)
    twice = frames.repeat(2, 1).repeat(2, 2)  # is resized
    cloned.begin(twice[2:])
    again = cloned.act(Seen(np.array([2, 0]), twice[:2], {}))
    np.testing.assert_allclose(again, actions, rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match="squares of 32"):
        cloned.begin(frames[:, :20])
