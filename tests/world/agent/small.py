"""Small agents, batches and environments for the tests."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from isojepa.world.agent.agent import Agent, AgentSpec
from isojepa.world.agent.objective import AgentBatch
from isojepa.world.model.presets import MICRO


def small_agent(
    *, discrete: bool = True, a: int = 2, stack: int = 2, seed: int = 0, **changes: Any
) -> Agent:
    """An agent of 16 px frames, in training mode, its heads no longer at zero."""
    skip = changes.pop("frame_skip", 1)
    sizes: dict[str, Any] = {
        "frame_size": 16, "embedding_dim": 8, "projector_hidden": 16, "width": 8, "depth": 1,
        "heads": 1, "head_width": 8, "mlp": 16, "norm": "group", "frame_skip": skip,
        "action_dim": a * skip, "action_mean": (0.0,) * a, "action_std": (1.0,) * a,
        "pixel_mean": (0.5,) * 3 * stack, "pixel_std": (0.5,) * 3 * stack,
    }  # fmt: skip
    world = replace(MICRO, **sizes | changes.pop("world", {}))
    torch.manual_seed(seed)
    agent = Agent(
        AgentSpec(
            world=world, env="isojepa/CartPole-v1", discrete=discrete, a=a, low=(-1.0,) * a,
            high=(1.0,) * a, stack=stack, hidden=16, bins=21, **changes,
        )
    )  # fmt: skip
    with torch.no_grad():
        for head in (agent.reward, agent.continuation, agent.values, agent.policy):
            for parameter in head.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    agent.slow_values.load_state_dict(agent.values.state_dict())
    return agent


def small_batch(agent: Agent, *, b: int = 6, t: int = 4, seed: int = 1) -> AgentBatch:
    """A batch with the end of an episode and the next one's beginning in it."""
    random = torch.Generator().manual_seed(seed)
    size, channels, a = agent.world.frame_size, 3 * agent.spec.stack, agent.spec.a
    frames = torch.randint(0, 256, (b, t, channels, size, size), generator=random)
    if agent.spec.discrete:
        actions = torch.eye(a)[torch.randint(0, a, (b, t), generator=random)]
    else:
        actions = 2 * torch.rand((b, t, a), generator=random) - 1
    first, terminated = torch.zeros(b, t, dtype=torch.bool), torch.zeros(b, t, dtype=torch.bool)
    first[0, 2], terminated[0, 1] = True, True
    first[1, 3] = True  # cut, not over
    rewards = torch.randn((b, t), generator=random)
    rewards[first] = 0
    planned = torch.ones(b, t, dtype=torch.bool)
    return AgentBatch(frames.to(torch.uint8), actions, actions, planned, rewards, first, terminated)


def gradient(parameters: Any) -> np.ndarray:
    """All gradients, one after the other; zero where there is none."""
    return np.concatenate(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten().numpy() for p in parameters]
    )
