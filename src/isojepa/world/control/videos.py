"""Videos of episodes, the goal image beside each."""

from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from isojepa.boundaries import writing
from isojepa.errors import UserError
from isojepa.files import write_atomically

SIDE, GAP = 128, 4  # pixels
REACHED, RUNNING = (40, 160, 70), (200, 200, 200)


class Video(NamedTuple):
    """What was recorded of n episodes."""

    frames: list[list[np.ndarray]]
    """Of each episode, from its start on."""
    goals: UInt8[np.ndarray, "n y x c"]
    success: Bool[np.ndarray, " n"]


def write_video(path: Path, video: Video, *, rate: int = 10) -> None:
    """Write episodes above each other, left the agent and right its goal image.

    An episode that is over shows its last frame, framed in green if its goal was reached.

    Args:
        path: ending in .gif or .mp4.
        rate: frames per second.

    Raises:
        UserError: for another ending, if the package for videos is missing, or if it cannot be
            written.
    """
    if path.suffix not in {".gif", ".mp4"}:
        raise UserError(f"{path}: videos end in .gif or .mp4")
    try:
        import imageio.v3 as iio
    except ImportError as error:
        raise UserError(
            f"videos need the extra: pip install 'isojepa[world]' ({error.name} is missing)"
        ) from error
    episodes, goals, success = video
    length = max(len(one) for one in episodes) + rate // 2
    pictures = [
        np.concatenate(
            [_row(one, goal, ok, t) for one, goal, ok in zip(episodes, goals, success.tolist())]
        )
        for t in range(length)
    ]
    buffer = BytesIO()
    if path.suffix == ".gif":
        iio.imwrite(buffer, pictures, extension=".gif", duration=1000 / rate, loop=0)
    else:
        iio.imwrite(buffer, pictures, extension=".mp4", fps=rate, macro_block_size=1)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def _row(frames: list[np.ndarray], goal: np.ndarray, success: bool, t: int) -> np.ndarray:
    over = t >= len(frames) - 1
    colour = REACHED if over and success else RUNNING
    halves = []
    for frame in (frames[min(t, len(frames) - 1)], goal):
        times = max(1, SIDE // frame.shape[0])
        large = frame.repeat(times, 0).repeat(times, 1)
        y, x = large.shape[0] + 2 * GAP, large.shape[1] + 2 * GAP
        half = np.empty((y, x, 3), np.uint8)
        half[:] = colour
        half[GAP:-GAP, GAP:-GAP] = large
        halves.append(half)
    return np.concatenate(halves, 1)
