"""What a planner is asked, and what it answers.

A cost takes candidates (b, s, h, a), s sequences of h action blocks for each of b episodes, and
gives their costs (b, s). One with a method `select(rows)`, the same cost for some episodes only,
lets episodes that are finished leave the batch.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from isojepa.errors import UserError

Cost = Callable[[Tensor], Tensor]
T = TypeVar("T")


class EpisodeGenerators:
    """A source of draws for each of b episodes: what one draws does not depend on the others.

    Args:
        generators: one per episode, on one device.
    """

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = tuple(generators)

    @staticmethod
    def seeded(seeds: Sequence[int]) -> "EpisodeGenerators":
        """One for each seed, on the CPU."""
        return EpisodeGenerators([torch.Generator().manual_seed(seed) for seed in seeds])

    def select(self, rows: Int[Tensor, " n"]) -> "EpisodeGenerators":
        """The same sources of some of the episodes; their states stay shared."""
        return EpisodeGenerators([self.generators[i] for i in rows.tolist()])


Generator = torch.Generator | EpisodeGenerators
"""The source of all draws of a plan: one for all episodes, or one for each."""


class Problem(NamedTuple):
    """What is looked for: h action blocks of low cost for each of b episodes, all normalised."""

    start: Float[Tensor, "b h a"]
    """Where the search begins: zeros, the mean of actions, or the last plan, `shifted`."""
    low: Float[Tensor, " a"]
    """Least value of each dimension; -inf for none. Every candidate honours it."""
    high: Float[Tensor, " a"]
    """Greatest value of each dimension; inf for none."""

    @property
    def mean(self) -> Float[Tensor, "b h a"]:
        """The start, within the bounds."""
        return self.start.to(self.low).clamp(self.low, self.high)

    def noise(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """White Gaussian noise of unit variance, like the bounds in type and place."""
        return normal_noise(shape, generator).to(self.low)


class Plan(NamedTuple):
    """What a planner returns for b episodes."""

    actions: Float[Tensor, "b h a"]
    cost: Float[Tensor, " b"]
    """The cost of these actions."""
    iterations: Int[Tensor, " b"]
    """Iterations until the episode's elites agreed, or the most allowed."""
    evaluations: Int[Tensor, " b"]
    """Action sequences whose cost was asked for."""


@runtime_checkable
class Planner(Protocol):
    """What all planners have in common."""

    def plan(self, cost: Cost, problem: Problem, generator: Generator) -> Plan:
        """Look for action sequences of low cost.

        Args:
            cost: candidates (b, s, h, a) -> (b, s).
            problem: where to begin, and the bounds.
            generator: the source of all draws: the same state gives the same plan. With one for
                each episode, an episode's plan does not depend on which others are planned for.
        """
        ...


@runtime_checkable
class Selectable(Protocol):
    """What depends on the episode."""

    def select(self, rows: Int[Tensor, " n"]) -> "Selectable":
        """The same for some of the episodes."""
        ...


def selected(x: T, rows: Int[Tensor, " n"]) -> T:
    """The same for some of the episodes; what does not depend on the episode stays as it is."""
    return x.select(rows) if isinstance(x, Selectable) else x  # type: ignore[return-value]


def lowest(
    candidates: Float[Tensor, "b s h a"], costs: Float[Tensor, "b s"], k: int
) -> tuple[Float[Tensor, "b k h a"], Float[Tensor, "b k"]]:
    """The k cheapest candidates of each episode, the elites, cheapest first, and their costs."""
    costs = torch.where(costs.isnan(), torch.inf, costs)
    levels, where = torch.topk(costs, k, dim=1, largest=False)
    episodes = torch.arange(len(costs), device=costs.device)[:, None]
    return candidates[episodes, where], levels


def shifted(actions: Float[Tensor, "b h a"], executed: int) -> Float[Tensor, "b h a"]:
    """The start of the next search: the plan less the blocks executed, zeros at its end."""
    rest = actions[:, executed:]
    return torch.cat([rest, torch.zeros_like(actions[:, : actions.shape[1] - rest.shape[1]])], 1)


def normal_noise(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Standard normal numbers, independent, on the generator's device; axis 0 is of episodes."""
    return _drawn(torch.randn, shape, generator)


def uniform_noise(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Numbers uniform in [0, 1), likewise."""
    return _drawn(torch.rand, shape, generator)


def _drawn(draw: Callable[..., Tensor], shape: tuple[int, ...], generator: Generator) -> Tensor:
    if isinstance(generator, torch.Generator):
        return draw(shape, generator=generator, device=generator.device)
    own = generator.generators
    if len(own) != shape[0]:
        raise ValueError(f"{len(own)} generators for {shape[0]} episodes")
    return torch.stack([draw(shape[1:], generator=one, device=one.device) for one in own])


def check_positive(planner: Planner, *names: str) -> None:
    """Raise `UserError` for a setting of a planner that is not above 0."""
    for name in names:
        if getattr(planner, name) <= 0:
            raise UserError(f"a planner's {name} must be above 0, got {getattr(planner, name)}")
