"""States of environments that nobody described: recorded, put back, and compared by their pose.

Two kinds are known by what they hold: MuJoCo's model and data, as in Gymnasium's, dm_control's and
many others, and the `state` of Gymnasium's classic control. A pose is what of a state a picture can
show: positions without velocities, turns as their cosine and sine.
"""

import sys
from typing import Any

import numpy as np
from jaxtyping import Float

from isojepa.world.environments.environment import Row

POSE, INNER = "pose", "inner_state"
MUJOCO = ("qpos", "qvel", "act")
CLASSIC: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "CartPoleEnv": ((0,), (2,)),
    "MountainCarEnv": ((0,), ()),
    "Continuous_MountainCarEnv": ((0,), ()),
    "PendulumEnv": ((), (0,)),
    "AcrobotEnv": ((), (0, 1)),
}
"""Which numbers of the state are positions, and which are turns, by the class that holds it."""


def read_state(env: Any) -> dict[str, np.ndarray]:
    """What puts an unwrapped environment back where it is, and its pose; {} if unknown."""
    if (engine := mujoco_of(env)) is not None:
        model, data = engine
        state = {name: np.array(getattr(data, name)) for name in MUJOCO}
        state[POSE] = mujoco_pose(model, data.qpos)
        return {name: numbers for name, numbers in state.items() if numbers.size}
    if (inner := _classic_of(env)) is not None:
        held = np.array(inner.state, np.float64)
        places, turns = CLASSIC[type(inner).__name__]
        return {INNER: held, POSE: _pose(held[list(places)], held[list(turns)])}
    return {}


def write_state(env: Any, row: Row) -> None:
    """Put an unwrapped environment into a state that `read_state` gave."""
    if (engine := mujoco_of(env)) is not None:
        import mujoco

        model, data = engine
        for name in MUJOCO:
            if name in row and np.size(row[name]):
                getattr(data, name)[:] = row[name]
        mujoco.mj_forward(model, data)
    elif (inner := _classic_of(env)) is not None:
        inner.state = np.array(row[INNER], np.float64)
        inner.steps_beyond_terminated = inner.last_u = None  # since CartPole fell; Pendulum's arrow


def mujoco_of(env: Any) -> tuple[Any, Any] | None:
    """MuJoCo's model and data of an unwrapped environment; None if it has none."""
    mujoco = sys.modules.get("mujoco")
    if mujoco is None:
        return None
    physics = getattr(getattr(env, "env", None), "physics", None)
    if physics is not None:
        return physics.model.ptr, physics.data.ptr
    pair = getattr(env, "model", None), getattr(env, "data", None)
    return pair if isinstance(pair[1], mujoco.MjData) else None


def mujoco_pose(model: Any, qpos: Float[np.ndarray, " q"]) -> Float[np.ndarray, " p"]:
    """Positions of the joints; hinges that turn freely as their cosine and sine."""
    free = [
        int(at)
        for kind, at, limited in zip(model.jnt_type, model.jnt_qposadr, model.jnt_limited)
        if kind == 3 and not limited  # a hinge: mjJNT_HINGE
    ]
    return _pose(np.delete(qpos, free), np.asarray(qpos)[free])


def _pose(places: np.ndarray, turns: np.ndarray) -> np.ndarray:
    return np.concatenate([places, np.cos(turns), np.sin(turns)])


def _classic_of(env: Any) -> Any:
    """What holds the state of a classic control environment: itself, or the physics within."""
    held = (env, getattr(env, "physics", None))
    return next((one for one in held if type(one).__name__ in CLASSIC), None)
