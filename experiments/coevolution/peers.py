"""Peers on the same frames: stable-baselines3's PPO and DQN, or SAC for numbers, with their CNNs.

    python experiments/coevolution/peers.py --env isojepa/CartPole-v1 --env-steps 100000
    python experiments/coevolution/peers.py --env isojepa/TwoRoom-v0 --frame-skip 5 --stack 1

Needs the extra bench. The same environment, frame size, stack, held actions, environment steps
and evaluation seeds as `isojepa world learn`; their settings are the library's defaults, but for
DQN and SAC, whose memory and first update are those of the agent. A line per evaluation goes to
OUT as CSV, with the minutes it took: curves can be compared at equal steps and at equal minutes.

What it costs was not measured yet; the minutes are in the file.
"""

import csv
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import torch
import tyro

from isojepa.randomness import Stream, seed_from
from isojepa.world import PixelEnv, make_pixel_env, parse_options, stacked

COLUMNS = ("env", "algorithm", "seed", "env_steps", "minutes", "return", "success")


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One peer, one environment, one seed."""

    env: str
    algorithm: Literal["ppo", "dqn", "sac"] = "ppo"
    """dqn is for choices, sac for numbers."""
    option: tuple[str, ...] = ()
    """Arguments of the environment, NAME=VALUE."""
    out: Path = Path("peers.csv")
    env_steps: int = 100_000
    evaluate_every: int = 10_000
    """Environment steps."""
    test_episodes: int = 10
    random_steps: int = 1000
    frame_size: int = 64
    stack: int = 2
    frame_skip: int = 1
    seed: int = 0


class HeldFrames(gym.Env[np.ndarray, Any]):
    """An environment as the agent sees it: stacked frames, actions held for some steps."""

    def __init__(self, config: Peer) -> None:
        self.inner: PixelEnv = make_pixel_env(
            config.env, frame_size=config.frame_size, options=parse_options(config.option)
        )
        self.config, actions = config, self.inner.actions
        shape = (config.frame_size, config.frame_size, 3 * config.stack)
        self.observation_space = gym.spaces.Box(0, 255, shape, np.uint8)
        one = np.ones(actions.a, np.float32)
        self.action_space = (
            gym.spaces.Discrete(actions.a) if actions.discrete else gym.spaces.Box(-one, one)
        )
        self.episode, self.taken = 0, 0
        self.success: bool | None = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, Any]:  # noqa: ARG002
        """The agent's own training seeds in turn, or the one given."""
        own = seed_from(self.config.seed, self.episode, Stream.AGENT_EPISODE)
        self.episode += seed is None
        self._seen = [self.inner.reset(own if seed is None else seed)]
        return stacked(self._seen, self.config.stack), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, Any]:
        """Hold the action."""
        a, total = self.inner.actions, 0.0
        unit = np.asarray(action, np.float32)
        if a.discrete:
            unit = np.eye(a.a, dtype=np.float32)[int(action)]
        for _ in range(self.config.frame_skip):
            seen = self.inner.step(unit)
            total, self.taken = total + seen.reward, self.taken + 1
            if seen.terminated or seen.truncated:
                break
        self.success = seen.success
        self._seen = [*self._seen, seen.frame][-self.config.stack :]
        frames = stacked(self._seen, self.config.stack)
        return frames, total, seen.terminated, seen.truncated, {}


def build(config: Peer, env: HeldFrames) -> Any:
    """The peer's learner."""
    from stable_baselines3 import DQN, PPO, SAC

    common: dict[str, Any] = {"env": env, "seed": config.seed, "device": "cpu"}
    common["policy"] = "CnnPolicy"
    if config.algorithm == "ppo":
        return PPO(**common)
    first = config.random_steps // config.frame_skip
    memory: dict[str, Any] = {"buffer_size": 100_000, "learning_starts": first}
    return DQN(**common, **memory) if config.algorithm == "dqn" else SAC(**common, **memory)


def evaluate(learner: Any, config: Peer, evaluation: int) -> tuple[float, float | None]:
    """Mean return and success without exploration, on the agent's evaluation seeds."""
    env = HeldFrames(config)
    returns: list[float] = []
    successes: list[bool | None] = []
    for i in range(config.test_episodes):
        frames, _ = env.reset(seed=seed_from(config.seed, evaluation, i, Stream.AGENT_TEST))
        total, over = 0.0, False
        while not over:
            action, _ = learner.predict(frames, deterministic=True)
            frames, reward, terminated, truncated, _ = env.step(action)
            total, over = total + reward, terminated or truncated
        returns.append(total)
        successes.append(env.success)
    known = [float(x) for x in successes if x is not None]
    return float(np.mean(returns)), float(np.mean(known)) if known else None


def main(config: Peer) -> None:
    """Learn, evaluating as it goes."""
    torch.set_num_threads(1)
    env = HeldFrames(config)
    learner, minutes = build(config, env), 0.0
    new = not config.out.exists()
    with config.out.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(
                ["env", "algorithm", "seed", "env_steps", "minutes", "return", "success"]
            )
        while env.taken < config.env_steps:
            began = time.monotonic()
            learner.learn(
                config.evaluate_every // config.frame_skip, reset_num_timesteps=env.taken == 0
            )
            minutes += (time.monotonic() - began) / 60
            mean, success = evaluate(learner, config, env.taken)
            line = [config.env, config.algorithm, config.seed, env.taken, round(minutes, 2), mean]
            writer.writerow([*line, success])
            file.flush()
            print(line, success, flush=True)


if __name__ == "__main__":
    main(tyro.cli(Peer))
