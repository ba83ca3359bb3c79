"""Recorded episodes into a replay, as if the agent had lived them."""

import logging

import numpy as np

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.world.agent.experience import Experience
from isojepa.world.agent.replay import Row
from isojepa.world.episodes.trajectories import Trajectories

log = logging.getLogger(__name__)
REWARD = ("reward", "rewards", "next.reward")
TERMINATED = ("terminated", "terminateds", "terminals", "next.done")


def remember_episodes(experience: Experience, trajectories: Trajectories) -> None:
    """Append all episodes: a row per `frame_skip` steps, with the mean action of those between.

    Without a column of rewards they are unknown: then only the world model learns from them. Step
    i's reward is what its action earned. Episodes whose end is not marked count as cut.

    Raises:
        UserError: if the actions are not the environment's, or they do not fit the replay.
    """
    env, replay = experience.env, experience.replay
    skip = experience.agent.world.frame_skip
    n = 1 if env.actions.discrete else env.actions.a
    if trajectories.action_dim != n:
        raise UserError(
            f"{shown(trajectories.path)}: actions of {trajectories.action_dim} numbers and those "
            f"of {env.env_id} have {n}"
        )
    rows = int(sum(-(-(length - 1) // skip) + 1 for length in trajectories.lengths.tolist()))
    if rows > replay.capacity:
        raise UserError(
            f"{shown(trajectories.path)}: {rows} decisions; give a --capacity as large, and larger"
        )
    rewards, ends = (_first(trajectories, names) for names in (REWARD, TERMINATED))
    if rewards is None:
        log.info("%s: no rewards: only the world model learns there", shown(trajectories.path))
    for episode in range(len(trajectories)):
        _remember(experience, trajectories, episode, rewards, ends)
    experience.offline_rows = replay.length
    log.info("%d episodes, %d decisions, to learn from first", len(trajectories), replay.length)


def _remember(
    experience: Experience,
    trajectories: Trajectories,
    episode: int,
    rewards: str | None,
    ends: str | None,
) -> None:
    skip, length = experience.agent.world.frame_skip, int(trajectories.lengths[episode])
    frames = trajectories.frames(episode, 0, length)
    actions = experience.env.actions.from_env(trajectories.actions(episode, 0, length - 1))
    earned = _column(trajectories, rewards, episode, np.full(length, np.nan))
    over = bool(_column(trajectories, ends, episode, np.zeros(length))[-2:].any())
    nothing = np.zeros(actions.shape[1], np.float32)
    reward = 0.0
    for start in range(0, length - 1, skip):
        stop = min(start + skip, length - 1)
        action = actions[start:stop].mean(0)
        row = Row(frames[start], action, False, action, reward, start == 0, False, False)
        experience.replay.append(row)
        reward = float(earned[start:stop].sum())
    last = Row(frames[-1], nothing, False, nothing, reward, False, over, not over)
    experience.replay.append(last)


def _first(trajectories: Trajectories, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in trajectories.columns), None)


def _column(
    trajectories: Trajectories, name: str | None, episode: int, otherwise: np.ndarray
) -> np.ndarray:
    if name is None:
        return otherwise
    return np.asarray(trajectories.column(name, episode), np.float64).reshape(len(otherwise))
