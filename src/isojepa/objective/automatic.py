"""Lambda found while training: a dual variable that holds SIGReg where it is wanted.

With min invariance subject to departure <= target, lambda / (1 - lambda) is the multiplier of the
constraint. It rises while embeddings are further from Gaussian than wanted and do not come nearer
by themselves, and falls while they are nearer: then agreement of the views is worth more than what
is left of the departure.

The departure is (SIGReg - floor) / (point - floor), where SIGReg of a batch of n on one point is
`point`: n times a squared distance of laws, over that of a point, so it does not depend on n, and
its expectation is 0 at perfect Gaussianity. That is not a quantile of the null distribution: the
best fixed lambdas end far outside it, see docs/explanation/automatic-lambda.md.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.normality.univariate import epps_pulley_floor, trapezoid

TARGET = 0.06
"""Departure at which the best fixed lambdas of small sets end."""
LOWEST, HIGHEST = 1e-3, 0.5
"""Guard-rails of lambda: beyond, runs collapse, or views stop agreeing."""
START = 0.02
"""Of LeJEPA's small recipes. From 0.05 the first third of a run is spent above what is wanted, and
is not made up for: docs/explanation/automatic-lambda.md."""
LEAST_BATCH = 8
"""Samples below which a departure of the target's size drowns in noise."""
SMOOTHING = 0.9
"""Of the departure, per update."""
FOLDS = 10
"""How often over the run lambda can change by a factor of e at most."""
LATELY, FEWEST_LATELY, FALLING = 0.1, 30, 0.98
"""Lambda does not rise while the departure is below 0.98 of its mean over the last tenth of the run
(30 updates at least): it is on its way, and what lambda gained would have to be lost again."""


class AutomaticWeight(nn.Module):
    """A lambda that follows SIGReg's value; part of a run's checkpoint.

    Everything stays on the device, and nothing waits for it. The value of the global batch is the
    same on all ranks, and so is lambda.

    Args:
        n: samples of the global batch, at least 8.
        steps: updates of the run, which set the pace.
        hold: first updates, of the warm-up, in which lambda keeps its start.
        knots, t_max: of SIGReg.
        target: departure to hold, in (0, 1).
    """

    lambd: Tensor
    """Now."""
    departure: Tensor
    """Smoothed; NaN before the first update."""
    lately: Tensor
    """The same over `LATELY`."""
    seen: Tensor
    """Updates."""

    def __init__(
        self,
        n: int,
        steps: int,
        *,
        hold: int = 0,
        knots: int = 17,
        t_max: float = 3.0,
        target: float = TARGET,
    ) -> None:
        super().__init__()
        if not 0 < target < 1:
            raise ValueError(f"target must lie in (0, 1), got {target}")
        self.floor, self.point = epps_pulley_floor(knots, t_max), at_a_point(n, knots, t_max)
        if n < LEAST_BATCH:
            raise ValueError(f"batches of {n} are too small to tell a departure from noise")
        self.rate, self.hold, self.target = FOLDS / max(1, steps), hold, target
        self.inertia = 1 - 1 / (1 + max(FEWEST_LATELY, LATELY * steps))
        self.register_buffer("lambd", torch.tensor(START))
        self.register_buffer("departure", torch.tensor(float("nan")))
        self.register_buffer("lately", torch.tensor(float("nan")))
        self.register_buffer("seen", torch.tensor(0))

    def forward(self) -> Float[Tensor, ""]:
        """Lambda for the next update; a copy."""
        return self.lambd.clone()

    @torch.no_grad()
    def advance(self, sigreg: Float[Tensor, ""]) -> None:
        """Take note of SIGReg's value of an update."""
        now = ((sigreg.float() - self.floor) / (self.point - self.floor)).to(self.lambd.device)
        for mean, share in ((self.departure, SMOOTHING), (self.lately, self.inertia)):
            mean.copy_(torch.where(mean.isnan(), now, share * mean + (1 - share) * now))
        # As a ratio, so that half and twice the target count alike; noise below the floor as 1/e
        excess = (self.departure / self.target).clamp_min(1e-6).log().clamp(-1, 1)
        falls = (excess > 0) & (self.departure < FALLING * self.lately)
        pace = self.rate * (self.seen >= self.hold) * ~falls
        self.lambd.mul_((pace * excess).exp()).clamp_(LOWEST, HIGHEST)
        self.seen.add_(1)


def at_a_point(n: int, knots: int = 17, t_max: float = 3.0) -> float:
    """SIGReg of n samples at the origin: n times the integral of (1 - phi)^2."""
    _, target, weights = trapezoid(knots, t_max, dtype=torch.float64)
    return n * float(((1 - target).square() * weights).sum())


def at_guard_rail(lambd: float) -> bool:
    """Whether an automatic lambda has run into one of its bounds."""
    return math.isclose(lambd, LOWEST, rel_tol=1e-3) or math.isclose(lambd, HIGHEST, rel_tol=1e-3)
