"""Futures that a model imagines, drawn by its decoder beside what came."""

from io import BytesIO
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from isojepa.randomness import Stream, seed_from
from isojepa.world.analysis.decoder_network import Decoder
from isojepa.world.analysis.study import Study, shrink
from isojepa.world.episodes.clips import clip_index
from isojepa.world.learning.measures import encode

SHOWN, BLOCKS = 4, 8  # episodes imagined, and how far


class DecoderArrays(NamedTuple):
    """What decoder.npz holds: s held-out frames and their decoded embeddings; see `Imagined`."""

    stills_real: UInt8[np.ndarray, "s y x c"]
    stills_decoded: UInt8[np.ndarray, "s y x c"]
    real: UInt8[np.ndarray, "n t y x c"] | None = None
    decoded: UInt8[np.ndarray, "n t y x c"] | None = None
    imagined: UInt8[np.ndarray, "n t y x c"] | None = None


class Imagined(NamedTuple):
    """What a model expects of n held-out episodes, open loop, beside what came."""

    real: UInt8[np.ndarray, "n t y x c"]
    decoded: UInt8[np.ndarray, "n t y x c"]
    """From the embeddings of the real frames."""
    imagined: UInt8[np.ndarray, "n t y x c"]
    """The first `given` frames as decoded; the others from the model's rollout."""
    given: int


@torch.no_grad()
def imagined_futures(study: Study, decoder: Decoder, *, seed: int) -> Imagined | None:
    """Roll the model forward from the first frames of held-out episodes, given their actions.

    As far as at least half of them are long; None if none is longer than the model's history.
    """
    model, data = study.model, study.trajectories
    given = model.history
    lengths = np.sort(data.lengths[study.held_out])
    usual = int(lengths[len(lengths) // 2])
    blocks = min(BLOCKS, (usual - 1) // model.frame_skip - given + 1)
    if blocks < 1:
        return None
    index = clip_index(data, study.held_out, frames=given + blocks, frame_skip=model.frame_skip)
    rng = np.random.default_rng(seed_from(seed, Stream.DECODER_EPISODES))
    shuffled = rng.permutation(index)
    _, first = np.unique(shuffled[:, 0], return_index=True)
    positions = shuffled[np.sort(first)[:SHOWN]]
    clips = data.clips(
        positions, frames=given + blocks, frame_skip=model.frame_skip, scale=model.scale
    )
    z = encode(model, clips.frames)
    actions = clips.actions.to(z.device)
    future = model.rollout(z[:, :given], actions[:, : given - 1], actions[:, None, given - 1 : -1])[
        :, 0
    ]
    expected = torch.cat([z[:, :given], future], 1)
    n, t = z.shape[:2]
    frames = clips.frames.permute(0, 1, 3, 4, 2).numpy()
    real = shrink(frames.reshape(n * t, *frames.shape[2:]), decoder.size.side)
    decoded, imagined = (decoder.pictures(x.flatten(0, 1)) for x in (z, expected))
    shape = (n, t, decoder.size.side, decoder.size.side, 3)
    return Imagined(
        real.reshape(shape), decoded.reshape(shape), imagined.reshape(shape), given=given
    )


def contact_sheet(futures: Imagined, *, scale: int = 1) -> bytes:
    """A PNG: per episode the real frames, their decoded embeddings, and what was imagined."""
    n, t, y, x, _ = futures.real.shape
    gap, between = 2, 10
    height = n * (3 * y + 2 * gap) + (n - 1) * between
    split = 6  # between what is given and what is imagined
    sheet = np.full((height, t * (x + gap) - gap + split, 3), 255, np.uint8)
    for i in range(n):
        for row, pictures in enumerate((futures.real, futures.decoded, futures.imagined)):
            top = i * (3 * y + 2 * gap + between) + row * (y + gap)
            for j in range(t):
                left = j * (x + gap) + (split if j >= futures.given else 0)
                sheet[top : top + y, left : left + x] = pictures[i, j]
    return _png(sheet.repeat(scale, 0).repeat(scale, 1))


def imagined_film(futures: Imagined, *, scale: int = 2, milliseconds: int = 400) -> bytes:
    """A GIF: a column per episode, above what is real, below what is imagined."""
    n, t, y, x, _ = futures.real.shape
    gap = 3
    pictures = []
    for j in range(t):
        sheet = np.full((2 * y + gap, n * (x + gap) - gap, 3), 255, np.uint8)
        for i in range(n):
            left = i * (x + gap)
            sheet[:y, left : left + x] = futures.real[i, j]
            sheet[y + gap :, left : left + x] = futures.imagined[i, j]
        pictures.append(Image.fromarray(sheet.repeat(scale, 0).repeat(scale, 1)))
    buffer = BytesIO()
    durations = [milliseconds] * (t - 1) + [3 * milliseconds]
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )
    return buffer.getvalue()


def _png(picture: UInt8[np.ndarray, "y x c"]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
