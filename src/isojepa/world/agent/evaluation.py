"""Episodes apart from training: the agent without exploration, on seeds that it never trains on."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8

from isojepa.randomness import Stream, generator, seed_from
from isojepa.world.agent.acting import choose
from isojepa.world.agent.agent import Agent
from isojepa.world.agent.experience import as_tensor, in_eval_mode, stacked
from isojepa.world.environments.pixel_env import PixelEnv


class AgentEvaluation(NamedTuple):
    """What n evaluation episodes came to."""

    returns: Float[np.ndarray, " n"]
    lengths: Float[np.ndarray, " n"]
    """In environment steps."""
    success: Float[np.ndarray, " n"]
    """1 or 0; NaN where the environment does not define it."""
    expected: Float[np.ndarray, " n"]
    """What the agent expected to earn, discounted, at the start."""
    frames: list[UInt8[np.ndarray, "y x c"]]
    """Of the first episode, at every decision and at the end."""
    z: Float[torch.Tensor, "t d"]
    """Their embeddings, but for the end's; likewise `actions`."""
    actions: Float[torch.Tensor, "t a"]


@torch.no_grad()
def evaluate_agent(
    agent: Agent, envs: list[PixelEnv], *, seed: int, evaluation: int, horizon: int
) -> AgentEvaluation:
    """One episode in each environment, side by side; a function of (seed, evaluation)."""
    n, k = len(envs), agent.spec.stack
    seeds = [seed_from(seed, evaluation, i, Stream.AGENT_TEST) for i in range(n)]
    seen = [[env.reset(s)] for env, s in zip(envs, seeds)]
    returns, lengths = np.zeros(n), np.zeros(n)
    success, expected = np.full(n, np.nan), np.zeros(n)
    film, running, decision = list(seen[0]), np.ones(n, bool), 0
    path: list[tuple[torch.Tensor, torch.Tensor]] = []
    with in_eval_mode(agent):
        while running.any():
            rows = running.nonzero()[0]
            frames = np.stack([stacked(seen[i], k) for i in rows])[:, None]
            z = agent.encode(as_tensor(frames).to(agent.world.device))[:, 0].float()
            draws = generator(seed, evaluation, decision, Stream.AGENT_TEST)
            wanted = choose(agent, z, horizon=horizon, generator=draws)
            if running[0]:
                path.append((z[0].cpu(), wanted.action[0].cpu()))
            if decision == 0:
                expected[:] = wanted.value.cpu().numpy()
            for i, action in zip(rows, wanted.action.cpu().numpy().astype(np.float32)):
                for _ in range(agent.world.frame_skip):
                    step = envs[i].step(action)
                    returns[i] += step.reward
                    lengths[i] += 1
                    if step.terminated or step.truncated:
                        running[i] = False
                        success[i] = np.nan if step.success is None else float(step.success)
                        break
                seen[i] = [*seen[i], step.frame][-k:]
                if i == 0:
                    film.append(step.frame)
            decision += 1
    embeddings, actions = (torch.stack(x) for x in zip(*path))
    return AgentEvaluation(returns, lengths, success, expected, film, embeddings, actions)


def rate(success: Float[np.ndarray, " n"] | Bool[np.ndarray, " n"]) -> float | None:
    """Share of successes; None where success is not defined."""
    known = success[np.isfinite(success)]
    return float(known.mean()) if len(known) else None
