"""Sampling planners: draw candidates around a mean, keep the elites, move to them; again."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isojepa.errors import UserError
from isojepa.world.planners.problem import (
    Cost,
    Generator,
    Plan,
    Problem,
    Selectable,
    check_positive,
    lowest,
    selected,
)

Answer = Literal["mean", "best"]


class State(NamedTuple):
    """A search over b episodes."""

    mean: Float[Tensor, "b h a"]
    std: Float[Tensor, "b h a"]
    kept: Float[Tensor, "b k h a"]
    """Elites that stay candidates, not evaluated again."""
    kept_cost: Float[Tensor, "b k"]
    best: Float[Tensor, "b h a"]
    best_cost: Float[Tensor, " b"]
    level: Float[Tensor, " b"]
    """Mean cost of the elites."""
    iterations: Int[Tensor, " b"]
    evaluations: Int[Tensor, " b"]

    @staticmethod
    def around(mean: Float[Tensor, "b h a"], std: float) -> "State":
        """Before the first iteration."""
        zero = torch.zeros(len(mean), dtype=torch.long, device=mean.device)
        far = mean.new_full((len(mean),), torch.inf)
        none, none_cost = mean[:, None][:, :0], far[:, None][:, :0]
        return State(mean, torch.full_like(mean, std), none, none_cost, mean, far, far, zero, zero)

    def met(self, elites: Tensor, costs: Tensor, evaluated: int) -> "State":
        """The same search with these elites (b, k, h, a), cheapest first, taken note of."""
        better = costs[:, 0] < self.best_cost
        return self._replace(
            best=torch.where(better[:, None, None], elites[:, 0], self.best),
            best_cost=torch.where(better, costs[:, 0], self.best_cost),
            level=costs.mean(1),
            iterations=self.iterations + 1,
            evaluations=self.evaluations + evaluated,
        )

    def rows(self, which: Tensor) -> "State":
        """Some of the episodes."""
        return State(*(x[which] for x in self))


@dataclass(frozen=True, kw_only=True)
class ElitePlanner(ABC):
    """Iterations of draws around a mean, which moves to their elites until these agree.

    The first candidate of an iteration is the mean itself.
    """

    candidates: int
    """Sequences drawn per iteration."""
    elites: int
    """The best of them."""
    iterations: int
    """At most."""
    std: float = 1.0
    """Spread of the first iteration's draws, in normalised units."""
    min_std: float = 0.0
    """Spread never falls below this."""
    tolerance: float = 0.0
    """An episode is finished once its mean spread is below this share of `std`. 0: never."""
    improvement: float = 0.0
    """... or once the elites' mean cost falls by less than this share in an iteration. 0: never."""
    answer: Answer = "mean"
    """Return the last mean, or the best of all sequences met and that mean."""

    def __post_init__(self) -> None:
        check_positive(self, "candidates", "elites", "iterations", "std")
        if self.elites > self.candidates:
            raise UserError(f"a planner's elites ({self.elites}) exceed its candidates")

    @abstractmethod
    def fit(self, state: State, elites: Tensor, costs: Tensor) -> State:
        """Move mean and spread to the elites (b, k, h, a), cheapest of the costs (b, k) first."""

    def noise(self, problem: Problem, b: int, i: int, generator: Generator) -> Tensor:
        """Noise (b, s, h, a) of unit variance for iteration i: white, unless told otherwise."""
        del i
        return problem.noise((b, self.candidates, *problem.start.shape[1:]), generator)

    @torch.no_grad()
    def plan(self, cost: Cost, problem: Problem, generator: Generator) -> Plan:
        """Iterate until every episode is finished; those that are leave the batch."""
        state, running, draws = State.around(problem.mean, self.std), cost, generator
        episodes = torch.arange(len(state.mean), device=state.mean.device)
        finished: list[tuple[Tensor, State]] = []
        for i in range(self.iterations):
            before, state = state, self._iterate(running, state, problem, i, draws)
            over = self._finished(before, state)
            if not over.any():
                continue
            finished.append((episodes[over], state.rows(over)))
            state, episodes = state.rows(~over), episodes[~over]
            if not len(episodes):
                break
            running = for_episodes(cost, episodes, len(problem.start))
            draws = selected(generator, episodes)
        order, states = zip(*finished, strict=True)
        back = torch.cat(order).argsort()
        return self._answer(cost, State(*(torch.cat(x)[back] for x in zip(*states, strict=True))))

    def _iterate(
        self, cost: Cost, state: State, problem: Problem, i: int, generator: Generator
    ) -> State:
        """Draw candidates around the mean, keep the elites, move mean and spread to them."""
        noise = self.noise(problem, len(state.mean), i, generator)
        candidates = noise * state.std.unsqueeze(1) + state.mean.unsqueeze(1)
        candidates[:, 0] = state.mean
        candidates = candidates.clamp(problem.low, problem.high)
        elites, costs = lowest(
            torch.cat([candidates, state.kept], 1),
            torch.cat([cost(candidates), state.kept_cost], 1),
            self.elites,
        )
        state = self.fit(state.met(elites, costs, candidates.shape[1]), elites, costs)
        return state._replace(std=state.std.clamp(min=self.min_std))

    def _finished(self, before: State, after: State) -> Bool[Tensor, " b"]:
        spread, gain = after.std.mean((1, 2)), before.level - after.level
        over = (after.iterations >= self.iterations) | (spread < self.tolerance * self.std)
        if self.improvement:  # at 0 what made things worse does not end the search either
            over |= before.level.isfinite() & (gain < self.improvement * before.level.abs())
        return over

    def _answer(self, cost: Cost, state: State) -> Plan:
        actions, value = state.mean, cost(state.mean[:, None])[:, 0]
        if self.answer == "best":
            better = state.best_cost < value
            actions = torch.where(better[:, None, None], state.best, actions)
            value = torch.where(better, state.best_cost, value)
        return Plan(actions, value, state.iterations, state.evaluations + 1)


def for_episodes(cost: Cost, rows: Int[Tensor, " n"], b: int) -> Cost:
    """The cost of some episodes; one without `select` is asked about all, and the rest ignored."""
    if isinstance(cost, Selectable):
        return cost.select(rows)

    def padded(candidates: Tensor) -> Tensor:
        whole = candidates.new_zeros(b, *candidates.shape[1:])
        whole[rows] = candidates
        return cost(whole)[rows]

    return padded


def elite_spread(elites: Float[Tensor, "b k h a"]) -> Float[Tensor, "b h a"]:
    """Standard deviation over the elites; 0 where there is a single one."""
    return elites.std(1, unbiased=elites.shape[1] > 1)
