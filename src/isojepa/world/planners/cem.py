"""The cross-entropy method, as published and with coloured noise."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.errors import UserError
from isojepa.world.planners.problem import Generator, Problem, check_positive, normal_noise
from isojepa.world.planners.search import Answer, ElitePlanner, State, elite_spread


@dataclass(frozen=True, kw_only=True)
class CEM(ElitePlanner):
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
        return state._replace(mean=elites.mean(1), std=elite_spread(elites))


@dataclass(frozen=True, kw_only=True)
class ICEM(ElitePlanner):
    """CEM with coloured noise, elites kept from iteration to iteration and ever fewer draws.

    Pinneri et al. 2020, "Sample-efficient cross-entropy method for real-time planning". Kept elites
    are not evaluated again.
    """

    candidates: int = 128
    """Sequences drawn in the first iteration."""
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
    """Each iteration draws this many times fewer sequences, but at least twice the elites."""
    reuse: float = 0.3
    """Share of the elites that stay candidates in the next iteration."""
    momentum: float = 0.1
    """Share of the old mean and spread in the new."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "block")
        if self.decay < 1 or not 0 <= self.reuse <= 1 or not 0 <= self.momentum < 1:
            raise UserError("iCEM needs decay >= 1, reuse in [0, 1] and momentum in [0, 1)")

    def noise(self, problem: Problem, b: int, i: int, generator: Generator) -> Tensor:
        """Coloured noise, for fewer sequences from iteration to iteration."""
        s = max(int(self.candidates * self.decay**-i), min(2 * self.elites, self.candidates))
        h, a = problem.start.shape[1:]
        noise = coloured_noise((b, s, h, a), generator, colour=self.colour, block=self.block)
        return noise.to(problem.low)

    def fit(self, state: State, elites: Tensor, costs: Tensor) -> State:
        """The elites' mean and standard deviation, mixed with the old; the best elites stay."""
        old, keep = self.momentum, round(self.reuse * self.elites)
        return state._replace(
            mean=old * state.mean + (1 - old) * elites.mean(1),
            std=old * state.std + (1 - old) * elite_spread(elites),
            kept=elites[:, :keep],
            kept_cost=costs[:, :keep],
        )


def coloured_noise(
    shape: tuple[int, int, int, int], generator: Generator, *, colour: float, block: int = 1
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
