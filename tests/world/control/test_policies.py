"""Policies: one contract for a robot's loop, replanning in vector environments, baselines."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.world.control.frames import encode_frames
from isojepa.world.control.planning import PlanningPolicy, load_policy, open_policy
from isojepa.world.control.policy import Observation, Policy, VectorPolicy
from isojepa.world.control.scripted import ClonedPolicy, RandomPolicy, ScriptedPolicy, straight_line
from isojepa.world.control.vector_env import GoalEnv, PlatformEnv, run_episodes
from isojepa.world.environments.environment import Environment
from isojepa.world.environments.pixel_env import RawActions
from isojepa.world.learning.cloning import GoalPolicy
from isojepa.world.model.presets import preset
from isojepa.world.planners.cem import CEM, ICEM
from isojepa.world.planners.costs import last_step
from isojepa.world.planners.planners import GradientPlanner, RandomShooting
from tests.world.episode_files import SPEED, draw
from tests.world.latent_models import Positions
from tests.world.studied import studied_run

pytest.importorskip("h5py")

SKIP = 3


def dot_model() -> Positions:
    """Knows the dots' world exactly: green is missing where the dot is."""
    return Positions(32, frame_skip=SKIP, move=SPEED, std=0.5, shown=lambda x: 255 - x[:, :, 1])


class DotEnv:
    """The dots' world; a goal counts as reached within 1.5 pixels, strictly within `near`."""

    def __init__(self, starts: np.ndarray, goals: np.ndarray, *, near: float | None = None) -> None:
        self.at, self.goals, self.near = starts.copy(), goals, near
        self.asked: list[list[int]] = []

    def observe(self, rows: np.ndarray) -> Observation:
        frames = np.stack([draw(p) for p in self.at[rows]])
        return Observation(rows, frames, {"proprio": self.at[rows]})

    def step(self, rows: np.ndarray, actions: np.ndarray) -> np.ndarray:
        self.asked.append(rows.tolist())
        assert (np.abs(actions) <= 1 + 1e-5).all()
        self.at[rows] = np.clip(self.at[rows] + SPEED * actions, 2, 30)
        return np.linalg.norm(self.at[rows] - self.goals[rows], axis=1) < 1.5

    def strictly(self, rows: np.ndarray) -> np.ndarray | None:
        if self.near is None:
            return None
        return np.linalg.norm(self.at[rows] - self.goals[rows], axis=1) < self.near


STARTS = np.array([[6.0, 6], [25, 8], [16, 16], [8, 24]])
GOALS = np.array([[20.0, 18], [10, 20], [17, 16], [9, 9]])
BOUND = np.ones(2, np.float32)


def planning(model: Any, **settings: Any) -> PlanningPolicy:
    settings = {"horizon": 3, "execute": 1, "history": 1, "warm_start": True, **settings}
    return PlanningPolicy(
        model,
        CEM(candidates=60, elites=8, iterations=5),
        lambda goal: [(1.0, last_step(goal))],
        low=-BOUND,
        high=BOUND,
        at_once=3,
        **settings,
    )


def cloned() -> ClonedPolicy:
    spec = replace(
        preset("lewm-micro").spec, frame_size=32, frame_skip=SKIP, action_dim=2 * SKIP,
        action_mean=(0.5, -1.0), action_std=(0.1, 2.0),
    )  # fmt: skip
    torch.manual_seed(0)
    return ClonedPolicy(GoalPolicy(spec).eval())


def position() -> dict[str, np.ndarray]:
    return {"proprio": STARTS[:1]}


