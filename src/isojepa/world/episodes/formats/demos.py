"""HDF5 files with a group for each episode: robomimic's, LIBERO's, Minari's."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.world.episodes.formats.flat import ACTION_NAMES
from isojepa.world.episodes.formats.pixels import (
    Stored,
    cameras_of,
    channels_last,
    read_column,
    row_blocks,
    stored_size,
    to_bytes,
)
from isojepa.world.episodes.formats.source import (
    EpisodeSource,
    FrameChunk,
    choose_camera,
    name_list,
)

GROUP = re.compile(
    r"(?P<group>(?:.*?/)?(?:demo|episode|ep|traj|trajectory|rollout)[_-]?(?P<number>\d+))/(?P<rest>.+)"
)
OBSERVATIONS = ("obs/", "observations/", "observation/")
Episode = Mapping[str, Stored]


def episode_groups(found: Mapping[str, Stored]) -> dict[str, dict[str, Stored]]:
    """Columns of each episode by the name of its group, in the order of their numbers.

    Empty when the file is no such collection: nothing below groups that are called demo_0,
    episode_0 and the like has the shape of images.
    """
    groups: dict[str, dict[str, Stored]] = {}
    numbers = {}
    for name, item in found.items():
        match = GROUP.fullmatch(name)
        if match:
            group, number, rest = match.groups()
            groups.setdefault(group, {})[rest] = item
            numbers[group] = int(number)
    if not any(len(item.shape) == 4 for columns in groups.values() for item in columns.values()):
        return {}
    return {name: groups[name] for name in sorted(groups, key=lambda g: (numbers[g], g))}


def read_demos(
    path: Path,
    groups: Mapping[str, Episode],
    camera: str | None,
    *,
    env_id: str | None,
    others: Callable[[Stored], list[Path]],
) -> EpisodeSource:
    """The groups as episodes; a camera goes by its name inside them, or the last part of that.

    Actions may be one fewer than frames: then each leads from its frame to the next.

    Raises:
        UserError: if an episode lacks the camera or actions that others have, or they differ in
            shape or do not fit in number.
    """
    everything = {key: item for columns in groups.values() for key, item in columns.items()}
    cameras, main = cameras_of(path, everything)
    inside = GROUP.fullmatch(camera or "")
    if inside and inside.group("group") in groups:
        camera = inside.group("rest")
    name = choose_camera(path, cameras, main, camera)
    lacking = [group for group, columns in groups.items() if name not in columns]
    if lacking:
        raise UserError(
            f"{shown(path)}: no {name!r} in {name_list(lacking)}, and there is in other episodes"
        )
    pixels = {group: columns[name] for group, columns in groups.items()}
    first = next(iter(pixels.values()))
    for group, item in pixels.items():
        if item.shape[1:] != first.shape[1:] or item.dtype.kind != first.dtype.kind:
            raise UserError(
                f"{shown(path)}: {name!r} is of type {item.dtype} and shape {tuple(item.shape)} "
                f"in {group}, elsewhere {first.dtype} and {tuple(first.shape[1:])} per step"
            )
        if not item.shape[0]:
            raise UserError(f"{shown(path)}: {group} holds no frames")
    to_frames = channels_last(path, name, first)
    lengths = np.array([item.shape[0] for item in pixels.values()], np.int64)

    def decode() -> Iterator[FrameChunk]:
        convert = to_bytes(path, name, pixels.values())
        for e, (group, item) in enumerate(pixels.items()):
            for rows in row_blocks(0, item.shape[0], item):
                frames = convert(to_frames(read_column(path, f"{group}/{name}", item, rows)))
                steps = np.arange(rows.start, rows.stop)
                yield FrameChunk(np.full(len(steps), e), steps, frames)

    return EpisodeSource(
        files=sorted({path, *(file for item in pixels.values() for file in others(item))}),
        lengths=lengths,
        size=stored_size(path, name, first),
        columns=_columns(path, groups, lengths),
        env_id=env_id,
        camera=None if name == main else name,
        ids=list(groups),
        decode=decode,
    )


def _columns(
    path: Path, groups: Mapping[str, Episode], lengths: np.ndarray
) -> dict[str, np.ndarray]:
    """What all episodes have for each step; actions have to be there for all or for none."""
    names = {key for columns in groups.values() for key in columns}
    columns = {}
    for key in sorted(names):
        name = next((key.removeprefix(p) for p in OBSERVATIONS if key.startswith(p)), key)
        parts = {group: columns_[key] for group, columns_ in groups.items() if key in columns_}
        if key in ACTION_NAMES:
            columns["action"] = _actions(path, key, groups, parts, lengths)
        elif _regular(parts, lengths):
            columns[name] = np.concatenate(
                [read_column(path, f"{group}/{key}", item) for group, item in parts.items()]
            )
    return columns


def _regular(parts: Mapping[str, Stored], lengths: np.ndarray) -> bool:
    shapes = {item.shape[1:] for item in parts.values()}
    return (
        len(parts) == len(lengths)
        and len(shapes) == 1
        and all(item.dtype.kind in "biuf" and item.shape for item in parts.values())
        and len(next(iter(shapes))) <= 2
        and all(item.shape[0] == n for item, n in zip(parts.values(), lengths))
    )


def _actions(
    path: Path,
    name: str,
    groups: Mapping[str, Episode],
    parts: Mapping[str, Stored],
    lengths: np.ndarray,
) -> np.ndarray:
    lacking = [group for group in groups if group not in parts]
    if lacking:
        raise UserError(
            f"{shown(path)}: no {name!r} in {name_list(lacking)}, and there is in other episodes"
        )
    rows = []
    first = next(iter(parts.values()))
    for (group, item), n in zip(parts.items(), lengths):
        fits = item.shape and item.shape[0] in {n, n - 1} and item.shape[1:] == first.shape[1:]
        if not fits or item.dtype.kind not in "biuf":
            raise UserError(
                f"{shown(path)}: {group}/{name} is of type {item.dtype} and shape "
                f"{tuple(item.shape)}, and {group} has {n} frames"
            )
        values = read_column(path, f"{group}/{name}", item)
        if len(values) < n:
            missing = np.full((1, *values.shape[1:]), np.nan, np.float32)
            values = np.concatenate([values, missing])
        rows.append(values)
    return np.concatenate(rows)
