"""Learnt reachability and the policy without search: forms, batches, training, and bad input."""

import functools
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.world.control.direct import (
    DirectGoalPolicy,
    StepsTo,
    Waypoints,
    gains_enough,
    imagined_plan,
)
from isojepa.world.learning.direct import (
    DirectConfig,
    Learner,
    Played,
    build_networks,
    train_direct,
)
from isojepa.world.learning.goal_networks import (
    GoalNetworks,
    GoalSizes,
    Reachability,
    load_goal_networks,
    weights_digest,
)
from isojepa.world.model.world_model import export_world_model, load_world_model
from tests.world.latent_models import Positions

pytest.importorskip("h5py")
from isojepa.world.control.config import PlanConfig, open_control, settled
from isojepa.world.control.planning import PlanningPolicy, load_policy
from isojepa.world.planners.cem import ICEM
from isojepa.world.planners.costs import Terms, last_step
from tests.world.control.test_policies import (
    BOUND,
    GOALS,
    STARTS,
    DotEnv,
    check_policy,
    dot_model,
    draw,
)
from tests.world.studied import studied_run

SKIP, SIZES = 3, GoalSizes(embedding_dim=2, action_dim=6, frame_skip=3, hidden=64)


def test_steps_obey_the_triangle_inequality_and_are_none_to_oneself() -> None:
    torch.manual_seed(0)
    reach = Reachability(GoalSizes(embedding_dim=5, action_dim=2, frame_skip=1, hidden=32))
    a, b, c = 3 * torch.randn(3, 500, 5)
    assert (reach(a, c) <= reach(a, b) + reach(b, c) + 1e-5).all()
    assert (reach(a, a) < 1e-3).all()
    assert (reach(a, b) > 0).all()
    assert ((reach(a, b) - reach(b, a)).abs() > 1e-3).any()  # there and back may differ


def line_world(n: int = 40, length: int = 30) -> Played:
    """Episodes of a point on a plane that wanders by at most a unit a step."""
    rng, z, actions = np.random.default_rng(0), [], []
    for _ in range(n):
        push = rng.uniform(-1, 1, (length, 2)) / np.sqrt(2)
        push[-1] = 0
        z.append(np.cumsum(np.vstack([rng.uniform(-4, 4, (1, 2)), push[:-1]]), 0))
        actions.append(push)
    last = np.repeat(np.arange(1, n + 1) * length - 1, length)
    rows = (torch.tensor(np.concatenate(x), dtype=torch.float32) for x in (z, actions))
    return Played(*rows, last, SKIP)


def test_batches_hold_what_they_say() -> None:
    played = line_world()
    moves = played.moves(seed=0, step=3, n=200)
    again, other = played.moves(0, 3, 200), played.moves(0, 4, 200)
    assert all(torch.equal(x, y) for x, y in zip(moves, again))
    assert not torch.equal(moves.z, other.z)
    rows = {tuple(z.tolist()): i for i, z in enumerate(played.z)}
    now, later, soon = (
        np.array([rows[tuple(z.tolist())] for z in part])
        for part in (moves.z, moves.later, moves.soon)
    )
    np.testing.assert_array_equal(later - now, moves.steps.numpy())
    np.testing.assert_array_equal(soon - now, moves.soon_steps.numpy())
    assert (played.last[now] == played.last[later]).all()  # of the same episode
    assert (moves.steps >= 1).all()
    assert set(moves.soon_steps.tolist()) == {1.0, 2.0, 3.0}
    arrived = moves.z + moves.done.unflatten(1, (SKIP, 2)).sum(1)
    torch.testing.assert_close(arrived, played.z[torch.from_numpy(now + SKIP)], atol=1e-4, rtol=0)


@functools.cache
def trained(steps: int = 400) -> tuple[GoalNetworks, Positions]:
    torch.manual_seed(0)
    played, world = line_world(), Positions(8, frame_skip=SKIP)
    networks = build_networks(SIZES, played, seed=0)
    learner = Learner(networks, world)
    adam = torch.optim.AdamW(networks.parameters(), lr=3e-3)
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = 3e-3 * (1 - step / steps) + 1e-5
        adam.zero_grad()
        learner(played.moves(0, step, 128)).loss.backward()
        adam.step()
    return networks.eval(), world


