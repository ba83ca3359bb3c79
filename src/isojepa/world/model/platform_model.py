"""A model of ours behind the protocol of the `stable-worldmodel` platform."""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.errors import UserError
from isojepa.world.model.rollout import evaluating
from isojepa.world.model.world_model import WorldModel

Info = dict[str, Any]
EMBEDDED, GOAL, PREDICTED = "emb", "goal_emb", "predicted_emb"  # as the platform names them


def as_platform_model(model: WorldModel, *, standardised: bool = True) -> "PlatformModel":
    """Our model behind the platform's protocol, so that its solvers and policies plan with it.

    Args:
        standardised: whether float pixels come with ImageNet's mean and deviation taken out, as
            from the platform's transforms, rather than in [0, 1]. Bytes are always understood.
    """
    return PlatformModel(model, standardised)


class PlatformModel(nn.Module):
    """`get_cost` and `criterion` as the platform's solvers call them; made by
    `as_platform_model`."""

    def __init__(self, model: WorldModel, standardised: bool) -> None:
        super().__init__()
        self.model = evaluating(model)  # the caller's stays in its mode
        self.standardised = standardised

    @torch.no_grad()
    def get_cost(
        self, info_dict: Info, action_candidates: Float[Tensor, "b s h a"]
    ) -> Float[Tensor, "b s"]:
        """Squared distance of the last predicted embedding from the goal's.

        Args:
            info_dict: "pixels" and "goal", (b, s, t, c, y, x) with equal entries along s, as the
                solvers expand them. Embeddings are kept in it for the next call.
            action_candidates: with t frames, the first t - 1 blocks led from one to the next.
        """
        for name, kept in (("pixels", EMBEDDED), ("goal", GOAL)):
            if kept not in info_dict:
                if name not in info_dict:
                    raise UserError(f"planning needs {name!r} among the observations")
                info_dict[kept] = self.model.encode(self._unit(info_dict[name][:, 0]))
        z, s = info_dict[EMBEDDED], action_candidates.shape[1]
        past = z.shape[1] - 1
        if past == 0:
            none = action_candidates[:, 0, :0]
            rolled = self.model.rollout(z, none, action_candidates)
        else:  # every candidate brings a past of its own
            flat = action_candidates.flatten(0, 1)
            z = z.repeat_interleave(s, 0)
            rolled = self.model.rollout(z, flat[:, :past], flat[:, None, past:])
            rolled = rolled[:, 0].unflatten(0, (-1, s))
        info_dict[PREDICTED] = rolled
        return self.criterion(info_dict, action_candidates)

    def criterion(
        self, info_dict: Info, action_candidates: Tensor | None = None
    ) -> Float[Tensor, "b s"]:
        """The cost of what `get_cost` predicted."""
        del action_candidates
        last, goal = info_dict[PREDICTED][:, :, -1], info_dict[GOAL][:, None, -1]
        return F.mse_loss(last, goal.expand_as(last), reduction="none").sum(-1)

    def _unit(self, frames: Tensor) -> Tensor:
        if not frames.is_floating_point() or not self.standardised:
            return frames
        mean, std = (
            torch.tensor(x).to(frames).view(3, 1, 1)
            for x in (self.model.spec.pixel_mean, self.model.spec.pixel_std)
        )
        return frames * std + mean
