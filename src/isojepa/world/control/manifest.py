"""Pairs of starts and goals, frozen in a file: the same ones for every model and planner."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isojepa.boundaries import shown, writing
from isojepa.errors import UserError
from isojepa.runs.typed import read_json, read_result, write_result
from isojepa.world.control.pairs import Pairs, Protocol
from isojepa.world.environments.environment import Environment
from isojepa.world.episodes.trajectories import Trajectories

FORMAT = 1
AGAIN = "choose another --manifest, or delete it to draw anew"
Drawn = Mapping[str, Mapping[int, Pairs]]
"""Pairs by what is asked of them, such as `25 ahead`, and by seed."""


class FrozenEpisode(NamedTuple):
    """An episode from which pairs are taken."""

    number: int
    """In the data set when the pairs were drawn."""
    content: str
    """See `episode_content`."""


class FrozenPair(NamedTuple):
    """A pair; episodes are counted in the manifest's list."""

    episode: int
    start: int
    goal_episode: int
    goal: int


@dataclass(frozen=True, kw_only=True)
class SeedPairs:
    """The pairs of one seed."""

    seed: int
    pairs: tuple[FrozenPair, ...]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the file holds."""

    format: int
    environment: str
    platform: str
    """Version of the package whose environment it is."""
    protocol: Protocol
    episodes: tuple[FrozenEpisode, ...]
    goals: dict[str, tuple[SeedPairs, ...]]


def episode_content(trajectories: Trajectories, episode: int, columns: tuple[str, ...]) -> str:
    """What an episode holds, in 16 characters: its length, actions and states, but not its frames.

    The same at every frame size, and wherever the episode lies in its data set.

    Args:
        columns: that set the environment's state.
    """
    n = int(trajectories.lengths[episode])
    digest = hashlib.sha256(f"{n}".encode())
    digest.update(np.ascontiguousarray(trajectories.actions(episode, 0, n - 1)).tobytes())
    for name in columns:
        state = np.ascontiguousarray(trajectories.column(name, episode))
        digest.update(f"{name} {state.dtype} {state.shape}".encode())
        digest.update(state.tobytes())
    return digest.hexdigest()[:16]


def freeze(
    path: Path, drawn: Drawn, trajectories: Trajectories, known: Environment, protocol: Protocol
) -> None:
    """Write pairs to a file."""
    every = [pairs for seeds in drawn.values() for pairs in seeds.values()]
    numbers = sorted({int(e) for p in every for e in (*p.episode, *p.goal_episode)})
    place = {number: i for i, number in enumerate(numbers)}

    def frozen(seed: int, pairs: Pairs) -> SeedPairs:
        rows = zip(*(x.tolist() for x in pairs[:4]))
        each = (FrozenPair(place[e], start, place[ge], goal) for e, start, ge, goal in rows)
        return SeedPairs(seed=seed, pairs=tuple(each))

    manifest = Manifest(
        format=FORMAT,
        environment=known.id,
        platform=_platform_version(),
        protocol=protocol,
        episodes=tuple(
            FrozenEpisode(e, episode_content(trajectories, e, known.needs)) for e in numbers
        ),
        goals={
            name: tuple(frozen(seed, pairs) for seed, pairs in seeds.items())
            for name, seeds in drawn.items()
        },
    )
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_result(path, manifest)


def read_manifest(
    path: Path, trajectories: Trajectories, known: Environment, protocol: Protocol
) -> dict[str, dict[int, Pairs]]:
    """Pairs from a file that `freeze` wrote, found in a data set by its episodes' content.

    Raises:
        UserError: if the file is damaged, of another environment, version or protocol, or if the
            data set does not hold its episodes as they were.
    """
    manifest = _checked(path, known, protocol)
    numbers = np.array(_places(path, manifest, trajectories, known), np.int64)

    def pairs(one: SeedPairs, what: str) -> Pairs:
        rows = np.array(one.pairs, np.int64).reshape(-1, 4)
        if rows.size and (rows.min() < 0 or rows[:, [0, 2]].max() >= len(numbers)):
            raise UserError(f"{shown(path)}: damaged (goals.{what}: an episode that is not listed)")
        episode, goal_episode = numbers[rows[:, 0]], numbers[rows[:, 2]]
        beyond = (rows[:, 1] >= trajectories.lengths[episode]) | (
            rows[:, 3] >= trajectories.lengths[goal_episode]
        )
        if beyond.any():
            raise UserError(f"{shown(path)}: damaged (goals.{what}: a step beyond its episode)")
        found = Pairs(episode, rows[:, 1], goal_episode, rows[:, 3], np.full(len(rows), np.nan))
        if known.distance is None:
            return found
        states = (found.states(trajectories, goal=goal) for goal in (False, True))
        return found._replace(distance=np.asarray(known.distance(*states), np.float64))

    return {
        name: {one.seed: pairs(one, name) for one in seeds}
        for name, seeds in manifest.goals.items()
    }


def _checked(path: Path, known: Environment, protocol: Protocol) -> Manifest:
    content = read_json(path)
    kind = content.get("format") if isinstance(content, dict) else None
    if kind != FORMAT:
        raise UserError(
            f"{shown(path)}: no manifest of pairs of format {FORMAT} (but {kind}); {AGAIN}"
        )
    manifest = read_result(Manifest, path)
    if manifest.environment != known.id:
        raise UserError(f"{shown(path)}: pairs of {manifest.environment}, not {known.id}; {AGAIN}")
    if manifest.platform != _platform_version():
        raise UserError(
            f"{shown(path)}: pairs of stable-worldmodel {manifest.platform}, but "
            f"{_platform_version()} is installed, whose environments may differ; {AGAIN}"
        )
    if manifest.protocol != protocol:
        raise UserError(
            f"{shown(path)}: pairs of the {manifest.protocol} protocol; give "
            f"--protocol {manifest.protocol}, or {AGAIN}"
        )
    return manifest


def _places(
    path: Path, manifest: Manifest, trajectories: Trajectories, known: Environment
) -> list[int]:
    """Where the manifest's episodes lie in the data set now."""
    lacking = [name for name in known.needs if name not in trajectories.columns]
    if lacking:
        raise UserError(
            f"{shown(trajectories.path)}: lacks the column {lacking[0]!r}, which sets the state"
        )
    found: dict[str, int] = {}
    for e in range(len(trajectories)):
        found.setdefault(episode_content(trajectories, e, known.needs), e)
    missing = [one.number for one in manifest.episodes if one.content not in found]
    if missing:
        raise UserError(
            f"{shown(path)}: {len(missing)} of its {len(manifest.episodes)} episodes are not in "
            f"{shown(trajectories.path)} as they were, first its episode {missing[0]}: the data "
            f"have changed since; give --data with the original, or {AGAIN}"
        )
    return [found[one.content] for one in manifest.episodes]


def _platform_version() -> str:
    return metadata.version("stable-worldmodel")
