"""Films of episodes, the goal image beside each."""

from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from isojepa.errors import UserError
from isojepa.files import write_atomically

SIDE, GAP = 128, 4  # pixels
REACHED, RUNNING = (40, 160, 70), (200, 200, 200)


def write_film(
    path: Path,
    films: list[list[np.ndarray]],
    goals: UInt8[np.ndarray, "n y x c"],
    success: Bool[np.ndarray, " n"],
    *,
    rate: int = 10,
) -> None:
    """Write episodes above each other, left the agent and right its goal image.

    An episode that is over shows its last frame, framed in green if its goal was reached.

    Args:
        path: ending in .gif or .mp4.
        films: frames of n episodes.
        rate: frames per second.

    Raises:
        UserError: for another ending, or if the package for films is missing.
    """
    if path.suffix not in {".gif", ".mp4"}:
        raise UserError(f"{path}: films end in .gif or .mp4")
    try:
        import imageio.v3 as iio
    except ImportError as error:
        raise UserError(
            f"films need the extra: pip install 'isojepa[world]' ({error.name} is missing)"
        ) from error
    length = max(len(film) for film in films) + rate // 2
    pictures = [
        np.concatenate(
            [_row(film, goal, ok, t) for film, goal, ok in zip(films, goals, success.tolist())]
        )
        for t in range(length)
    ]
    buffer = BytesIO()
    if path.suffix == ".gif":
        iio.imwrite(buffer, pictures, extension=".gif", duration=1000 / rate, loop=0)
    else:
        iio.imwrite(buffer, pictures, extension=".mp4", fps=rate, macro_block_size=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, buffer.getvalue())


def _row(film: list[np.ndarray], goal: np.ndarray, success: bool, t: int) -> np.ndarray:
    over = t >= len(film) - 1
    colour = REACHED if over and success else RUNNING
    halves = []
    for frame in (film[min(t, len(film) - 1)], goal):
        times = max(1, SIDE // frame.shape[0])
        large = frame.repeat(times, 0).repeat(times, 1)
        y, x = large.shape[0] + 2 * GAP, large.shape[1] + 2 * GAP
        half = np.empty((y, x, 3), np.uint8)
        half[:] = colour
        half[GAP:-GAP, GAP:-GAP] = large
        halves.append(half)
    return np.concatenate(halves, 1)