POLICIES: dict[str, tuple[Callable[[], VectorPolicy | None], bool]] = {
    "planning": (lambda: planning(dot_model()), True),
    "planning with a past": (lambda: planning(dot_model(), execute=2, history=3), True),
    "planning without bounds": (lambda: planning(dot_model(), bounded=False), True),
    "cloned": (cloned, True),
    "random": (lambda: RandomPolicy(-BOUND, BOUND), False),
    "scripted": (lambda: ScriptedPolicy(lambda now: now.state["proprio"] / 32, position), False),
    "straight line": (
        lambda: straight_line("swm/TwoRoom-v1", [{"proprio": GOALS[0]}], position),
        False,
    ),
}


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_passes_the_checker(name: str) -> None:
    make, heeds_goal = POLICIES[name]
    check_policy(make, heeds_goal)


def check_policy(make: Callable[[], VectorPolicy | None], heeds_goal: bool) -> None:
    """What holds for every policy that a robot's loop may call."""
    policy, far, near = make(), draw(GOALS[0]), draw(GOALS[2])
    assert isinstance(policy, Policy)
    assert isinstance(policy, VectorPolicy)
    frames = [draw(STARTS[0] + 0.5 * k) for k in range(2 * SKIP + 1)]
    kept = [frame.copy() for frame in frames]

    def acts(policy: Policy, *goals: np.ndarray | None) -> np.ndarray:
        given = [*goals, *[None] * (len(frames) - len(goals))]
        return np.stack([policy.act(frame, goal) for frame, goal in zip(frames, given)])

    with pytest.raises(UserError, match=r"before policy\.reset\(\)"):
        policy.act(frames[0], far)
    policy.reset()
    with pytest.raises(UserError, match=r"goal has the shape \(8, 8\) of float64"):
        policy.act(frames[0], np.zeros((8, 8)))
    with pytest.raises(UserError, match=r"frame has the shape \(32, 32\) of uint8"):
        policy.act(frames[0][..., 0], far)
    taken = acts(policy, far)
    assert taken.shape == (len(frames), 2)
    assert np.isfinite(taken).all()
    if policy.bounds is not None:
        low, high = policy.bounds
        assert (taken >= low).all()
        assert (taken <= high).all()
    assert all((a == b).all() for a, b in zip(frames, kept))

    # The same after a reset, in a policy of its own, and with the goal said again at every step
    policy.reset()
    np.testing.assert_array_equal(acts(policy, far), taken)
    other = make()
    assert other is not None
    other.reset()
    np.testing.assert_array_equal(acts(other, *[far.copy() for _ in frames]), taken)

    # What it does in a vector environment of one
    other = make()
    assert other is not None
    other.begin(1, far[None])
    block = other.actions(Observation(np.zeros(1, int), frames[0][None], position()))[0]
    cut = block if policy.bounds is None else np.clip(block, *policy.bounds)
    np.testing.assert_array_equal(cut, taken[: len(block)])

    policy.reset()
    if heeds_goal:
        with pytest.raises(UserError, match="needs a goal"):
            policy.act(frames[0])
        assert (acts(policy, near) != taken).any()
        assert (acts(policy, far)[: len(block)] == taken[: len(block)]).all()  # begins anew
    else:
        np.testing.assert_array_equal(acts(policy), taken)


def test_a_run_is_a_policy_for_a_robot() -> None:
    policy = open_policy(studied_run(), low=[-1, -1], high=[1, 1], device="cpu")
    check_policy(lambda: open_policy(studied_run(), low=[-1, -1], high=[1, 1], device="cpu"), True)
    assert policy.planner.block == policy.model.frame_skip == 2  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="actions have 2 dimensions; low and high have 3 and 3"):
        open_policy(studied_run(), low=[-1] * 3, high=[1] * 3)
    with pytest.raises(UserError, match="no trained world model"):
        open_policy(studied_run().parent, low=[-1], high=[1])
    with pytest.raises(UserError, match="low has to be below high"):
        load_policy(studied_run(), [-1, 1], [1, 1])
    planned, loaded = (
        make(studied_run(), low=[-1, -1], high=[1, 1], device="cpu")
        for make in (open_policy, load_policy)
    )
    assert isinstance(loaded, PlanningPolicy)  # without a direct policy
    for policy in (planned, loaded):
        policy.reset()
    frame, goal = draw(STARTS[0]), draw(GOALS[0])
    np.testing.assert_array_equal(planned.act(frame, goal), loaded.act(frame, goal))


