"""A film of an episode, and beside it of what was imagined."""

from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from isojepa.boundaries import trying
from isojepa.files import write_atomically

SIDE, MOST_FRAMES, RATE = 128, 300, 20


def write_film(
    path: Path, frames: list[UInt8[np.ndarray, "y x c"]], imagined: list[UInt8[np.ndarray, "y x c"]]
) -> None:
    """Write a GIF of at most `MOST_FRAMES` frames, evenly chosen; without imageio, nothing.

    Args:
        frames: of an episode, shown on the left.
        imagined: as many, or fewer, shown on the right.
    """
    with trying(f"the film {path.name}"):
        import imageio.v3 as iio

        times = max(1, SIDE // frames[0].shape[0])
        both = [np.concatenate(pair, 1) for pair in zip(frames, imagined)]
        chosen = np.linspace(0, len(both) - 1, min(len(both), MOST_FRAMES)).round().astype(int)
        large = [both[i].repeat(times, 0).repeat(times, 1) for i in chosen]
        buffer = BytesIO()
        iio.imwrite(buffer, large, extension=".gif", duration=1000 / RATE, loop=0)
        write_atomically(path, buffer.getvalue())
