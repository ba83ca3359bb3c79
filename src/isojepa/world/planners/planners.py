"""The planners by name, and the two that do not move a Gaussian towards elites."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isojepa.world.planners.cem import CEM, ICEM
from isojepa.world.planners.mppi import MPPI
from isojepa.world.planners.problem import (
    Cost,
    Generator,
    Plan,
    Planner,
    Problem,
    check_positive,
    lowest,
    uniform_noise,
)


@dataclass(frozen=True, kw_only=True)
class RandomShooting:
    """The best of independent draws: uniform within finite bounds, else Gaussian."""

    candidates: int = 3000
    """Sequences drawn."""
    std: float = 1.0
    """Spread of the dimensions without bounds, in normalised units."""

    def __post_init__(self) -> None:
        check_positive(self, "candidates", "std")

    @torch.no_grad()
    def plan(self, cost: Cost, problem: Problem, generator: Generator) -> Plan:
        """See `Planner.plan`."""
        mean, (_, low, high) = problem.mean, problem
        shape = (len(mean), self.candidates, *mean.shape[1:])
        bounded = low.isfinite() & high.isfinite()
        uniform = uniform_noise(shape, generator).to(low)
        width = torch.where(bounded, high - low, torch.ones_like(low))
        normal = self.std * problem.noise(shape, generator)
        floor = torch.where(bounded, low, torch.zeros_like(low))
        candidates = torch.where(bounded, floor + width * uniform, normal)
        candidates[:, 0] = mean
        candidates = candidates.clamp(low, high)
        best, costs = lowest(candidates, cost(candidates), 1)
        ones = torch.ones(len(mean), dtype=torch.long, device=low.device)
        return Plan(best[:, 0], costs[:, 0], ones, ones * self.candidates)


@dataclass(frozen=True, kw_only=True)
class GradientPlanner:
    """Adam on the action sequence itself from several starts; the best sequence met is the plan.

    The cost must be differentiable in the candidates.
    """

    starts: int = 8
    """Sequences improved at once: the start given, and draws around it."""
    iterations: int = 40
    """Steps of Adam at most."""
    learning_rate: float = 0.1
    """Adam's, in normalised units."""
    std: float = 1.0
    """Spread of the starts."""
    improvement: float = 0.0
    """An episode is finished once its best cost falls by no more than this share in ten steps.
    0: never."""

    def __post_init__(self) -> None:
        check_positive(self, "starts", "iterations", "learning_rate", "std")

    def plan(self, cost: Cost, problem: Problem, generator: Generator) -> Plan:
        """See `Planner.plan`."""
        mean, (_, low, high) = problem.mean, problem
        noise = self.std * problem.noise((len(mean), self.starts, *mean.shape[1:]), generator)
        noise[:, 0] = 0
        actions = (mean.unsqueeze(1) + noise).clamp(low, high).requires_grad_()
        adam = torch.optim.Adam([actions], lr=self.learning_rate)
        best, best_cost = actions.detach().clone(), torch.full(actions.shape[:2], torch.inf).to(low)
        past: list[Tensor] = []
        over = torch.zeros(len(mean), dtype=torch.bool, device=low.device)
        for i in range(self.iterations + 1):
            with torch.enable_grad():
                costs = cost(actions)
            better = (costs.detach() < best_cost) & ~over[:, None]
            best = torch.where(better[..., None, None], actions.detach(), best)
            best_cost = torch.where(better, costs.detach(), best_cost)
            past.append(best_cost.amin(1))
            over |= self._settled(past)
            if i == self.iterations or over.all():
                break
            (actions.grad,) = torch.autograd.grad(costs.sum(), actions)
            adam.step()
            with torch.no_grad():
                actions.clamp_(low, high)
        plan, value = lowest(best, best_cost, 1)
        steps = torch.full((len(mean),), i, dtype=torch.long, device=low.device)
        return Plan(plan[:, 0], value[:, 0], steps, (steps + 1) * self.starts)

    def _settled(self, past: list[Tensor]) -> Tensor:
        if self.improvement == 0 or len(past) <= 10:
            return torch.zeros_like(past[-1], dtype=torch.bool)
        return (past[-11] - past[-1]) <= self.improvement * past[-11].abs()


PLANNERS: dict[str, type[Planner]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "gradient": GradientPlanner,
    "random": RandomShooting,
}