def test_a_robots_loop_reaches_its_goal() -> None:
    env, policy, goal = DotEnv(STARTS[:1], GOALS[:1]), planning(dot_model()), draw(GOALS[0])
    one = np.zeros(1, int)
    policy.reset()
    reached = [
        env.step(one, policy.act(env.observe(one).frames[0], goal)[None])[0] for _ in range(20)
    ]
    assert any(reached)


def goal_frames() -> np.ndarray:
    return np.stack([draw(p) for p in GOALS])


def test_planning_reaches_image_goals() -> None:
    env = DotEnv(STARTS, GOALS)
    assert isinstance(env, GoalEnv)
    policy = planning(dot_model())
    policy.begin(4, goal_frames())
    outcome = run_episodes(env, policy, b=4, budget=30)
    assert outcome.success.all()
    assert (outcome.steps <= 20).all()
    assert outcome.steps[2] <= 3  # next to it
    assert policy.total_plans == outcome.decisions


def test_the_same_seed_gives_the_same_episodes() -> None:
    ends = []
    for _ in range(2):
        env, policy = DotEnv(STARTS, GOALS), planning(dot_model())
        policy.begin(4, goal_frames())
        run_episodes(env, policy, b=4, budget=12)
        ends.append(env.at)
    np.testing.assert_array_equal(*ends)


def test_episodes_go_on_until_both_rules_hold() -> None:
    lax, both = DotEnv(STARTS, GOALS), DotEnv(STARTS, GOALS, near=0.7)
    outcomes = []
    for env in (lax, both):
        policy = planning(dot_model())
        policy.begin(4, goal_frames())
        outcomes.append(run_episodes(env, policy, b=4, budget=60))
    one, two = outcomes
    assert one.strict is None
    np.testing.assert_array_equal(one.steps, two.steps)  # the first rule's are as they were
    assert two.strict is not None
    assert two.success[two.strict].all()
    assert (two.strict_steps >= two.steps).all()
    assert two.strict.any()
    never = DotEnv(STARTS, GOALS, near=0.0)
    policy = planning(dot_model())
    policy.begin(4, goal_frames())
    never_strictly = run_episodes(never, policy, b=4, budget=24)
    assert never_strictly.success.all()
    assert (never_strictly.strict_steps == 24).all()
    assert len(never.asked) == 24


@pytest.mark.parametrize(
    "planner",
    [
        CEM(candidates=60, elites=8, iterations=5),
        ICEM(candidates=32, elites=6, iterations=6, tolerance=0.3, improvement=0.05, block=SKIP),
        RandomShooting(candidates=50),
        GradientPlanner(starts=4, iterations=25, improvement=0.01),
    ],
    ids=lambda planner: type(planner).__name__,
)
def test_an_episode_does_not_depend_on_those_played_beside_it(planner: Any) -> None:
    seeds, ends = [11, 12, 13, 14], {}
    for rows in ([0, 1, 2, 3], [2], [3, 1], [1, 0, 3]):
        env = DotEnv(STARTS[rows], GOALS[rows])
        policy = PlanningPolicy(
            dot_model(), planner, lambda goal: [(1.0, last_step(goal))], low=-BOUND, high=BOUND,
            horizon=3, seed=[seeds[i] for i in rows], at_once=3,
        )  # fmt: skip
        policy.begin(len(rows), goal_frames()[rows])
        outcome = run_episodes(env, policy, b=len(rows), budget=12)
        for place, row in enumerate(rows):
            end = (*env.at[place].tolist(), int(outcome.steps[place]))
            assert ends.setdefault(row, end) == end
    chance = RandomPolicy(-BOUND, BOUND, seed=[7, 8])
    chance.begin(2, None)
    both = chance.actions(Observation(np.arange(2), goal_frames()[:2], {}))
    chance = RandomPolicy(-BOUND, BOUND, seed=[8])
    chance.begin(1, None)
    alone = chance.actions(Observation(np.arange(1), goal_frames()[:1], {}))
    np.testing.assert_array_equal(both[1], alone[0])