def test_it_learns_how_far_and_where_to_from_random_walks() -> None:
    networks, world = trained()
    a, b = 4 * (2 * torch.rand(2, 300, 2, generator=torch.Generator().manual_seed(1)) - 1)
    apart = (a - b).norm(dim=1)
    with torch.no_grad():
        steps = networks.reach(a, b)
    assert np.corrcoef(steps, apart)[0, 1] > 0.9
    # A block brings the goal nearer by the world itself, about as far as blocks can go
    far = apart > 3
    block = networks.act(a[far], b[far])
    moved = a[far] + block.unflatten(1, (SKIP, 2)).sum(1)
    gained = apart[far] - (moved - b[far]).norm(dim=1)
    assert gained.mean() > 1.2  # of at most 3 / sqrt(2) to 3; a random block gains 0
    assert (gained > 0).float().mean() > 0.95
    low, high = networks.direct.low, networks.direct.high
    assert ((block >= low) & (block <= high)).all()
    plan = imagined_plan(world, networks, a[:4], b[:4], horizon=3)
    assert plan.shape == (4, 3, 6)
    torch.testing.assert_close(plan[:, 0], networks.act(a[:4], b[:4]))
    cost = StepsTo.to(networks.reach, b[:4])
    z = torch.randn(4, 5, 3, 2)
    torch.testing.assert_close(cost(z)[2, 1, 0], networks.reach(z[2, 1, 0], b[2]))
    torch.testing.assert_close(cost.select(torch.tensor([2]))(z[2:3]), cost(z)[2:3])


def test_subgoals_lie_within_reach_and_on_the_way() -> None:
    networks, world = trained()
    side = torch.linspace(-4, 4, 33)
    way = Waypoints.among(networks.reach, torch.cartesian_prod(side, side), within=4.0)
    a, b = 4 * (2 * torch.rand(2, 300, 2, generator=torch.Generator().manual_seed(2)) - 1)
    aim = way(a, b)
    with torch.no_grad():
        whole, first, rest = networks.reach(a, b), networks.reach(a, aim), networks.reach(aim, b)
    near = whole <= 4
    assert 0.05 < near.float().mean() < 0.95
    assert torch.equal(aim[near], b[near])
    assert (first[~near] <= 4 + 1e-4).all()
    assert (rest[~near] < whole[~near]).all()
    on_the_way = (aim - b).norm(dim=1) < (a - b).norm(dim=1)
    assert on_the_way[~near].float().mean() > 0.9
    model = DirectGoalPolicy(world, networks, low=-BOUND, high=BOUND, waypoints=way)
    assert model.waypoints is way


def test_a_proposal_is_judged_by_the_steps_that_it_gains() -> None:
    networks, world = trained()
    a, b = 4 * (2 * torch.rand(2, 300, 2, generator=torch.Generator().manual_seed(3)) - 1)
    plan = imagined_plan(world, networks, a, b, horizon=3)
    judged = [gains_enough(world, networks, share, a, b, plan) for share in (0.0, 0.3, 1e6)]
    shares = [x.float().mean().item() for x in judged]
    assert shares[0] >= shares[1] > 0.8
    assert shares[2] == 0
    assert not gains_enough(world, networks, 0.3, a, b, torch.zeros_like(plan)).any()


def test_what_is_trusted_is_not_searched() -> None:
    model, n = dot_model(), len(STARTS)
    asked: list[torch.Tensor] = []

    def towards(goal: torch.Tensor) -> Terms:
        asked.append(goal)
        return [(1.0, last_step(goal))]

    planner = ICEM(candidates=8, elites=2, iterations=1)
    policy = PlanningPolicy(model, planner, towards, low=-BOUND, high=BOUND, horizon=2)
    policy.propose = lambda z, _goal, h: torch.full((len(z), h, model.action_dim), 0.25)
    policy.trusts = lambda z, _goal, _plan: torch.arange(len(z)) % 2 == 0
    policy.waypoints = lambda _z, goal: goal + 7  # type: ignore[assignment]
    env = DotEnv(STARTS, GOALS)
    policy.begin(n, np.stack([draw(goal) for goal in GOALS]))
    policy.actions(env.observe(np.arange(n)))
    assert (policy._plan[::2] == 0.25).all()
    assert all((plan != 0.25).any() for plan in policy._plan[1::2])
    whole, searched = asked
    torch.testing.assert_close(searched, whole[1::2] + 7)
    assert policy.total_plans == n
    policy.trusts = lambda z, _goal, _plan: torch.ones(len(z), dtype=torch.bool)
    before = policy.total_evaluations
    policy.actions(env.observe(np.arange(n)))
    assert policy.total_evaluations == before > 0


