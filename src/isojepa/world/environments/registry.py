"""Environments by id."""

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from isojepa.errors import UserError
from isojepa.world.environments.environment import Environment, Row
from isojepa.world.environments.fast import FAST, register_fast
from isojepa.world.environments.known import CUBE, PUSH_T, REACHER, TWO_ROOM, values
from isojepa.world.environments.platform import explained, platform
from isojepa.world.environments.states import INNER, MUJOCO, POSE, read_state, write_state
from isojepa.world.episodes.trajectories import Trajectories

ENVIRONMENTS = {known.id: known for known in (TWO_ROOM, PUSH_T, CUBE, REACHER)}


NEAR = 0.05  # of the range that the data cover, in each number of the pose


def environment(env_id: str) -> Environment:
    """What is known of an environment: its entry in the table, else what any other one has.

    Any id that Gymnasium knows will do, `module:Name-v0` included, which imports the module.

    Raises:
        UserError: if there is no such environment.
    """
    import gymnasium as gym

    if env_id in ENVIRONMENTS:
        platform()
        return ENVIRONMENTS[env_id]
    platform()  # registers its own
    register_fast()
    module, _, name = env_id.rpartition(":")
    if module:
        with explained(env_id):
            importlib.import_module(module)
    if name not in gym.registry:
        raise UserError(f"--env {env_id}: no such environment; {_close_to(env_id, gym.registry)}")
    steps = gym.registry[name].max_episode_steps or Environment.steps
    return Environment(
        id=env_id, steps=steps, no_script="it comes with none", own_rule=False,
        states=read_state, set_start=write_state,
    )  # fmt: skip


def judged(known: Environment, data: Trajectories) -> Environment:
    """An environment of which no more is known than its states, with a rule made from data.

    A goal is reached where every number of the pose is as near to the goal's as `NEAR` of the range
    that the data cover. See `states` for what a pose is.

    Raises:
        UserError: if the data set has no states that can be put back.
    """
    if known.own_rule:
        return known
    needs = tuple(name for name in (INNER, *MUJOCO) if name in data.columns)
    if not needs or POSE not in data.columns:
        raise UserError(
            f"{data.path}: holds no states of {known.id} that could be set, so that nothing can be "
            "played again; with isojepa.world.load_policy act in a loop of your own, or plan "
            "towards a picture: --goal image.png"
        )
    pose = np.asarray(data.column(POSE), np.float64)
    width = np.maximum(np.ptp(pose, axis=0), 1e-6)

    def off(state: Row, goal: Row) -> np.ndarray:
        return np.asarray((np.abs(values(state, POSE) - values(goal, POSE)) / width).max(-1))

    return replace(
        known,
        needs=(*needs, POSE),
        distance=off,
        unit="share of the range that the data cover, in the number furthest off",
        solved=lambda state, goal: off(state, goal) < NEAR,
    )


def _close_to(env_id: str, registry: Iterable[str]) -> str:
    """Ids that look like it, those that this package or the platform brings first."""
    ours = [*sorted(platform().envs.WORLDS), *FAST]
    known = {name.lower(): name for name in (*ours, *registry)}
    short = {name.split("/")[-1].split("-")[0]: known[name] for name in reversed(known)}
    close = difflib.get_close_matches(env_id.lower(), [*known, *short], n=3, cutoff=0.5)
    names = list(dict.fromkeys({**known, **short}[name] for name in close))
    some = "some are swm/TwoRoom-v1, swm/PushT-v1 and CartPole-v1"
    return f"did you mean {' or '.join(names)}?" if names else some
