"""Environments of which more is known than the platform says: states, success rules, scripts."""

import numpy as np

from isojepa.errors import UserError
from isojepa.world.environments.environment import (
    Environment,
    PlatformPolicy,
    Quantity,
    Row,
    StrictRule,
)
from isojepa.world.environments.rooms import crosses_legally, in_other_room

POSITION, STATE, QPOS, QVEL = "proprio", "state", "qpos", "qvel"
BLOCK, TURN = "privileged_block_0_pos", "privileged_block_0_quat"
FINGER = "finger_pos"


def two_room_policy(noise: float | None, seed: int) -> PlatformPolicy:
    """The platform's expert."""
    from stable_worldmodel.envs.two_room import ExpertPolicy

    return ExpertPolicy(
        action_noise=2.0 if noise is None else noise, action_repeat_prob=0.05, seed=seed
    )


def two_room_oracle(seed: int) -> PlatformPolicy:
    """The same without anything random."""
    from stable_worldmodel.envs.two_room import ExpertPolicy

    return ExpertPolicy(seed=seed)


def push_t_policy(noise: float | None, seed: int) -> PlatformPolicy:
    """The platform's weak policy."""
    from stable_worldmodel.envs.pusht import WeakPolicy

    if noise is not None:
        raise UserError("--action-noise: the scripted policy of PushT is random and takes none")
    return WeakPolicy(dist_constraint=100, seed=seed)


def cube_policy(noise: float | None, seed: int) -> PlatformPolicy:
    """The platform's expert."""
    from stable_worldmodel.envs.ogbench import ExpertPolicy

    return ExpertPolicy(action_noise=0.1 if noise is None else noise, seed=seed)


def values(row: Row, column: str) -> np.ndarray:
    """A column of a row in double precision."""
    return np.asarray(row[column], np.float64)


def apart(column: str, state: Row, goal: Row, first: int | None = None) -> np.ndarray:
    """Euclidean distance of two states in a column's last axis, or in its first few entries."""
    difference = values(state, column)[..., :first] - values(goal, column)[..., :first]
    return np.asarray(np.linalg.norm(difference, axis=-1))


def push_t_angle(state: Row, goal: Row) -> np.ndarray:
    """Of the block to the goal's, the short way round."""
    turn = np.abs(state[STATE][..., 4] - goal[STATE][..., 4]) % (2 * np.pi)
    return np.asarray(np.minimum(turn, 2 * np.pi - turn))


def cube_angle(state: Row, goal: Row) -> np.ndarray:
    """Of the turn between two unit quaternions."""
    cosine = np.abs((values(state, TURN) * values(goal, TURN)).sum(-1))
    return np.asarray(2 * np.arccos(np.minimum(1.0, cosine)))


def reacher_distance(state: Row, goal: Row) -> np.ndarray:
    """Of the joint further off."""
    return np.asarray(np.abs(np.asarray(state[QPOS]) - np.asarray(goal[QPOS])).max(-1))


TWO_ROOM = Environment(
    id="swm/TwoRoom-v1",
    steps=100,
    needs=(POSITION,),
    set_start=lambda env, row: env._set_state(np.asarray(row[POSITION], np.float32)),
    set_goal=lambda env, row: env._set_goal_state(np.asarray(row[POSITION], np.float32)),
    distance=lambda state, goal: apart(POSITION, state, goal),
    unit="pixels of 224",
    solved=lambda state, goal: apart(POSITION, state, goal) < 16.0,
    strict=StrictRule(
        words="within 8 px, the wall crossed through the door",
        needs=(POSITION,),
        near=lambda state, goal: apart(POSITION, state, goal) < 8.0,
        legal=lambda env, before, after: crosses_legally(env, before[POSITION], after[POSITION]),
    ),
    walled=lambda state, goal: in_other_room(state[POSITION], goal[POSITION]),
    quantities=(Quantity("x", POSITION, 0), Quantity("y", POSITION, 1)),
    scripted=two_room_policy,
    oracle=two_room_oracle,
)
PUSH_T = Environment(
    id="swm/PushT-v1",
    steps=100,
    needs=(STATE,),
    set_start=lambda env, row: env._set_state(values(row, STATE)),
    set_goal=lambda env, row: env._set_goal_state(values(row, STATE)),
    distance=lambda state, goal: apart(STATE, state, goal, first=4),
    unit="pixels of 512, agent and block together",
    solved=lambda state, goal: (
        (apart(STATE, state, goal, first=4) < 20) & (push_t_angle(state, goal) < np.pi / 9)
    ),
    strict=StrictRule(
        words="within 10 px and 10 degrees, held for 3 steps",
        needs=(STATE,),
        near=lambda state, goal: (
            (apart(STATE, state, goal, first=4) < 10) & (push_t_angle(state, goal) < np.pi / 18)
        ),
        hold=3,
    ),
    quantities=(
        Quantity("agent x", STATE, 0),
        Quantity("agent y", STATE, 1),
        Quantity("block x", STATE, 2),
        Quantity("block y", STATE, 3),
        Quantity("block angle", STATE, 4, angle=True),
    ),
    scripted=push_t_policy,
)
CUBE = Environment(
    id="swm/OGBCube-v0",
    steps=200,
    options={
        "env_type": "single", "ob_type": "states", "multiview": False, "visualize_info": False,
        "terminate_at_goal": True,
    },
    collect_options={"terminate_at_goal": False, "mode": "data_collection"},
    needs=(QPOS, QVEL, BLOCK, TURN),
    set_start=lambda env, row: env.set_state(values(row, QPOS), values(row, QVEL)),
    set_goal=lambda env, row: env.set_target_pos(0, values(row, BLOCK), values(row, TURN)),
    distance=lambda state, goal: apart(BLOCK, state, goal),
    unit="metres",
    solved=lambda state, goal: apart(BLOCK, state, goal) <= 0.04,
    strict=StrictRule(
        words="within 3 cm and 15 degrees, held for 3 steps",
        needs=(BLOCK, TURN),
        near=lambda state, goal: (
            (apart(BLOCK, state, goal) < 0.03) & (cube_angle(state, goal) < np.pi / 12)
        ),
        hold=3,
    ),
    quantities=tuple(
        Quantity(f"{what} {axis}", column, i)
        for what, column in (("block", BLOCK), ("gripper", "proprio_effector_pos"))
        for i, axis in enumerate("xyz")
    ),
    scripted=cube_policy,
)  # fmt: skip
REACHER = Environment(
    id="swm/ReacherDMControl-v0",
    steps=200,
    options={"task": "qpos_match"},
    needs=(QPOS, QVEL),
    set_start=lambda env, row: env.set_state(values(row, QPOS), values(row, QVEL)),
    set_goal=lambda env, row: env.set_target_qpos(values(row, QPOS)),
    distance=reacher_distance,
    unit="radians, the joint further off",
    solved=lambda state, goal: reacher_distance(state, goal) < 0.05,
    strict=StrictRule(
        words="the fingertip within 1 cm, held for 2 steps",
        needs=(FINGER,),
        near=lambda state, goal: apart(FINGER, state, goal) < 0.01,
        hold=2,
    ),
    quantities=(
        Quantity("shoulder", QPOS, 0, angle=True),
        Quantity("wrist", QPOS, 1, angle=True),
        Quantity("finger x", "finger_pos", 0),
        Quantity("finger y", "finger_pos", 1),
    ),
    no_script="the platform's is a trained network whose weights it does not ship",
)
