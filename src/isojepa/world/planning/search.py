"""What the planners share: noise, and a search over many episodes that are finished one by one."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isojepa.errors import UserError

Cost = Callable[[Any], Any]  # candidates (b, s, h, a) -> costs (b, s)
Answer = Literal["mean", "best"]


class Plan(NamedTuple):
    """What a planner returns for b episodes."""

    actions: Float[Tensor, "b h a"]
    cost: Float[Tensor, "b"]
    """The cost of these actions."""
    iterations: Int[Tensor, "b"]
    """Iterations until the episode's elites agreed, or the most allowed."""
    evaluations: Int[Tensor, "b"]
    """Action sequences whose cost was asked for."""


def coloured_noise(
    shape: tuple[int, int, int, int],
    generator: torch.Generator,
    *,
    colour: float,
    block: int = 1,
) -> Float[Tensor, "b s h a"]:
    """Gaussian noise of unit variance whose power along the plan falls as 1 / frequency^colour.

    White noise, filtered; the lowest frequency stands in for frequency zero. A block of `block`
    environment steps, step by step, counts as that many points in time.
    """
    b, s, h, a = shape
    if a % block:
        raise UserError(f"action blocks of {a} dimensions are not {block} equal steps")
    white = torch.randn(shape, generator=generator, device=generator.device)
    steps = white.reshape(b, s, h * block, a // block)
    frequencies = torch.fft.fftfreq(h * block, device=white.device).abs()
    gain = frequencies.clamp(min=1 / (h * block)) ** (-colour / 2)
    gain = gain / gain.square().mean().sqrt()
    return torch.fft.ifft(torch.fft.fft(steps, dim=2) * gain[:, None], dim=2).real.reshape(shape)


class State(NamedTuple):
    """A search over b episodes."""

    mean: Tensor  # (b, h, a)
    std: Tensor  # (b, h, a)
    kept: Tensor  # (b, k, h, a) elites that stay candidates
    kept_cost: Tensor  # (b, k)
    best: Tensor  # (b, h, a)
    best_cost: Tensor  # (b,)
    level: Tensor  # (b,) mean cost of the elites
    rounds: Tensor  # (b,)
    evaluations: Tensor  # (b,)

    def seen(self, elites: Tensor, levels: Tensor, evaluated: int) -> "State":
        """The same search with these elites, lowest cost first, taken note of."""
        better = levels[:, 0] < self.best_cost
        return self._replace(
            best=torch.where(better[:, None, None], elites[:, 0], self.best),
            best_cost=torch.where(better, levels[:, 0], self.best_cost),
            level=levels.mean(1),
            rounds=self.rounds + 1,
            evaluations=self.evaluations + evaluated,
        )

    def rows(self, which: Tensor) -> "State":
        return State(*(x[which] for x in self))


class Stop(NamedTuple):
    """When a search is over."""

    spread: float
    improvement: float
    iterations: int

    def finished(self, before: State, after: State) -> Tensor:
        gain = before.level - after.level
        over = (after.rounds >= self.iterations) | (after.std.mean((1, 2)) < self.spread)
        if self.improvement:  # at 0 a round that made things worse does not end the search either
            over |= before.level.isfinite() & (gain < self.improvement * before.level.abs())
        return over


def begin_search(
    b: int, h: int, a: int, low: Tensor, high: Tensor, start: Tensor | None, std: float
) -> State:
    mean = low.new_zeros(b, h, a) if start is None else start.to(low)
    count = torch.zeros(b, dtype=torch.long, device=low.device)
    far = low.new_full((b,), torch.inf)
    none, none_cost = mean[:, None][:, :0], far[:, None][:, :0]
    spread = torch.full_like(mean, std)
    mean = mean.clamp(low, high)
    return State(mean, spread, none, none_cost, mean, far, far, count, count)


@torch.no_grad()
def run_search(
    cost: Cost, state: State, update: Callable[[Cost, State, int], State], stop: Stop
) -> State:
    """Update until every episode is finished; those that are leave the batch."""
    b = len(state.mean)
    rows = torch.arange(b, device=state.mean.device)
    done, order = [], []
    narrowed = cost
    for i in range(stop.iterations):
        new = update(narrowed, state, i)
        finished = stop.finished(state, new)
        if finished.any():
            done.append(new.rows(finished)._replace(kept=new.mean[finished][:, None][:, :0]))
            done[-1] = done[-1]._replace(kept_cost=done[-1].level[:, None][:, :0])
            order.append(rows[finished])
            new, rows = new.rows(~finished), rows[~finished]
            if not len(rows):
                break
            narrowed = select_rows(cost, rows, b)
        state = new
    back = torch.cat(order).argsort()
    return State(*(torch.cat(parts)[back] for parts in zip(*done, strict=True)))


@torch.no_grad()
def answer_search(cost: Cost, state: State, answer: Answer) -> Plan:
    actions, value = state.mean, cost(state.mean[:, None])[:, 0]
    if answer == "best":
        better = state.best_cost < value
        actions = torch.where(better[:, None, None], state.best, actions)
        value = torch.where(better, state.best_cost, value)
    return Plan(actions, value, state.rounds, state.evaluations + 1)


def select_rows(cost: Cost, rows: Tensor, b: int) -> Cost:
    """The cost of some episodes; one without `select` is asked about all, and the rest ignored."""
    select = getattr(cost, "select", None)
    if select is not None:
        return select(rows)

    def padded(candidates: Tensor) -> Tensor:
        whole = candidates.new_zeros(b, *candidates.shape[1:])
        whole[rows] = candidates
        return cost(whole)[rows]

    return padded


def take_lowest(candidates: Tensor, costs: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k cheapest candidates of each episode (b, k, h, a), cheapest first, and their costs."""
    costs = torch.where(costs.isnan(), torch.inf, costs)
    levels, where = torch.topk(costs, k, dim=1, largest=False)
    episodes = torch.arange(len(costs), device=costs.device)[:, None]
    return candidates[episodes, where], levels


def spread_of(elites: Tensor) -> Tensor:
    """Standard deviation over the elites; 0 where there is a single one."""
    return elites.std(1, unbiased=elites.shape[1] > 1)


def normal_noise(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device).to(like)
