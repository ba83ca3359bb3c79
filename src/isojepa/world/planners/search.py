"""What the planners share: noise, and a search over many episodes that are finished one by one."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
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
    white = normal_noise(shape, generator)
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


@dataclass(frozen=True, kw_only=True)
class Search(ABC):
    """Rounds of draws around a mean, which moves to their elites until these agree.

    The first candidate of a round is the mean itself, and sequences kept from the last round are
    not evaluated again.
    """

    candidates: int
    """Sequences drawn per iteration."""
    elites: int
    """The best of them."""
    iterations: int
    """Rounds at most."""
    std: float = 1.0
    """Spread of the first round's draws, in normalised units."""
    min_std: float = 0.0
    """Spread never falls below this."""
    tolerance: float = 0.0
    """An episode is finished once its mean spread is below this share of `std`. 0: never."""
    improvement: float = 0.0
    """... or once the elites' mean cost falls by less than this share in a round. 0: never."""
    answer: Answer = "mean"
    """Return the last mean, or the best of all sequences seen and that mean."""

    def __post_init__(self) -> None:
        check_positive(self, "candidates", "elites", "iterations", "std")
        if self.elites > self.candidates:
            raise UserError(f"a planner's elites ({self.elites}) exceed its candidates")

    @abstractmethod
    def fit(self, state: State, elites: Tensor, costs: Tensor) -> State:
        """Move mean and spread to the elites (b, k, h, a), lowest of the costs (b, k) first."""

    def draw(self, b: int, h: int, a: int, i: int, generator: torch.Generator) -> Tensor:
        """Noise (b, s, h, a) of unit variance for the s sequences of round i: white, unless told
        otherwise."""
        del i
        return normal_noise((b, self.candidates, h, a), generator)

    def plan(
        self,
        cost: Cost,
        *,
        b: int,
        h: int,
        a: int,
        low: Float[Tensor, "a"],
        high: Float[Tensor, "a"],
        start: Float[Tensor, "b h a"] | None = None,
        generator: torch.Generator,
    ) -> Plan:
        """See `Planner.plan`."""

        def update(cost: Cost, state: State, i: int) -> State:
            noise = self.draw(len(state.mean), h, a, i, generator).to(low)
            candidates = noise * state.std.unsqueeze(1) + state.mean.unsqueeze(1)
            candidates[:, 0] = state.mean
            candidates = candidates.clamp(low, high)
            pool = torch.cat([candidates, state.kept], 1)
            costs = torch.cat([cost(candidates), state.kept_cost], 1)
            elites, levels = take_lowest(pool, costs, self.elites)
            new = self.fit(state.seen(elites, levels, noise.shape[1]), elites, levels)
            return new._replace(std=new.std.clamp(min=self.min_std))

        state = begin_search(first_mean(b, h, a, low, high, start), self.std)
        return answer_search(cost, run_search(cost, state, update, self._finished), self.answer)

    def _finished(self, before: State, after: State) -> Tensor:
        spread, gain = after.std.mean((1, 2)), before.level - after.level
        over = (after.rounds >= self.iterations) | (spread < self.tolerance * self.std)
        if self.improvement:  # at 0 a round that made things worse does not end the search either
            over |= before.level.isfinite() & (gain < self.improvement * before.level.abs())
        return over


def first_mean(
    b: int, h: int, a: int, low: Tensor, high: Tensor, start: Tensor | None
) -> Float[Tensor, "b h a"]:
    """Where a search begins: zeros unless told, within the bounds."""
    mean = low.new_zeros(b, h, a) if start is None else start.to(low)
    return mean.clamp(low, high)


def begin_search(mean: Tensor, std: float) -> State:
    zero = torch.zeros(len(mean), dtype=torch.long, device=mean.device)
    far = mean.new_full((len(mean),), torch.inf)
    none, none_cost = mean[:, None][:, :0], far[:, None][:, :0]
    spread = torch.full_like(mean, std)
    return State(mean, spread, none, none_cost, mean, far, far, zero, zero)


@torch.no_grad()
def run_search(
    cost: Cost,
    state: State,
    update: Callable[[Cost, State, int], State],
    finished: Callable[[State, State], Tensor],
) -> State:
    """Update until every episode is finished; those that are leave the batch."""
    b = len(state.mean)
    rows = torch.arange(b, device=state.mean.device)
    done, order = [], []
    narrowed = cost
    for i in count():
        new = update(narrowed, state, i)
        over = finished(state, new)
        if over.any():
            done.append(new.rows(over))
            order.append(rows[over])
            new, rows = new.rows(~over), rows[~over]
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


def normal_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device)


def check_positive(planner: Any, *positive: str) -> None:
    for name in positive:
        if getattr(planner, name) <= 0:
            raise UserError(f"a planner's {name} must be above 0, got {getattr(planner, name)}")
