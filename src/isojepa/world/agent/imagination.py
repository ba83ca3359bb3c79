"""What an agent imagines of an episode, shown by the frames it has seen that are nearest to it."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.world.agent.agent import Agent
from isojepa.world.agent.experience import as_tensor, in_eval_mode
from isojepa.world.agent.replay import Replay

SEEN, AHEAD = 512, 10  # rows to choose from; decisions imagined before it looks again


@torch.no_grad()
def imagined_frames(
    agent: Agent,
    replay: Replay,
    z: Float[Tensor, "t d"],
    actions: Float[Tensor, "t a"],
    *,
    seed: int,
    step: int,
) -> list[UInt8[np.ndarray, "y x c"]]:
    """A frame for each decision: open loop for `AHEAD` of them, then from what is seen again.

    No decoder draws them: each is the seen frame whose embedding is nearest.

    Args:
        z: embeddings of what was seen at the decisions of an episode.
        actions: what was done there.
    """
    clips = replay.sample(
        seed, step, batch=SEEN, rows=1, stack=agent.spec.stack, share=slice(0, SEEN)
    )
    parts = -(-len(z) // AHEAD)
    padded = torch.zeros(parts * AHEAD, actions.shape[1])
    padded[: len(actions)] = actions
    with in_eval_mode(agent):
        bank = torch.cat([agent.encode(x)[:, 0] for x in as_tensor(clips.frames).split(128)])
        starts = z[::AHEAD]
        rolled = agent.imagine(starts, padded.unflatten(0, (parts, AHEAD))[:, None])[:, 0]
    states = torch.cat([starts[:, None], rolled[:, :-1]], 1).flatten(0, 1)[: len(z)]
    nearest = torch.cdist(states.float(), bank.float()).argmin(1)
    newest = clips.frames[:, 0, ..., -3:]
    return [newest[i] for i in nearest.tolist()]
