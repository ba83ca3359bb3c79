"""Acting without search: one look, one pass through a small network, one block of actions."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from isojepa.errors import UserError
from isojepa.world.control.frames import encode_frames
from isojepa.world.control.policy import Observation, VectorPolicy
from isojepa.world.learning.goal_networks import GoalNetworks, Reachability
from isojepa.world.model.latent import LatentModel


class DirectGoalPolicy(VectorPolicy):
    """Acts towards image goals by the network that `isojepa world direct` trains.

    Args:
        model: in eval mode.
        networks: trained on its embeddings.
        low: least value of each action dimension of the environment; likewise `high`.
        waypoints: what to aim at on the way to far goals.
    """

    def __init__(
        self,
        model: LatentModel,
        networks: GoalNetworks,
        *,
        low: Float[np.ndarray, " a"],
        high: Float[np.ndarray, " a"],
        waypoints: "Waypoints | None" = None,
    ) -> None:
        self.model, self.networks, self.bounds = model, networks, (low, high)
        self.waypoints = waypoints

    def begin(self, b: int, goals: UInt8[np.ndarray, "b y x c"] | None) -> None:
        """See `VectorPolicy`.

        Raises:
            UserError: without goals.
        """
        del b
        if goals is None:
            raise UserError("acting needs a goal: give the policy an image of what it shall see")
        self._goals = encode_frames(self.model, goals)

    def actions(self, observation: Observation) -> Float[np.ndarray, "n k a"]:
        """The next block of every episode."""
        z = encode_frames(self.model, observation.frames)
        goals = self._goals[torch.from_numpy(observation.rows).to(z.device)]
        if self.waypoints is not None:
            goals = self.waypoints(z, goals)
        block = self.model.scale.restore(self.networks.act(z, goals).cpu().numpy())
        return block.reshape(len(z), self.model.frame_skip, -1)


@dataclass(frozen=True)
class StepsTo:
    """Learnt steps to each episode's goal, in place of a distance of embeddings."""

    reach: Reachability
    goal: Float[Tensor, "b e"]
    """As `reach.embed` gives it."""

    @staticmethod
    def to(reach: Reachability, goal: Float[Tensor, "b d"]) -> "StepsTo":
        """To the goals of these embeddings."""
        with torch.no_grad():
            return StepsTo(reach, reach.embed(goal))

    def __call__(self, z: Float[Tensor, "b s h d"]) -> Float[Tensor, "b s h"]:
        return self.reach.between(self.reach.embed(z), self.goal[:, None, None])

    def select(self, rows: Int[Tensor, " n"]) -> "StepsTo":
        """The same for some of the episodes."""
        return StepsTo(self.reach, self.goal[rows])


@dataclass(frozen=True)
class Waypoints:
    """Frames of the data as goals on the way to one that is further than predictions hold."""

    reach: Reachability
    z: Float[Tensor, "n d"]
    """Their embeddings."""
    embedded: Float[Tensor, "n e"]
    """As `reach.embed` gives them."""
    within: float
    """Steps that predictions hold for."""

    @staticmethod
    @torch.no_grad()
    def among(reach: Reachability, z: Float[Tensor, "n d"], *, within: float) -> "Waypoints":
        """Of frames of these embeddings."""
        return Waypoints(reach, z, reach.embed(z), within)

    @torch.no_grad()
    def __call__(self, z: Float[Tensor, "b d"], goal: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """What to aim at from z: the goal, or of the frames within reach the one nearest to it."""
        now, end = (self.reach.embed(x)[:, None] for x in (z, goal))
        left = self.reach.between(self.embedded, end)
        left = left.masked_fill(self.reach.between(now, self.embedded) > self.within, torch.inf)
        nearest, which = left.min(1)
        whole = self.reach.between(now, end)[:, 0]
        far = (whole > self.within) & (nearest < whole)
        return torch.where(far[:, None], self.z[which], goal)


@torch.no_grad()
def gains_enough(
    model: LatentModel, networks: GoalNetworks, share: float, z: Float[Tensor, "b d"],
    goal: Float[Tensor, "b d"], plan: Float[Tensor, "b h a"],
) -> Bool[Tensor, " b"]:  # fmt: skip
    """Whether a plan brings the goal nearer by a share of the steps that so many blocks could.

    By the model's predictions and the learnt steps.
    """
    past = plan.new_zeros(len(z), 0, plan.shape[-1])
    ahead = model.rollout(z[:, None], past, plan[:, None])[:, 0]
    now, left = (
        networks.reach(z, goal),
        networks.reach(ahead, goal[:, None].expand_as(ahead)).amin(1),
    )
    return now - left >= share * now.clamp(max=plan.shape[1] * model.frame_skip)


@torch.no_grad()
def imagined_plan(
    model: LatentModel, networks: GoalNetworks, z: Float[Tensor, "b d"],
    goal: Float[Tensor, "b d"], horizon: int,
) -> Float[Tensor, "b h a"]:  # fmt: skip
    """What the direct policy would do for so many blocks, by the model's predictions."""
    blocks: list[Tensor] = []
    for _ in range(horizon):
        blocks.append(networks.act(z, goal))
        past = blocks[-1].new_zeros(len(z), 0, blocks[-1].shape[-1])
        z = model.rollout(z[:, None], past, blocks[-1][:, None, None])[:, 0, 0]
    return torch.stack(blocks, 1)
