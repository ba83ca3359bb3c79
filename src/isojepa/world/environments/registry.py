"""Environments by id."""

import difflib

from isojepa.errors import UserError
from isojepa.world.environments.environment import Environment
from isojepa.world.environments.fast import FAST, register_fast
from isojepa.world.environments.known import CUBE, PUSH_T, REACHER, TWO_ROOM
from isojepa.world.environments.platform import platform

ENVIRONMENTS = {known.id: known for known in (TWO_ROOM, PUSH_T, CUBE, REACHER)}


def environment(env_id: str) -> Environment:
    """What is known of an environment: its entry in the table, else an entry with its id alone.

    Raises:
        UserError: if the platform has no such environment, or its actions are not continuous.
    """
    swm_envs = platform().envs
    if env_id in FAST:
        register_fast()
        return own_environment(env_id)
    if env_id in swm_envs.DISCRETE_WORLDS:
        raise UserError(f"{env_id}: its actions are discrete; choose one with continuous actions")
    if env_id not in swm_envs.WORLDS:
        known = {name.lower(): name for name in sorted(swm_envs.WORLDS)}
        short = {name.split("/")[-1].split("-")[0]: full for name, full in known.items()}
        close = difflib.get_close_matches(env_id.lower(), [*known, *short], n=3, cutoff=0.5)
        names = list(dict.fromkeys({**known, **short}[name] for name in close))
        some = "some are swm/TwoRoom-v1 and swm/PushT-v1"
        hint = f"did you mean {' or '.join(names)}?" if names else some
        raise UserError(f"--env {env_id}: no such environment; {hint}")
    return ENVIRONMENTS.get(env_id) or Environment(
        id=env_id, no_script="the platform has none for it"
    )


def own_environment(env_id: str) -> Environment:
    """What is known of one of the package's own.

    Raises:
        UserError: if its actions are discrete.
    """
    if env_id == "isojepa/CartPole-v1":
        raise UserError(
            f"{env_id}: its actions are discrete; `isojepa world learn` takes them, and collecting "
            "and planning towards image goals take environments with continuous ones"
        )
    steps = FAST[env_id][1]
    return Environment(id=env_id, steps=steps, no_script="the package has none for it")
