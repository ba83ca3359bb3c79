"""Planners: they see a cost of candidate action sequences and nothing else, and return a plan.

A cost takes candidates (b, s, h, a), s action sequences of h blocks for each of b episodes, and
gives their costs (b, s). One with a method `select(rows)`, the same cost for some episodes only,
lets episodes that are finished leave the batch. Actions are normalised; `low` and `high` bound each
of their a dimensions and every candidate honours them. All draws come from the generator given.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.errors import UserError
from isojepa.world.planners.search import (
    Answer,
    Cost,
    Plan,
    Search,
    State,
    check_positive,
    coloured_noise,
    first_mean,
    normal_noise,
    spread_of,
    take_lowest,
)


@runtime_checkable
class Planner(Protocol):
    """What all planners have in common."""

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
        """Look for h action blocks of low cost for each of b episodes.

        Args:
            cost: candidates (b, s, h, a) -> (b, s).
            b: episodes.
            h: action blocks to plan.
            a: dimensions of one block.
            low: least value of each dimension, normalised; -inf for none.
            high: greatest value of each dimension.
            start: where to begin the search, such as the previous plan, `shifted`; zeros if None.
            generator: the source of all draws: the same state gives the same plan.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class CEM(Search):
    """The cross-entropy method: fit a Gaussian to the elites, draw again.

    The defaults are LeWorldModel's and, for the same draws, give the plans of the platform's
    `CEMSolver`: the first candidate is the mean, and the spread is the elites' standard deviation.
    """

    candidates: int = 300
    elites: int = 30
    """The best of them, to which mean and spread are fitted."""
    iterations: int = 10

    def fit(self, state: State, elites: Tensor, costs: Tensor) -> State:
        """The elites' mean and standard deviation."""
        del costs
        return state._replace(mean=elites.mean(1), std=spread_of(elites))


@dataclass(frozen=True, kw_only=True)
class ICEM(Search):
    """CEM with coloured noise, elites kept from round to round and ever fewer draws.

    Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning". Kept elites
    are not evaluated again.
    """

    candidates: int = 128
    """Sequences drawn in the first round."""
    elites: int = 16
    """The best, to which mean and spread are fitted."""
    iterations: int = 6
    answer: Answer = "best"
    colour: float = 2.0
    """Exponent of the noise's spectrum, 1 / f^colour, along the plan: 0 is white; larger is
    smoother."""
    block: int = 1
    """Environment steps in one block, so that the noise is smooth from step to step too."""
    decay: float = 1.25
    """Each round draws this many times fewer sequences, but at least twice the elites."""
    reuse: float = 0.3
    """Share of the elites that stay candidates in the next round."""
    momentum: float = 0.1
    """Share of the old mean and spread in the new."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "block")
        if self.decay < 1 or not 0 <= self.reuse <= 1 or not 0 <= self.momentum < 1:
            raise UserError("iCEM needs decay >= 1, reuse in [0, 1] and momentum in [0, 1)")

    def draw(self, b: int, h: int, a: int, i: int, generator: torch.Generator) -> Tensor:
        """Coloured noise, for fewer sequences from round to round."""
        least = min(2 * self.elites, self.candidates)
        s = max(int(self.candidates * self.decay**-i), least)
        return coloured_noise((b, s, h, a), generator, colour=self.colour, block=self.block)

    def fit(self, state: State, elites: Tensor, costs: Tensor) -> State:
        """The elites' mean and standard deviation, mixed with the old; the best elites stay."""
        old, keep = self.momentum, round(self.reuse * self.elites)
        return state._replace(
            mean=old * state.mean + (1 - old) * elites.mean(1),
            std=old * state.std + (1 - old) * spread_of(elites),
            kept=elites[:, :keep],
            kept_cost=costs[:, :keep],
        )


@dataclass(frozen=True, kw_only=True)
class MPPI(Search):
    """Model-predictive path integral: the elites' mean, weighted by exp(-cost).

    The weights see each cost above the best one, divided by the elites' mean excess, so that the
    temperature has no unit and suits any cost.
    """

    candidates: int = 300
    elites: int = 64
    """The best of them, which are weighed."""
    iterations: int = 6
    min_std: float = 0.05
    temperature: float = 0.5
    """Large: the elites weigh alike; small: the best one alone counts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")

    def fit(self, state: State, elites: Tensor, costs: Tensor) -> State:
        """The elites' weighted mean and standard deviation."""
        excess = costs - costs[:, :1]
        scale = excess.mean(1, keepdim=True).clamp(min=1e-12)
        weights = torch.softmax(-excess / (self.temperature * scale), 1)[..., None, None]
        mean = (weights * elites).sum(1)
        variance = (weights * (elites - mean.unsqueeze(1)).square()).sum(1)
        return state._replace(mean=mean, std=variance.sqrt())