def test_episodes_that_are_over_are_left_alone() -> None:
    env = DotEnv(STARTS, GOALS)
    policy = planning(dot_model(), execute=3)
    policy.begin(4, goal_frames())
    outcome = run_episodes(env, policy, b=4, budget=30)
    for row in range(4):
        assert sum(row in rows for rows in env.asked) == outcome.steps[row]


def test_the_budget_holds_within_a_block() -> None:
    env = DotEnv(STARTS, np.full((4, 2), 100.0))
    policy = planning(dot_model())
    policy.begin(4, goal_frames())
    outcome = run_episodes(env, policy, b=4, budget=7)
    assert len(env.asked) == 7
    assert not outcome.success.any()
    assert (outcome.steps == 7).all()


@pytest.mark.parametrize(("execute", "history"), [(1, 1), (2, 1), (1, 3), (3, 3)])
def test_replanning_and_history(execute: int, history: int) -> None:
    model = dot_model()
    policy = planning(model, execute=execute, history=history)
    policy.begin(3, goal_frames()[:3])
    env = DotEnv(STARTS[:3], np.full((3, 2), 100.0))
    run_episodes(env, policy, b=3, budget=6 * SKIP)
    assert policy.total_plans == 3 * 6 // execute
    seen = [1 + min(history - 1, k) for k in range(0, 6, execute)]
    found = list(dict.fromkeys((z.shape[1], past.shape[1]) for z, past in model.pasts))
    assert found == list(dict.fromkeys((t, t - 1) for t in seen))
    assert model.encoded == 3 + 3 * (6 if history > 1 else 6 // execute)


def test_the_past_is_what_was_done() -> None:
    model = dot_model()
    policy = planning(model, history=3)
    policy.begin(1, goal_frames()[:1])
    env = DotEnv(STARTS[:1], np.full((1, 2), 100.0))
    run_episodes(env, policy, b=1, budget=4 * SKIP)
    z, past = model.pasts[-1]
    moves = SPEED * (0.5 * past).unflatten(-1, (SKIP, 2)).sum(-2)
    torch.testing.assert_close(z.diff(dim=1), moves, atol=0.3, rtol=0)


def test_the_past_is_what_was_executed_where_actions_are_cut() -> None:
    """A planner without bounds, as published: what lies beyond them never happened."""
    model, asked = dot_model(), []
    policy = planning(model, history=3, bounded=False)
    policy.begin(1, np.stack([draw(np.array([30.0, 30.0]))]))
    at = np.array([[4.0, 4.0]])
    for _ in range(3):
        actions = policy.actions(DotEnv(at, GOALS[:1]).observe(np.arange(1)))
        asked.append(actions)
        at = np.clip(at + SPEED * np.clip(actions[0], -1, 1).sum(0), 2, 30)
    assert np.abs(asked[0]).max() > 1.2  # the planner does go beyond
    done = np.clip(np.concatenate(asked[:2], 1), -1, 1).reshape(1, 2, -1)
    np.testing.assert_allclose(0.5 * model.pasts[-1][1].numpy(), done, atol=1e-6)


def test_actions_that_are_cut_are_counted() -> None:
    env = PlatformEnv.__new__(PlatformEnv)
    env.low, env.high, env.taken, env.cut, env.env_id = -BOUND, BOUND, 0, 0, "dots"
    env.acts, env._over = RawActions(False, 0, -BOUND, BOUND), np.zeros(4, bool)
    env.known = Environment(id="dots")
    env._rule = None
    env.frames = np.zeros((4, 8, 8, 3), np.uint8)
    sent = []

    def step(every: np.ndarray, mask: np.ndarray) -> Any:
        sent.append(every[mask])
        infos = {"pixels": np.zeros((4, 1, 8, 8, 3), np.uint8)}
        return None, None, np.zeros(4, bool), None, infos

    env.world = SimpleNamespace(envs=SimpleNamespace(step=step), infos={})
    env.step(np.array([0, 2, 3]), np.array([[0.5, 1.0 + 1e-6], [0.0, -1.5], [9.0, 9.0]]))
    env.step(np.array([2]), np.array([[1.0, -1.0]]))
    assert env.strictly(np.array([2])) is None
    assert (env.taken, env.cut) == (4, 2)
    np.testing.assert_allclose(sent[0], [[0.5, 1], [0, -1], [1, 1]])


def test_an_environment_that_fails_is_named() -> None:
    env = PlatformEnv.__new__(PlatformEnv)
    env.low, env.high, env.taken, env.cut, env.env_id = -BOUND, BOUND, 0, 0, "dots/v0"
    env.acts, env._over = RawActions(False, 0, -BOUND, BOUND), np.zeros(1, bool)
    env.frames, env._rule = np.zeros((1, 8, 8, 3), np.uint8), None

    def step(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("lost its footing")

    env.world = SimpleNamespace(envs=SimpleNamespace(step=step), infos={})
    with pytest.raises(UserError, match=r"dots/v0: the environment failed at a step.*footing"):
        env.step(np.zeros(1, int), np.zeros((1, 2)))


def test_goal_images_of_another_size_are_resized_and_oblong_ones_refused() -> None:
    model = dot_model()
    large = np.stack([draw(p, 96) for p in GOALS])
    small = encode_frames(model, goal_frames())
    torch.testing.assert_close(encode_frames(model, large), small, atol=0.6, rtol=0)
    with pytest.raises(UserError, match="96 x 64 pixels; the model sees squares of 32"):
        encode_frames(model, large[:, :64])


def test_baselines() -> None:
    line = straight_line("swm/TwoRoom-v1", [{"proprio": goal} for goal in GOALS])
    assert line is not None
    assert run_episodes(DotEnv(STARTS, GOALS), line, b=4, budget=30).success.all()
    assert straight_line("swm/Unknown-v0", []) is None
    chance = RandomPolicy(-BOUND, BOUND)
    chance.begin(4, goal_frames())
    actions = chance.actions(DotEnv(STARTS, GOALS).observe(np.arange(4)))
    assert actions.shape == (4, 1, 2)
    scripted = ScriptedPolicy(lambda now: np.sign(GOALS[now.rows] - now.state["proprio"]))
    assert run_episodes(DotEnv(STARTS, GOALS), scripted, b=4, budget=30).success.any()


def test_a_cloned_policy_acts_for_each_frame_and_its_own_goal() -> None:
    clone = cloned()
    policy = clone.network
    frames = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    clone.begin(3, frames[2:])
    actions = clone.actions(Observation(np.array([2, 0]), frames[:2], {}))
    x = torch.from_numpy(frames).permute(0, 3, 1, 2)
    with torch.no_grad():
        blocks = policy(x[:2], x[[4, 2]]).reshape(2, SKIP, 2).numpy()
    np.testing.assert_allclose(actions, [0.5, -1.0] + blocks * [0.1, 2.0], rtol=1e-5, atol=1e-6)
    twice = frames.repeat(2, 1).repeat(2, 2)  # is resized
    clone.begin(3, twice[2:])
    again = clone.actions(Observation(np.array([2, 0]), twice[:2], {}))
    np.testing.assert_allclose(again, actions, rtol=1e-3, atol=1e-3)
    with pytest.raises(UserError, match="squares of 32"):
        clone.begin(5, frames[:, :20])
