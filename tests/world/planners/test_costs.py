"""Costs: values by hand, distances around a wall, gradients, and the same for a subset of
episodes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from torch import Tensor

from isojepa.world.learning.whitening import whitening
from isojepa.world.planners.costs import (
    ModelRollout,
    Term,
    WeightedCost,
    action_penalty,
    any_step,
    last_step,
    path_distance,
    reward,
    value,
)
from isojepa.world.planners.distances import (
    EmbeddingGraph,
    Euclidean,
    SquaredEuclidean,
    Whitened,
    soft_minimum,
)
from isojepa.world.planners.planners import GradientPlanner
from isojepa.world.planners.problem import Problem
from tests.world.latent_models import Positions
from tests.world.studied import studied_run

B, S, H, A, D = 3, 5, 4, 2, 2


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rollout(b: int = B) -> ModelRollout:
    return ModelRollout(Positions(), draws(b, 1, D, seed=5), torch.zeros(b, 0, A))


def test_aggregates_by_hand() -> None:
    goal, z, actions = draws(B, D), draws(B, S, H, D, seed=1), draws(B, S, H, A, seed=2)
    squared = (z - goal[:, None, None]).square().sum(-1)
    torch.testing.assert_close(last_step(goal)(z, actions), squared[..., -1])
    torch.testing.assert_close(any_step(goal)(z, actions), squared.amin(-1))
    torch.testing.assert_close(path_distance(goal)(z, actions), squared.mean(-1))
    weights = torch.tensor([1, 2.0, 4, 8])
    late = path_distance(goal, discount=2.0)(z, actions)
    torch.testing.assert_close(late, (squared * weights).sum(-1) / 15)
    soft = any_step(goal, temperature=1e-3)(z, actions)
    torch.testing.assert_close(soft, squared.amin(-1), rtol=1e-2, atol=1e-3)


def test_reward_value_and_penalty_by_hand() -> None:
    z, actions = draws(B, S, H, D, seed=1), draws(B, S, H, A, seed=2)
    discounts = 0.5 ** torch.arange(H)
    returned = reward(lambda p, _: p[..., 0], discount=0.5)(z, actions)
    torch.testing.assert_close(returned, -(z[..., 0] * discounts).sum(-1))
    final = value(lambda p: p[..., 1], discount=0.5)(z, actions)
    torch.testing.assert_close(final, -(0.5**H) * z[:, :, -1, 1])
    torch.testing.assert_close(action_penalty()(z, actions), actions.square().mean((2, 3)))
    changes = actions.diff(dim=2).square().mean((2, 3))
    smooth = action_penalty(smoothness=2.0)(z, actions)
    torch.testing.assert_close(smooth, actions.square().mean((2, 3)) + 2 * changes)


def terms() -> dict[str, Term]:
    goal = draws(B, D)
    graph = EmbeddingGraph.build(draws(200, D, seed=4), nodes=150, neighbours=6)
    return {
        "last": last_step(goal),
        "any": any_step(goal),
        "euclidean": path_distance(Euclidean(goal)),
        "soft any": any_step(goal, temperature=0.5),
        "path": path_distance(SquaredEuclidean(goal), discount=1.1),
        "whitened": path_distance(Whitened(goal, draws(D, D, seed=6))),
        "geodesic": last_step(graph.towards(goal)),
        "geodesic path": path_distance(graph.towards(goal)),
        "reward": reward(lambda p, c: p[..., 0] - c[..., 0]),
        "value": value(lambda p: p.sum(-1)),
        "penalty": action_penalty(smoothness=0.5),
    }


@pytest.mark.parametrize("name", terms())
def test_every_term_selects_episodes_and_has_gradients(name: str) -> None:
    term = terms()[name]
    cost = WeightedCost(rollout(), [(0.7, term), (0.3, action_penalty())])
    candidates = draws(B, S, H, A, seed=2).requires_grad_()
    whole = cost(candidates)
    assert whole.shape == (B, S)
    whole.sum().backward()
    assert candidates.grad is not None
    assert candidates.grad.isfinite().all()
    assert candidates.grad.abs().sum() > 0
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(cost.select(rows)(candidates[rows]), whole[rows])


def test_a_function_that_knows_the_episode_is_selected_too() -> None:
    class Towards:
        def __init__(self, goal: Tensor) -> None:
            self.goal = goal

        def __call__(self, z: Tensor) -> Tensor:
            return (z * self.goal[:, None]).sum(-1)

        def select(self, rows: Tensor) -> "Towards":
            return Towards(self.goal[rows])

    z, actions, rows = draws(B, S, H, D), draws(B, S, H, A), torch.tensor([1])
    term = value(Towards(draws(B, D, seed=8)))
    torch.testing.assert_close(term.select(rows)(z[rows], actions[rows]), term(z, actions)[rows])


def test_soft_minimum() -> None:
    x = torch.tensor([[3.0, 1.0, 2.0]])
    assert soft_minimum(x, 0.0).item() == 1
    assert 1 < soft_minimum(x, 0.5).item() < 1.6


def test_whitened_is_mahalanobis_distance() -> None:
    known = draws(400, 3, seed=3).double() @ draws(3, 3, seed=4).double()
    z, goal = draws(1, 1, 1, 3).double(), draws(1, 3, seed=1).double()
    found = Whitened(goal, whitening(known).double())(z)
    inverse = np.linalg.inv(np.cov(known.numpy().T))
    expected = mahalanobis(z.flatten().numpy(), goal.flatten().numpy(), inverse)
    assert found.item() == pytest.approx(expected, rel=1e-4)


def two_rooms(n: int = 2500) -> Tensor:
    """Positions in [-1, 1]^2 off a wall at 0, which has a door at the top."""
    x = torch.rand(2 * n, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    inside = (x[:, 0].abs() < 0.15) & (x[:, 1] < 0.7)
    return x[~inside][:n]


def test_geodesic_goes_around_a_wall() -> None:
    graph = EmbeddingGraph.build(two_rooms(), neighbours=8)
    goal = torch.tensor([[0.4, -0.8]])
    distance = graph.towards(goal)
    here = torch.tensor([[-0.4, -0.8], [0.4, 0.7], [0.4, -0.8], [0.42, -0.78]])
    across, along, at, beside = distance(here[None, None]).flatten().tolist()
    assert across > 2.5  # 0.8 straight through the wall, some 3.3 through the door
    assert 1.4 < along < 1.8  # 1.5 in a straight line; paths over nodes are a little longer
    assert at < 0.01
    assert beside < 0.1


def test_geodesic_grows_along_the_way() -> None:
    distance = EmbeddingGraph.build(two_rooms(), neighbours=8).towards(torch.tensor([[0.5, -0.8]]))
    left = torch.stack([torch.full((8,), -0.5), torch.linspace(-0.8, 0.75, 8)], 1)
    values = distance(left[None, None])[0, 0]
    assert (values.diff() < 0).all()


def test_separate_parts_are_joined() -> None:
    parts = torch.cat([draws(60, D), draws(60, D, seed=1) + 30, draws(60, D, seed=2) - 30])
    distance = EmbeddingGraph.build(parts, neighbours=5).towards(torch.tensor([[30.0, 30.0]]))
    values = distance(torch.tensor([[[[-30.0, -30.0], [0, 0], [30, 30]]]]))[0, 0]
    assert values.isfinite().all()
    assert (values.diff() < 0).all()


def test_gradient_planner_reaches_the_goal() -> None:
    goal = draws(B, D)
    cost = WeightedCost(rollout(), [(1.0, last_step(goal))])
    bound = torch.full((A,), 2.0)
    problem = Problem(torch.zeros(B, H, A), -bound, bound)
    plan = GradientPlanner(iterations=100).plan(cost, problem, torch.Generator().manual_seed(0))
    assert (plan.cost < 1e-3).all()


def test_the_reward_on_the_page_moves_the_agent_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[3] / "docs" / "howto" / "planning.md"
    (block,) = re.findall(r"```python\n((?:(?!```).)*?reward\(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "run").symlink_to(studied_run())
    (tmp_path / "two-room.h5").symlink_to(studied_run().parent / "dots.h5")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block, str(page), "exec"), names)
    actions = names["model"].scale.restore(names["plan"].actions).unflatten(-1, (-1, 2))
    assert actions[..., 0].mean() > 0.5
