"""How an agent chooses: by planning over imagined reward and value, or by its value or policy."""

from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from isojepa.world.agent.agent import Agent
from isojepa.world.planners.mppi import MPPI
from isojepa.world.planners.problem import Cost, Generator, Plan, Planner, Problem, lowest

SEEDS = 16  # sequences that the policy proposes, besides the one it prefers


class Choice(NamedTuple):
    """What the agent wants in b states."""

    action: Float[Tensor, "b a"]
    value: Float[Tensor, " b"]
    """What it expects to earn: minus the plan's cost, or the value."""


@dataclass(frozen=True)
class ImaginedReturn:
    """Minus what sequences of actions would earn: rewards as far as they reach, then a value.

    The discount of each step is multiplied by the probability that the task goes on.
    """

    agent: Agent
    z: Float[Tensor, "b d"]

    def __call__(self, candidates: Float[Tensor, "b s h a"]) -> Float[Tensor, "b s"]:
        agent, actions = self.agent, as_actions(self.agent, candidates)
        imagined = agent.imagine(self.z, actions)
        now = self.z[:, None, None].expand(-1, actions.shape[1], -1, -1)
        before = torch.cat([now, imagined[:, :, :-1]], 2)
        rewards = agent.reward.expected(before, actions)
        goes_on = agent.continuation(before, actions).sigmoid()
        weights = (agent.spec.discount * goes_on).cumprod(-1)
        earned = rewards[..., 0] + (weights[..., :-1] * rewards[..., 1:]).sum(-1)
        return -(earned + weights[..., -1] * agent.best_value(imagined[:, :, -1]))

    def select(self, rows: Int[Tensor, " n"]) -> "ImaginedReturn":
        """The same for some of the episodes."""
        return replace(self, z=self.z[rows])


def as_actions(agent: Agent, candidates: Float[Tensor, "*n a"]) -> Float[Tensor, "*n a"]:
    """Planners search among numbers; where a choice is to be made the largest is chosen."""
    if not agent.spec.discrete:
        return candidates
    return F.one_hot(candidates.argmax(-1), agent.spec.a).to(candidates.dtype)


@dataclass(frozen=True, kw_only=True)
class EverySequence:
    """Try all sequences of choices: exact where they are few."""

    def plan(self, cost: Cost, problem: Problem, generator: Generator) -> Plan:
        """See `Planner.plan`."""
        del generator
        b, h, a = problem.start.shape
        each = torch.tensor(list(product(range(a), repeat=h)), device=problem.low.device)
        candidates = F.one_hot(each, a).to(problem.low).expand(b, -1, -1, -1)
        best, costs = lowest(candidates, cost(candidates), 1)
        ones = torch.ones(b, dtype=torch.long, device=problem.low.device)
        return Plan(best[:, 0], costs[:, 0], ones, ones * len(each))


MOST_SEQUENCES = 64


def planner_for(agent: Agent, horizon: int) -> Planner:
    """All sequences where they are few, else MPPI."""
    if agent.spec.discrete and agent.spec.a**horizon <= MOST_SEQUENCES:
        return EverySequence()
    return MPPI(candidates=128, elites=16, iterations=4, std=0.5)


@torch.no_grad()
def choose(
    agent: Agent, z: Float[Tensor, "b d"], *, horizon: int, generator: torch.Generator
) -> Choice:
    """What an agent in eval mode wants, without exploration.

    Args:
        horizon: decisions that are planned; 0 takes the best value's choice, or the policy's mode.
    """
    if horizon == 0:
        if agent.spec.discrete:
            q = agent.values.two_hot.decode(agent.values.of_all(z)).mean(0)
            return Choice(F.one_hot(q.argmax(-1), agent.spec.a).to(z.dtype), q.amax(-1))
        return Choice(agent.policy.mode(z), agent.best_value(z))
    cost, planner = ImaginedReturn(agent, z), planner_for(agent, horizon)
    low = -z.new_ones(agent.spec.a)
    start = z.new_zeros(len(z), horizon, agent.spec.a)
    if not isinstance(planner, EverySequence):
        start = proposed(agent, z, cost, horizon, generator)
    plan = planner.plan(cost, Problem(start, low, -low), generator)
    return Choice(as_actions(agent, plan.actions[:, 0]), -plan.cost)


def proposed(
    agent: Agent, z: Float[Tensor, "b d"], cost: Cost, h: int, generator: torch.Generator
) -> Float[Tensor, "b h a"]:
    """The best of the sequences that the policy would take by itself: where a search begins."""
    b, s, a = len(z), SEEDS + 1, agent.spec.a
    state, actions = z.repeat_interleave(s, 0), []
    for _ in range(h):
        noise = torch.randn((b, s, a), generator=generator).to(z)
        if agent.spec.discrete:
            uniform = torch.rand((b, s, a), generator=generator).to(z).clamp(1e-9, 1 - 1e-9)
            noise = -(-uniform.log()).log()
        noise[:, 0] = 0
        action = agent.policy.draw(state, noise.flatten(0, 1)).action
        state = agent.imagine(state, action[:, None, None])[:, 0, 0]
        actions.append(action)
    candidates = torch.stack(actions, 1).unflatten(0, (b, s))
    return lowest(candidates, cost(candidates), 1)[0][:, 0]
