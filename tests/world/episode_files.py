"""A tiny data set made without the platform: a red dot that actions push around a white square."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

SPEED = 2.0  # pixels per step under a full action, at 32 pixels


class Dots(NamedTuple):
    """What was written, for comparison with what is read; lists have one entry per episode."""

    path: Path
    frames: list[np.ndarray]
    """uint8 (steps, y, x, 3)."""
    actions: list[np.ndarray]
    """float32 (steps, 2); the last is NaN, because no frame follows it."""
    positions: list[np.ndarray]
    """float32 (steps, 2): x and y of the dot, in pixels of a 32-pixel frame."""


def dots(*, episodes: int = 8, steps: int = 24, size: int = 32, seed: int = 0) -> Dots:
    """Episodes of different lengths: episode k has `steps + k` frames."""
    rng = np.random.default_rng(seed)
    all_frames, all_actions, all_positions = [], [], []
    for k in range(episodes):
        n = steps + k
        push = rng.uniform(-1, 1, 2)
        position, positions, actions = rng.uniform(6, 26, 2), [], []
        for _ in range(n):
            if rng.uniform() < 0.2:
                push = rng.uniform(-1, 1, 2)
            action = np.clip(push + 0.3 * rng.normal(size=2), -1, 1)
            positions.append(position)
            actions.append(action)
            position = np.clip(position + SPEED * action, 2, 30)
        actions[-1] = np.full(2, np.nan)
        all_positions.append(np.array(positions, np.float32))
        all_actions.append(np.array(actions, np.float32))
        all_frames.append(np.stack([draw(p, size) for p in positions]))
    return Dots(Path(), all_frames, all_actions, all_positions)


def draw(position: np.ndarray, size: int = 32) -> np.ndarray:
    """The frame of a dot at a position given in pixels of a 32-pixel frame."""
    y, x = np.mgrid[:size, :size] * (32 / size)
    dot = np.exp(-((x - position[0]) ** 2 + (y - position[1]) ** 2) / (2 * 2.0**2))
    frame = np.full((size, size, 3), 255.0)
    frame[..., 1:] *= 1 - dot[..., None]
    return frame.astype(np.uint8)


def write_dots(
    path: Path, *, episodes: int = 8, steps: int = 24, size: int = 32, seed: int = 0
) -> Dots:
    """Write the episodes as an HDF5 file in the platform's layout: one chunk per frame."""
    import h5py

    made = dots(episodes=episodes, steps=steps, size=size, seed=seed)
    columns = {
        "pixels": np.concatenate(made.frames),
        "action": np.concatenate(made.actions),
        "proprio": np.concatenate(made.positions),
        "state": np.concatenate(made.positions),
    }
    lengths = np.array([len(frames) for frames in made.frames], np.int32)
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file.create_dataset(name, data=values, chunks=(1, *values.shape[1:]))
        file["ep_len"] = lengths
        file["ep_offset"] = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return made._replace(path=path)
