"""A latent model that knows its world exactly, for planning in it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from isojepa.world.episodes.action_scale import ActionScale


class Positions(nn.Module):
    """An embedding is the agent's position; an action moves it by `move`.

    Args:
        shown: frames (n, t, c, y, x) -> how much of the agent each pixel shows (n, t, y, x).
        pixel: side of a pixel, in the unit of positions; `corner`: the first one's position.
        std: of the actions in the data.
    """

    embedding_dim, history, device = 2, 3, torch.device("cpu")

    def __init__(
        self,
        frame_size: int = 8,
        *,
        frame_skip: int = 1,
        move: float = 1.0,
        std: float = 1.0,
        shown: Callable[[Tensor], Tensor] = lambda x: x[:, :, 0],
        pixel: float = 1.0,
        corner: float = 0.0,
    ) -> None:
        super().__init__()
        self.frame_size, self.frame_skip, self.action_dim = frame_size, frame_skip, 2 * frame_skip
        self.move, self.shown = move, shown
        self.at = torch.arange(frame_size) * pixel + corner
        self.scale = ActionScale(torch.zeros(2), torch.full((2,), std))
        self.encoded = 0
        self.pasts: list[tuple[Tensor, Tensor]] = []

    def encode(self, frames: Tensor) -> Tensor:
        self.encoded += frames.shape[0]
        here = self.shown(frames.float())
        total = here.sum((-2, -1)).clamp(min=1)
        x, y = ((here.sum(axis) * self.at).sum(-1) / total for axis in (-2, -1))
        return torch.stack([x, y], -1)

    def rollout(self, z: Tensor, past_actions: Tensor, candidates: Tensor) -> Tensor:
        self.pasts.append((z, past_actions))
        steps = self.scale.restore(candidates).unflatten(-1, (-1, 2)).sum(-2)
        return z[:, -1][:, None, None] + self.move * steps.cumsum(2)

    def for_planning(self, dtype: torch.dtype) -> "Positions":
        assert dtype == torch.float32
        return self
