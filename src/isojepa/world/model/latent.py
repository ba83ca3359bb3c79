"""Where model and planner meet."""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from isojepa.world.episodes.action_scale import ActionScale


@runtime_checkable
class LatentModel(Protocol):
    """A model that planners can plan with, in eval mode.

    b episodes, t frames `frame_skip` environment steps apart, s candidates of h blocks.
    """

    frame_size: int
    """Side of the frames in pixels."""
    frame_skip: int
    """Environment steps between two frames, which is in a block of actions."""
    history: int
    """Most frames that a prediction depends on."""
    embedding_dim: int
    action_dim: int
    """Numbers in a block of `frame_skip` environment actions; 0 without actions."""
    scale: ActionScale
    """How the environment's actions are normalised."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def encode(self, frames: Shaped[Tensor, "b t c y x"]) -> Float[Tensor, "b t d"]:
        """Embed frames of `frame_size` pixels, uint8 or floats in [0, 1]."""
        ...

    def rollout(
        self,
        z: Float[Tensor, "b t d"],
        past_actions: Float[Tensor, "b p a"],
        candidates: Float[Tensor, "b s h a"],
    ) -> Float[Tensor, "b s h d"]:
        """Predict what each candidate would lead to, open loop from the last frame.

        Args:
            z: embeddings of t frames, of which the last `history` count.
            past_actions: the t - 1 normalised blocks between these frames.
            candidates: normalised blocks from the last frame on.

        Returns:
            Embeddings after 1 to h blocks.
        """
        ...
