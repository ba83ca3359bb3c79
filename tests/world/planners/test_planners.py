"""One contract, one checker, every planner; CEM against the platform's."""

import contextlib
import io
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from isojepa.errors import UserError
from isojepa.world.planners.cem import CEM, ICEM, coloured_noise
from isojepa.world.planners.mppi import MPPI
from isojepa.world.planners.planners import PLANNERS
from isojepa.world.planners.problem import Plan, Planner, Problem, shifted

B, H, A = 3, 4, 2
LOW, HIGH = torch.tensor([-1.0, -0.5]), torch.tensor([1.0, 0.7])
UNBOUNDED = torch.full((A,), torch.inf)


@dataclass
class Bowl:
    """Squared distance of the action sequence to a target, one per episode."""

    target: Tensor
    asked: list[tuple[int, int]] = field(default_factory=list)
    lowest: list[Tensor] = field(default_factory=list)
    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, candidates: Tensor) -> Tensor:
        self.asked.append((candidates.shape[0], candidates.shape[1]))
        self.seen.append(candidates.detach().clone())
        return (candidates - self.target[:, None]).square().sum((2, 3))

    def select(self, rows: Tensor) -> "Bowl":
        return Bowl(self.target[rows], self.asked, self.lowest, self.seen)


def bowl(b: int = B) -> Bowl:
    generator = torch.Generator().manual_seed(3)
    return Bowl(0.8 * (2 * torch.rand(b, H, A, generator=generator) - 1))


def solve(planner: Planner, cost: Any, *, seed: int = 0, b: int = B, **changes: Any) -> Plan:
    problem = Problem(torch.zeros(b, H, A), LOW, HIGH)._replace(**changes)
    return planner.plan(cost, problem, torch.Generator().manual_seed(seed))


def check_planner(planner: Planner) -> None:
    """What holds for every planner."""
    cost = bowl()
    plan = solve(planner, cost)
    assert plan.actions.shape == (B, H, A)
    assert not plan.actions.requires_grad
    for x in (plan.actions, *cost.seen):
        assert (x >= LOW - 1e-6).all()
        assert (x <= HIGH + 1e-6).all()
    torch.testing.assert_close(plan.cost, bowl()(plan.actions[:, None])[:, 0])
    best_possible = bowl()(cost.target.clamp(LOW, HIGH)[:, None])[:, 0]
    nothing = bowl()(torch.zeros(B, 1, H, A))[:, 0]
    assert (plan.cost < best_possible + 0.6 * (nothing - best_possible)).all()
    assert plan.evaluations.max() == sum(s for _, s in cost.asked)  # fewer where one ended early

    again, other = solve(planner, bowl()), solve(planner, bowl(), seed=1)
    assert torch.equal(plan.actions, again.actions)
    assert not torch.equal(plan.actions, other.actions)

    good = cost.target.clamp(LOW, HIGH)
    warm = solve(planner, bowl(), start=good)
    assert (warm.cost <= plan.cost + 1e-6).all()

    assert isinstance(planner, Planner)
    free = solve(planner, bowl(), low=-UNBOUNDED, high=UNBOUNDED)
    assert free.actions.isfinite().all()

    # Episodes do not see each other: what one's cost is has no say in the others' plans
    moved = bowl()
    moved.target[-1] *= -1
    assert torch.equal(solve(planner, moved).actions[:-1], plan.actions[:-1])
    # A cost without `select` is as good; NaN is never chosen
    assert torch.equal(solve(planner, bowl().__call__).actions, plan.actions)
    assert (
        solve(planner, lambda x: bowl()(x) + torch.where(x[..., 0, 0] > 0.1, torch.nan, 0.0))
        .actions.isfinite()
        .all()
    )


@pytest.mark.parametrize("planner", PLANNERS.values())
@pytest.mark.parametrize(
    "changes", [{}, {"iterations": 3}, {"improvement": 0.02}, {"std": 0.3}], ids=str
)
def test_every_planner_passes_the_checker(planner: type[Planner], changes: dict[str, Any]) -> None:
    known = {name: x for name, x in changes.items() if name in vars(planner())}
    if known == changes:
        check_planner(planner(**known))


