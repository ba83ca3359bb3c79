"""Model-predictive path integral control."""

from dataclasses import dataclass

import torch
from torch import Tensor

from isojepa.world.planners.problem import check_positive
from isojepa.world.planners.search import ElitePlanner, State


@dataclass(frozen=True, kw_only=True)
class MPPI(ElitePlanner):
    """The elites' mean, weighted by exp(-cost / temperature).

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