@dataclass(frozen=True, kw_only=True)
class RandomShooting:
    """The best of independent draws: uniform within finite bounds, else Gaussian."""

    candidates: int = 3000
    """Sequences drawn."""
    std: float = 1.0
    """Spread of the dimensions without bounds, in normalised units."""

    def __post_init__(self) -> None:
        check_positive(self, "candidates", "std")

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
        shape = (b, self.candidates, h, a)
        bounded = low.isfinite() & high.isfinite()
        uniform = torch.rand(shape, generator=generator, device=generator.device).to(low)
        width = torch.where(bounded, high - low, torch.ones_like(low))
        normal = self.std * normal_noise(shape, generator).to(low)
        floor = torch.where(bounded, low, torch.zeros_like(low))
        candidates = torch.where(bounded, floor + width * uniform, normal)
        candidates[:, 0] = first_mean(b, h, a, low, high, start)
        candidates = candidates.clamp(low, high)
        with torch.no_grad():
            best, lowest = take_lowest(candidates, cost(candidates), 1)
        ones = torch.ones(b, dtype=torch.long, device=low.device)
        return Plan(best[:, 0], lowest[:, 0], ones, ones * self.candidates)


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
    """Stop when no episode's best cost fell by more than this share in ten steps. 0: never."""

    def __post_init__(self) -> None:
        check_positive(self, "starts", "iterations", "learning_rate", "std")

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
        mean = first_mean(b, h, a, low, high, start).unsqueeze(1)
        noise = self.std * normal_noise((b, self.starts, h, a), generator).to(low)
        noise[:, 0] = 0
        actions = (mean + noise).clamp(low, high).requires_grad_()
        adam = torch.optim.Adam([actions], lr=self.learning_rate)
        best, lowest = actions.detach().clone(), torch.full((b, self.starts), torch.inf).to(low)
        past: list[Tensor] = []
        for i in range(self.iterations + 1):
            with torch.enable_grad():
                costs = cost(actions)
            better = costs.detach() < lowest
            best = torch.where(better[..., None, None], actions.detach(), best)
            lowest = torch.where(better, costs.detach(), lowest)
            past.append(lowest.amin(1))
            if i == self.iterations or self._settled(past):
                break
            (actions.grad,) = torch.autograd.grad(costs.sum(), actions)
            adam.step()
            with torch.no_grad():
                actions.clamp_(low, high)
        plan, value = take_lowest(best, lowest, 1)
        steps = torch.full((b,), i, dtype=torch.long, device=low.device)
        return Plan(plan[:, 0], value[:, 0], steps, (steps + 1) * self.starts)

    def _settled(self, past: list[Tensor]) -> bool:
        if self.improvement == 0 or len(past) <= 10:
            return False
        return bool(((past[-11] - past[-1]) <= self.improvement * past[-11].abs()).all())


PLANNERS: dict[str, type[Planner]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "gradient": GradientPlanner,
    "random": RandomShooting,
}


def make_planner(name: str, **options: Any) -> Planner:
    """The planner of that name; options that it does not have, or that are None, are left out.

    Raises:
        UserError: if there is none of that name.
    """
    if name not in PLANNERS:
        raise UserError(f"no planner is called {name!r}; there are {', '.join(PLANNERS)}")
    planner = PLANNERS[name]()
    known = {k: v for k, v in options.items() if v is not None and hasattr(planner, k)}
    return replace(planner, **known)  # type: ignore[type-var]


def shifted(actions: Float[Tensor, "b h a"], executed: int) -> Float[Tensor, "b h a"]:
    """The start of the next search: the plan less the blocks executed, zeros (the mean) at its
    end."""
    rest = actions[:, executed:]
    return torch.cat([rest, torch.zeros_like(actions[:, : actions.shape[1] - rest.shape[1]])], 1)
