"""How what was left open follows from the settings and the environment, and the agent of both."""

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.randomness import Stream, seed_from
from isojepa.world.agent.agent import FOLDER, Agent, AgentSpec, load_agent
from isojepa.world.agent.config import LearnConfig
from isojepa.world.agent.experience import Exploration, Schedule
from isojepa.world.environments.pixel_env import PixelEnv
from isojepa.world.model.presets import WorldModelSpec, preset
from isojepa.world.model.world_model import WorldModel, load_world_model

log = logging.getLogger(__name__)
WARMUP = 200


class LearnPlan(NamedTuple):
    """The settings that a configuration may leave open, settled; named as its fields."""

    frame_size: int
    embedding_dim: int
    explore_until: int
    evaluate_every: int
    save_every: int
    steps: int
    """Updates."""
    lr: float

    def learning_rate(self, step: int) -> float:
        """Of update `step`, counted from 0: a warm-up, then the same."""
        return self.lr * min(1.0, (step + 1) / WARMUP)


def settle_learning(config: LearnConfig) -> LearnPlan:
    """Settle what was left open."""
    usual = preset(config.preset).spec
    online = -(-(config.env_steps - config.random_steps) // config.update_every)
    steps = max(1, online) + (config.offline_updates if config.data is not None else 0)
    tenth = max(1, config.env_steps // 10)
    return LearnPlan(
        frame_size=config.frame_size or usual.frame_size,
        embedding_dim=config.embedding_dim or usual.embedding_dim,
        explore_until=config.env_steps // 10
        if config.explore_until is None
        else config.explore_until,
        evaluate_every=config.evaluate_every or tenth,
        save_every=config.save_every or min(1000, max(100, steps // 10)),
        steps=steps,
        lr=config.lr,
    )


def schedule_of(config: LearnConfig) -> Schedule:
    """When to act and when to learn."""
    offline = config.offline_updates if config.data is not None else 0
    return Schedule(offline, config.random_steps, config.update_every)


def exploration_of(config: LearnConfig, plan: LearnPlan) -> Exploration:
    """How chance comes in."""
    return Exploration(
        random_steps=config.random_steps,
        until=plan.explore_until,
        start=config.explore,
        end=config.explore_end,
        hold=config.hold,
    )


def slack_of(config: LearnConfig, plan: LearnPlan) -> int:
    """Rows that a replay keeps beyond its capacity: what three checkpoints may be apart."""
    per_update = max(1, config.update_every // config.frame_skip + 1)
    return 3 * (plan.save_every * per_update * 2 + config.random_steps)


def build_agent(config: LearnConfig, plan: LearnPlan, env: PixelEnv) -> Agent:
    """The agent with its initial weights, or those of the run that it starts from.

    Raises:
        UserError: if that run does not fit.
    """
    torch.manual_seed(seed_from(config.seed, Stream.WEIGHTS))
    start = None if config.start_from is None else _start(config)
    spec = _world_spec(config, plan, env) if start is None else _stacked(start.spec, config, env)
    actions = env.actions
    agent = Agent(
        AgentSpec(
            world=spec,
            env=config.env,
            discrete=actions.discrete,
            a=actions.a,
            low=tuple(actions.low.tolist()),
            high=tuple(actions.high.tolist()),
            stack=config.stack,
            members=config.members,
            discount=config.discount,
        )
    )
    if start is not None:
        agent.world.load_state_dict(_for_stack(start, agent.world))
    agent.world.to(memory_format=torch.channels_last)
    return agent


def _world_spec(config: LearnConfig, plan: LearnPlan, env: PixelEnv) -> WorldModelSpec:
    usual, actions = preset(config.preset).spec, env.actions
    middle, half = np.zeros(actions.a), np.ones(actions.a)
    if not actions.discrete:
        middle, half = (actions.high + actions.low) / 2, (actions.high - actions.low) / 2
    return replace(
        usual,
        frame_size=plan.frame_size,
        embedding_dim=plan.embedding_dim,
        norm=config.norm,
        frame_skip=config.frame_skip,
        action_dim=actions.a * config.frame_skip,
        action_mean=tuple(float(x) for x in middle),
        action_std=tuple(float(x) for x in half),
        pixel_mean=usual.pixel_mean * config.stack,
        pixel_std=usual.pixel_std * config.stack,
    )


def _start(config: LearnConfig) -> WorldModel:
    assert config.start_from is not None
    if (config.start_from / FOLDER / "config.json").is_file():
        return load_agent(config.start_from).world
    return load_world_model(config.start_from)


def _stacked(spec: WorldModelSpec, config: LearnConfig, env: PixelEnv) -> WorldModelSpec:
    """The same model for stacks of frames; refused where its actions are others."""
    name, actions = shown(config.start_from or ""), env.actions
    if spec.action_dim != actions.a * spec.frame_skip:
        raise UserError(
            f"--start-from {name}: its blocks of actions have {spec.action_dim} numbers and those "
            f"of {config.env} have {actions.a} x {spec.frame_skip}"
        )
    if spec.frozen is not None:
        raise UserError(f"--start-from {name}: its encoder is frozen features, which do not learn")
    said = {"frame_size": spec.frame_size, "embedding_dim": spec.embedding_dim}
    for field, its in said.items():
        asked = getattr(config, field)
        if asked is not None and asked != its:
            raise UserError(f"--{field.replace('_', '-')} {asked}: --start-from {name} has {its}")
    times = config.stack * 3 // len(spec.pixel_mean)
    if times * len(spec.pixel_mean) != config.stack * 3:
        raise UserError(f"--stack {config.stack}: --start-from {name} sees other stacks of frames")
    return replace(spec, pixel_mean=spec.pixel_mean * times, pixel_std=spec.pixel_std * times)


def _for_stack(start: WorldModel, world: WorldModel) -> dict[str, torch.Tensor]:
    """Its weights; the first layer reads the newest frame as before and the older ones not yet."""
    wanted, weights = world.state_dict(), {}
    for name, x in start.state_dict().items():
        shape = wanted[name].shape
        if x.shape != shape:
            padded = torch.zeros(shape, dtype=x.dtype)
            padded[:, shape[1] - x.shape[1] :] = x
            x = padded
        weights[name] = x
    return weights