@pytest.mark.parametrize("planner", [CEM(), ICEM(iterations=12), MPPI(iterations=12)])
def test_searches_come_close_to_the_optimum(planner: Planner) -> None:
    cost = bowl()
    plan = solve(planner, cost)
    best_possible = cost(cost.target.clamp(LOW, HIGH)[:, None])[:, 0]
    assert (plan.cost - best_possible < 0.05).all()


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_finished_episodes_leave_the_batch(name: str) -> None:
    cost = bowl()
    # The last episode is indifferent to its actions: no improvement from the second round on.
    flat = Flat(cost.target, cost.asked)
    plan = solve(PLANNERS[name](iterations=8, improvement=1e-6), flat)
    assert plan.iterations[-1] == 2
    assert (plan.iterations[:-1] > 2).all()
    assert [b for b, _ in cost.asked][:3] == [B, B, B - 1]
    assert cost.asked[-1] == (B, 1)  # the plans' own cost


@dataclass
class Flat:
    target: Tensor
    asked: list[tuple[int, int]]
    rows: Tensor = field(default_factory=lambda: torch.arange(B))

    def __call__(self, candidates: Tensor) -> Tensor:
        self.asked.append((candidates.shape[0], candidates.shape[1]))
        costs = (candidates - self.target[self.rows][:, None]).square().sum((2, 3))
        return torch.where(self.rows[:, None] == B - 1, torch.ones_like(costs), costs)

    def select(self, rows: Tensor) -> "Flat":
        return Flat(self.target, self.asked, rows)


def test_elites_that_agree_end_the_search() -> None:
    patient = solve(CEM(iterations=30), bowl())
    quick = solve(CEM(iterations=30, tolerance=0.05), bowl())
    assert (patient.iterations == 30).all()
    assert (quick.iterations < 15).all()
    assert (quick.cost - patient.cost < 0.05).all()


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_without_thresholds_every_round_is_made(name: str) -> None:
    def rugged(candidates: Tensor) -> Tensor:
        return (40 * candidates).sin().sum((2, 3))

    assert (solve(PLANNERS[name](iterations=9), rugged).iterations == 9).all()


def test_warm_start_needs_fewer_rounds() -> None:
    cold = solve(CEM(std=1.0, tolerance=0.1, iterations=20), bowl())
    warm = solve(CEM(std=0.2, tolerance=0.5, iterations=20), bowl(), start=cold.actions)
    assert warm.evaluations.sum() < cold.evaluations.sum()
    assert (warm.cost <= cold.cost + 1e-3).all()


def test_shifted_drops_what_was_executed() -> None:
    plan = torch.arange(24.0).reshape(B, H, A)
    torch.testing.assert_close(shifted(plan, 1)[:, :-1], plan[:, 1:])
    assert (shifted(plan, 1)[:, -1] == 0).all()
    assert (shifted(plan, H) == 0).all()


def test_coloured_noise_has_unit_variance_and_its_colour() -> None:
    generator = torch.Generator().manual_seed(0)
    for colour in (0.0, 1.0, 2.0):
        x = coloured_noise((200, 50, 4, 10), generator, colour=colour, block=5)
        steps = x.reshape(200, 50, 20, 2)
        assert abs(x.std() - 1) < 0.02
        neighbours = (steps[:, :, 1:] * steps[:, :, :-1]).mean()
        assert abs(neighbours) < 0.01 if colour == 0 else neighbours > 0.3 * colour


def test_reused_elites_are_not_evaluated_again() -> None:
    cost = bowl()
    plan = solve(ICEM(candidates=100, elites=10, iterations=3, decay=2.0), cost)
    assert [s for _, s in cost.asked] == [100, 50, 25, 1]
    assert (plan.evaluations == 176).all()


@pytest.mark.parametrize("b", [1, 3])
def test_cem_plans_as_the_platforms_solver(b: int) -> None:
    gym = pytest.importorskip("gymnasium")
    solver_module = pytest.importorskip("stable_worldmodel.solver.cem")
    from stable_worldmodel.policy import PlanConfig

    cost = bowl(b)

    class Model:
        def get_cost(self, info: dict, candidates: Tensor) -> Tensor:
            del info
            return cost(candidates)

        criterion = get_cost

    solver = solver_module.CEMSolver(
        Model(), batch_size=b, num_samples=300, n_steps=10, topk=30, seed=7
    )
    space = gym.spaces.Box(-1, 1, (b, A))
    solver.configure(action_space=space, n_envs=b, config=PlanConfig(horizon=H, receding_horizon=H))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = solver.solve({"x": torch.zeros(b, 1)})["actions"]
    ours = solve(CEM(), bowl(b), seed=7, b=b, low=-UNBOUNDED, high=UNBOUNDED)
    torch.testing.assert_close(ours.actions, theirs, rtol=0, atol=1e-6)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="elites"):
        CEM(candidates=10)
    with pytest.raises(UserError, match="iterations"):
        ICEM(iterations=0)
    with pytest.raises(UserError, match="equal steps"):
        solve(ICEM(block=5), bowl())