def test_the_policys_gradient_leaves_reachability_and_model_alone() -> None:
    played, world = line_world(), Positions(8, frame_skip=SKIP)
    learner = Learner(build_networks(SIZES, played, seed=0), world)
    progress, imitation = learner._policy(played.moves(0, 0, 32))
    (progress + imitation).backward()
    assert all(x.grad is None for x in learner.networks.reach.parameters())
    assert all(x.grad is not None for x in learner.networks.direct.parameters())
    assert not [name for name in learner.state_dict() if "world" in name]


@pytest.fixture(scope="module")
def directed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("direct") / "run"
    shutil.copytree(studied_run(), folder)
    train_direct(DirectConfig(run=folder, steps=30, batch_size=32, device="cpu", tensorboard=False))
    return folder


def test_a_run_gets_a_direct_policy(directed: Path) -> None:
    check_policy(lambda: load_policy(directed, [-1, -1], [1, 1], device="cpu"), True)
    policy = load_policy(directed, [-1, -1], [1, 1], device="cpu")
    assert isinstance(policy, DirectGoalPolicy)
    env, goal = DotEnv(STARTS[:1], GOALS[:1]), draw(GOALS[0])
    policy.reset()
    action = policy.act(env.observe(np.zeros(1, int)).frames[0], goal)
    assert action.shape == (2,)


def test_training_resumes_to_the_same(directed: Path, tmp_path: Path) -> None:
    half = tmp_path / "run"
    shutil.copytree(studied_run(), half)
    asked: dict[str, Any] = {"batch_size": 32, "device": "cpu", "tensorboard": False}
    stopped = DirectConfig(run=half, steps=30, save_every=10, max_minutes=1e-9, **asked)
    with pytest.raises(Exception, match="resume"):
        train_direct(stopped)
    train_direct(DirectConfig(run=half, resume=True, max_minutes=60.0, **asked))
    one, two = (load_goal_networks(folder) for folder in (directed, half))
    assert one is not None
    assert two is not None
    pairs = zip(one.state_dict().values(), two.state_dict().values())
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_direct_policy_of_other_weights_is_refused(directed: Path, tmp_path: Path) -> None:
    other = shutil.copytree(directed, tmp_path / "run")
    assert load_goal_networks(other, weights_digest(other)) is not None
    world = load_world_model(other)
    with torch.no_grad():
        next(world.parameters()).flatten()[0] += 1
    export_world_model(other / "world_model", world)
    with pytest.raises(UserError, match=r"trained on other weights.*--overwrite"):
        load_policy(other, [-1, -1], [1, 1])
    assert load_goal_networks(studied_run()) is None


def test_the_default_planner_is_the_direct_policy_where_there_is_one() -> None:
    asked = PlanConfig(run=Path("run"))
    assert settled(asked, direct=True).planner == "direct"
    assert settled(asked, direct=False).planner is None
    for said in ({"candidates": 9}, {"recipe": "published"}, {"planner": "icem"}, {"seeded": True}):
        assert settled(replace(asked, **said), direct=True) == replace(asked, **said)  # type: ignore[arg-type]


def test_what_needs_a_direct_policy_says_so() -> None:
    pytest.importorskip("stable_worldmodel")
    config = PlanConfig(run=studied_run(), env="swm/TwoRoom-v1", device="cpu")
    needing = ({"planner": "direct"}, {"seeded": True}, {"distance": "reach"}, {"subgoals": True})
    for said in needing:
        with pytest.raises(UserError, match="has no direct policy; isojepa world direct --run"):
            open_control(replace(config, **said))  # type: ignore[arg-type]
    for said, words in (  # type: ignore[assignment]
        ({"trust": 0.9}, "--trust is of what a search begins at: give --seeded too"),
        ({"subgoals": True, "distance": "geodesic"}, "--subgoals leads through the data as"),
    ):
        with pytest.raises(UserError, match=words):
            open_control(replace(config, **said))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"--trust must lie in \[0, 1\]"):
        replace(config, trust=2.0)
    with pytest.raises(UserError, match="--candidates: the direct policy does not search"):
        open_control(replace(config, planner="direct", candidates=9))
