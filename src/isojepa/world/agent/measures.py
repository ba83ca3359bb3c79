"""The state of a representation while it learns: rank, Gaussianity, dormant units."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from isojepa.embeddings.label_free import effective_rank
from isojepa.normality.gaussianity import gaussianity_test
from isojepa.world.agent.agent import Agent
from isojepa.world.agent.experience import as_tensor, in_eval_mode
from isojepa.world.agent.replay import Replay

DORMANT = 0.025
"""Share of its layer's mean activation below which a unit is dormant (Sokar et al. 2023)."""
ROWS = 256


class Measured(NamedTuple):
    """Of the embeddings of rows drawn from the replay."""

    effective_rank: float
    """Around 0: from 1 (collapsed) to the embedding dimension."""
    deviation: float
    """Of a coordinate, root mean square: 1 is SIGReg's aim, 0 a collapse."""
    p_value: float
    """Of N(0, I), by SIGReg's statistic; neighbouring frames are alike, so it is too small."""
    dormant: float
    """Share of the hidden units of encoder and heads, in [0, 1]."""

    def as_metrics(self) -> dict[str, float]:
        """One number per name, for metrics.jsonl."""
        return {
            "effective_rank": self.effective_rank,
            "deviation": self.deviation,
            "gaussianity_p": self.p_value,
            "dormant": self.dormant,
        }


@torch.no_grad()
def measure_agent(agent: Agent, replay: Replay, *, seed: int, step: int) -> Measured:
    """Measure on `ROWS` rows, a function of (seed, step) and the replay."""
    clips = replay.sample(
        seed, step, batch=ROWS, rows=1, stack=agent.spec.stack, share=slice(0, ROWS)
    )
    frames = as_tensor(clips.frames).to(agent.world.device)
    actions = torch.from_numpy(np.ascontiguousarray(clips.actions)).to(agent.world.device)
    with in_eval_mode(agent), Activity(agent) as activity:
        z = agent.encode(frames).float()
        agent.reward(z, actions)
        agent.values(z, actions)
        agent.policy(z)
    flat = z[:, 0].cpu()
    array: np.ndarray = flat.numpy()
    tested = gaussianity_test(flat, n_null=200, slices=64)
    deviation = float(flat.var(0, correction=0).mean().sqrt())
    rank = effective_rank(array, centred=False)
    return Measured(rank, deviation, tested.p_value, activity.dormant)


class Activity:
    """Watches the non-linearities of a module while it is used."""

    def __init__(self, module: nn.Module) -> None:
        self._parts = [m for m in module.modules() if isinstance(m, nn.ReLU | nn.GELU | nn.SiLU)]
        self._dormant = self._units = 0

    def __enter__(self) -> "Activity":
        self._hooks = [part.register_forward_hook(self._note) for part in self._parts]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _note(self, _part: nn.Module, _given: object, out: Tensor) -> None:
        axis = 1 if out.ndim == 4 else out.ndim - 1  # channels of a map, or the last axis
        others = [i for i in range(out.ndim) if i != axis]
        activity = out.abs().mean(others)
        self._dormant += int((activity <= DORMANT * activity.mean()).sum())
        self._units += len(activity)

    @property
    def dormant(self) -> float:
        """Share of the units seen that are dormant."""
        return self._dormant / max(1, self._units)
