"""`isojepa world decode`: pictures of what an embedding holds, and of futures imagined."""

import logging
from dataclasses import dataclass

import numpy as np
import torch

from isojepa.files import write_atomically
from isojepa.progress import console
from isojepa.randomness import Stream, seed_from
from isojepa.runs.folder import Provenance, provenance, save_arrays
from isojepa.runs.settings import require
from isojepa.runs.typed import Inline, Sparse, write_result
from isojepa.world.analysis.decoder_network import (
    BATCH,
    held_out_errors,
    save_decoder,
    train_decoder,
)
from isojepa.world.analysis.imagination import (
    DecoderArrays,
    contact_sheet,
    imagined_film,
    imagined_futures,
)
from isojepa.world.analysis.study import SplitSizes, StudyConfig, embed_rows, sampled, shrink
from isojepa.world.episodes.trajectories import episode_rows

log = logging.getLogger(__name__)
SIDES = (64, 32, 16)
"""Pixels of the decoded picture: the largest that the model's frames have."""
HELD_OUT = 512  # frames to score
STILLS = 8  # frames whose decoding is shown


@dataclass(frozen=True, kw_only=True)
class DecodeConfig(StudyConfig):
    """Train a decoder from frozen embeddings to pictures, and draw what the model imagines.

    The world model is not changed: the decoder only shows what its embeddings hold. About a minute
    on one core for 64 dimensions.
    """

    steps: int = 600
    """Updates of 64 frames."""
    frames: int = 4000
    """Frames to train on at most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        enough = self.steps >= 1 and self.frames >= BATCH
        require(enough, f"--steps must be at least 1 and --frames at least {BATCH}")


@dataclass(frozen=True, kw_only=True)
class DecoderResult:
    """What decoder.json holds; errors are mean squares of pixels in [0, 1]."""

    data: str = ""
    unseen: bool = True
    """Whether the model has never seen the episodes reported on."""
    side: int
    """Of the decoded pictures, pixels."""
    steps: int
    frames: SplitSizes
    mse: float | None
    mse_of_mean_frame: float | None
    explained: float | None
    """Share of the held-out pixels' variance."""
    blocks: Sparse[int | None] = None
    """How far futures were imagined; None where no held-out episode is long enough."""
    given: Sparse[int | None] = None
    """How many frames they begin with."""
    provenance: Inline[Provenance]


def decode(config: DecodeConfig) -> DecoderResult:
    """Train the decoder; write RUN/decoder, decoder.json, decoder.npz, imagined.png and .gif.

    Raises:
        UserError: if the run or the data cannot be read, or do not fit each other.
    """
    study = config.open()
    side = next((s for s in SIDES if s <= study.model.frame_size), SIDES[-1])
    seed = seed_from(config.seed, Stream.DECODER_FRAMES)
    rows = [
        sampled(episode_rows(study.trajectories, episodes), most, seed=seed)
        for episodes, most in ((study.train, config.frames), (study.held_out, HELD_OUT))
    ]
    z, z_new = (
        torch.from_numpy(embed_rows(study.model, study.trajectories, part)) for part in rows
    )
    frames, frames_new = (shrink(study.trajectories.rows(part), side) for part in rows)
    device = next(study.model.parameters()).device
    decoder = train_decoder(z, frames, steps=config.steps, seed=config.seed, device=device)
    error, trivial = held_out_errors(decoder, z_new, frames_new)
    explained = 1 - error / max(trivial, 1e-12)
    futures = imagined_futures(study, decoder, seed=config.seed)
    result = DecoderResult(
        data=str(study.data),
        unseen=study.unseen,
        side=side,
        steps=config.steps,
        frames=SplitSizes(len(z), len(z_new)),
        mse=error,
        mse_of_mean_frame=trivial,
        explained=explained,
        blocks=None if futures is None else futures.real.shape[1] - futures.given,
        given=None if futures is None else futures.given,
        provenance=Provenance(**provenance(device)),
    )
    console.print(
        f"decoder: {100 * explained:.1f} % of the held-out pixels' variance explained, "
        f"at {side} px",
        highlight=False,
    )
    save_decoder(config.run / "decoder", decoder)
    stills = np.linspace(0, len(z_new) - 1, STILLS).round().astype(int)
    arrays = DecoderArrays(frames_new[stills], decoder.pictures(z_new[stills]))
    if futures is not None:
        write_atomically(config.run / "imagined.png", contact_sheet(futures))
        write_atomically(config.run / "imagined.gif", imagined_film(futures))
        arrays = DecoderArrays(*arrays[:2], *futures[:3])
    present = {name: array for name, array in arrays._asdict().items() if array is not None}
    save_arrays(config.run / "decoder.npz", **present)
    write_result(config.run / "decoder.json", result)
    log.info("%s", config.run / "decoder.json")
    return result
