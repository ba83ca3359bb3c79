"""Film strips: frames around events, decoded frames, and imagined futures."""

from collections.abc import Iterable
from io import BytesIO
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from isojepa.pages.world.world_run import WorldRun
from isojepa.theme.render import data_uri

MOST_PIXELS = 96  # side of a frame on the page
SHOWN = 2  # episodes imagined
EVENTS = {"unchanged": "as it was", "teleport": "teleport", "colour": "colour"}


class Cell(NamedTuple):
    """One frame of a film strip."""

    uri: str
    caption: str = ""
    marked: bool = False


class Strip(NamedTuple):
    """A row of frames."""

    title: str
    cells: tuple[Cell, ...]


def surprise_strips(world: WorldRun) -> list[list[Strip]]:
    """Per example, a strip for each kind of event, every frame captioned with its surprise."""
    if world.surprise is None or world.surprise_arrays is None:
        return []
    bound, events = world.surprise.usual.quantile_99, world.surprise_arrays.events
    return [
        [
            Strip(
                EVENTS[name],
                tuple(
                    Cell(_picture(frame), _times(value), bool(value > bound))
                    for frame, value in zip(arrays.frames[i], arrays.trace[i])
                ),
            )
            for name, arrays in events.items()
        ]
        for i in range(len(world.surprise_arrays.frames_unchanged))
    ]


def stills(world: WorldRun) -> list[Strip]:
    """Held-out frames, and what the decoder draws from their embeddings."""
    arrays = world.decoder_arrays
    if arrays is None:
        return []
    return [_strip("frame", arrays.stills_real), _strip("decoded", arrays.stills_decoded)]


def imagined_strips(world: WorldRun) -> list[list[Strip]]:
    """Per episode: real, decoded and imagined frames, the latter captioned by their block."""
    arrays, decoder = world.decoder_arrays, world.decoder
    if arrays is None or arrays.imagined is None or decoder is None:
        return []
    assert arrays.real is not None
    assert arrays.decoded is not None
    given = decoder.given or 1
    ahead = [j - given + 1 for j in range(arrays.imagined.shape[1])]
    return [
        [
            _strip("real", real),
            _strip("decoded", decoded),
            Strip(
                "imagined",
                tuple(
                    Cell(_picture(frame), f"+{k}" if k > 0 else "given", k > 0)
                    for k, frame in zip(ahead, imagined)
                ),
            ),
        ]
        for real, decoded, imagined in zip(
            arrays.real[:SHOWN], arrays.decoded[:SHOWN], arrays.imagined[:SHOWN]
        )
    ]


def _strip(title: str, frames: Iterable[UInt8[np.ndarray, "y x c"]]) -> Strip:
    return Strip(title, tuple(Cell(_picture(frame)) for frame in frames))


def _times(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"× {value:,.0f}" if value >= 10 else f"× {value:.2g}"


def _picture(frame: UInt8[np.ndarray, "y x c"]) -> str:
    image = Image.fromarray(np.ascontiguousarray(frame))
    if image.width > MOST_PIXELS:
        image = image.resize((MOST_PIXELS, MOST_PIXELS), Image.Resampling.BOX)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92, subsampling=0)
    return data_uri(buffer.getvalue(), "jpeg")
