"""`isojepa world decode`: pictures of what an embedding holds, and of futures imagined."""

import json
import logging
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor, nn

from isojepa.boundaries import writing
from isojepa.devices import Device
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.progress import bar, console
from isojepa.randomness import Stream, generator, seed_from
from isojepa.runs.folder import provenance, save_arrays, write_json
from isojepa.training.optimise import cosine_schedule
from isojepa.world.analysis.study import (
    Study,
    channels_first,
    embed_rows,
    episode_rows,
    open_study,
    shrink,
    spread,
)
from isojepa.world.episodes.trajectories import clip_index
from isojepa.world.learning.measures import encode

log = logging.getLogger(__name__)
SIDES = (64, 32, 16)
"""Pixels of the decoded picture: the largest that the model's frames have."""
BATCH = 64
HELD_OUT = 512  # frames to score
SHOWN, BLOCKS = 4, 8  # episodes imagined, and how far
STILLS = 8  # frames whose decoding is shown


@dataclass(frozen=True, kw_only=True)
class DecodeConfig:
    """Train a decoder from frozen embeddings to pictures, and draw what the model imagines.

    The world model is not changed: the decoder only shows what its embeddings hold. About a minute
    on one core for 64 dimensions.
    """

    run: Path
    """Run folder of `isojepa world train`."""
    data: Path | None = None
    """Data set to take frames from. Default: the run's own."""
    new_episodes: bool = False
    """Report on episodes added since training too, not only on those held out."""
    steps: int = 600
    """Updates of 64 frames."""
    frames: int = 4000
    """Frames to train on at most."""
    seed: int = 0
    """Of the frames drawn, the weights and the order."""
    device: Device = "auto"
    """Where to train."""
    cache: Path | None = None
    """Folder of decoded frames. Default: the run's."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.frames < BATCH:
            raise UserError(f"--steps must be at least 1 and --frames at least {BATCH}")
        if self.seed < 0:
            raise UserError("--seed must not be negative")


class Decoder(nn.Module):
    """Embeddings to pictures: what differs from the mean frame, by transposed convolutions.

    Args:
        d: embedding dimension.
        side: of the picture in pixels, a power of two times 4.
        width: channels at 4 x 4, halved at each doubling.

    Shape:
        (n, d) -> (n, 3, side, side), values around [0, 1].
    """

    def __init__(self, d: int, side: int = 64, width: int = 128) -> None:
        super().__init__()
        self.d, self.side, self.width = d, side, width
        layers: list[nn.Module] = [nn.Linear(d, width * 16), nn.Unflatten(1, (width, 4, 4))]
        pixels, channels = 4, width
        while pixels < side:
            pixels *= 2
            last = pixels == side
            after = 3 if last else max(16, channels // 2)
            layers += [nn.ReLU(), nn.ConvTranspose2d(channels, after, 4, 2, 1)]
            channels = after
        for parameter in layers[-1].parameters():  # begin at the mean frame
            nn.init.zeros_(parameter)
        self.layers = nn.Sequential(*layers)
        self.shift: Tensor
        self.factor: Tensor
        self.mean: Tensor
        self.register_buffer("shift", torch.zeros(d))
        self.register_buffer("factor", torch.ones(d))
        self.register_buffer("mean", torch.full((3, side, side), 0.5))

    def forward(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n c y x"]:
        return self.mean + self.layers((z - self.shift) * self.factor)

    @torch.no_grad()
    def pictures(self, z: Float[Tensor, "n d"]) -> UInt8[np.ndarray, "n y x c"]:
        """Decoded pictures, channels last."""
        parts = [self(part.to(self.mean)) for part in z.split(256)]
        pixels = torch.cat(parts).clamp(0, 1).mul(255).round().byte()
        return pixels.permute(0, 2, 3, 1).cpu().numpy()


class Imagined(NamedTuple):
    """What a model expects of n held-out episodes, open loop, beside what came."""

    real: UInt8[np.ndarray, "n t y x c"]
    decoded: UInt8[np.ndarray, "n t y x c"]
    """From the embeddings of the real frames."""
    imagined: UInt8[np.ndarray, "n t y x c"]
    """The first `given` frames as decoded; the others from the model's rollout."""
    given: int


def run(config: DecodeConfig) -> dict[str, Any]:
    """Train the decoder; write RUN/decoder, decoder.json, decoder.npz, imagined.png and .gif.

    Returns:
        What decoder.json holds.

    Raises:
        UserError: if the run or the data cannot be read, or do not fit each other.
    """
    study = open_study(
        config.run, config.data, device=config.device, cache=config.cache, new=config.new_episodes
    )
    side = next((s for s in SIDES if s <= study.model.frame_size), SIDES[-1])
    seed = seed_from(config.seed, Stream.DECODER_FRAMES)
    rows = [
        spread(episode_rows(study.trajectories, episodes), most, seed=seed)
        for episodes, most in ((study.train, config.frames), (study.held_out, HELD_OUT))
    ]
    z, z_new = (
        torch.from_numpy(embed_rows(study.model, study.trajectories, part)) for part in rows
    )
    frames, frames_new = (shrink(study.trajectories.rows(part), side) for part in rows)
    device = next(study.model.parameters()).device
    decoder = train_decoder(z, frames, steps=config.steps, seed=config.seed, device=device)
    error, trivial = held_out_errors(decoder, z_new, frames_new)
    result: dict[str, Any] = {
        "data": str(study.data),
        "unseen": study.unseen,
        "side": side,
        "steps": config.steps,
        "frames": {"train": len(z), "held_out": len(z_new)},
        "mse": error,
        "mse_of_mean_frame": trivial,
        "explained": 1 - error / max(trivial, 1e-12),
        **provenance(device),
    }
    stills = np.linspace(0, len(z_new) - 1, STILLS).round().astype(int)
    arrays = {"stills_real": frames_new[stills], "stills_decoded": decoder.pictures(z_new[stills])}
    seen = imagine(study, decoder, seed=config.seed)
    if seen is not None:
        result |= {"blocks": seen.real.shape[1] - seen.given, "given": seen.given}
        arrays |= {k: v for k, v in seen._asdict().items() if k != "given"}
    console.print(
        f"decoder: {100 * result['explained']:.1f} % of the held-out pixels' variance explained, "
        f"at {side} px",
        highlight=False,
    )
    save_decoder(config.run / "decoder", decoder)
    if seen is not None:
        write_atomically(config.run / "imagined.png", contact_sheet(seen))
        write_atomically(config.run / "imagined.gif", film(seen))
    save_arrays(config.run / "decoder.npz", **arrays)
    write_json(config.run / "decoder.json", result)
    log.info("%s", config.run / "decoder.json")
    return result


def train_decoder(
    z: Float32[Tensor, "n d"],
    frames: UInt8[np.ndarray, "n y x c"],
    *,
    steps: int,
    seed: int = 0,
    lr: float = 2e-3,
    device: torch.device | None = None,
) -> Decoder:
    """Fit a decoder by mean squared error, which blurs what the embedding leaves open.

    Args:
        z: embeddings of the frames; they stay as they are.
        frames: square, of 16, 32 or 64 pixels.
        lr: peak learning rate of Adam.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_from(seed, Stream.DECODER_ORDER))
        decoder = Decoder(z.shape[1], frames.shape[1])
    decoder.shift.copy_(z.mean(0))
    decoder.factor.copy_(1 / z.std(0, correction=0).clamp(min=1e-6))
    decoder.mean.copy_(torch.from_numpy(frames.mean(0, dtype=np.float64)).permute(2, 0, 1) / 255)
    decoder = decoder.to(device or torch.device("cpu"))
    targets = channels_first(frames)
    optimiser = torch.optim.Adam(decoder.layers.parameters(), lr=lr)
    order = generator(seed, Stream.DECODER_ORDER)
    with bar(steps, "training the decoder") as advance:
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = cosine_schedule(
                    step, peak=lr, warmup=max(1, steps // 20), steps=steps
                )
            chosen = torch.randint(len(z), (BATCH,), generator=order)
            batch = targets[chosen].to(decoder.mean) / 255
            loss = F.mse_loss(decoder(z[chosen].to(batch.device)), batch)
            loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            advance(1, f"error {loss.item():.5f}" if step % 20 == 0 else "")
    return decoder.eval()


@torch.no_grad()
def held_out_errors(
    decoder: Decoder, z: Float32[Tensor, "n d"], frames: UInt8[np.ndarray, "n y x c"]
) -> tuple[float, float]:
    """Mean squared error of the decoder, and of showing the mean frame always, in [0, 1]^2."""
    targets = channels_first(frames).float() / 255
    guess = torch.cat([decoder(part.to(decoder.mean)).cpu() for part in z.split(256)])
    trivial = F.mse_loss(decoder.mean.cpu().expand_as(targets), targets)
    return F.mse_loss(guess, targets).item(), trivial.item()


@torch.no_grad()
def imagine(study: Study, decoder: Decoder, *, seed: int) -> Imagined | None:
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
    real = shrink(frames.reshape(n * t, *frames.shape[2:]), decoder.side)
    decoded, imagined = (decoder.pictures(x.flatten(0, 1)) for x in (z, expected))
    shape = (n, t, decoder.side, decoder.side, 3)
    return Imagined(
        real.reshape(shape), decoded.reshape(shape), imagined.reshape(shape), given=given
    )


def contact_sheet(seen: Imagined, *, scale: int = 1) -> bytes:
    """A PNG: per episode the real frames, their decoded embeddings, and what was imagined."""
    n, t, y, x, _ = seen.real.shape
    gap, between = 2, 10
    height = n * (3 * y + 2 * gap) + (n - 1) * between
    split = 6  # between what is given and what is imagined
    sheet = np.full((height, t * (x + gap) - gap + split, 3), 255, np.uint8)
    for i in range(n):
        for row, pictures in enumerate((seen.real, seen.decoded, seen.imagined)):
            top = i * (3 * y + 2 * gap + between) + row * (y + gap)
            for j in range(t):
                left = j * (x + gap) + (split if j >= seen.given else 0)
                sheet[top : top + y, left : left + x] = pictures[i, j]
    return _png(sheet.repeat(scale, 0).repeat(scale, 1))


def film(seen: Imagined, *, scale: int = 2, milliseconds: int = 400) -> bytes:
    """A GIF: a column per episode, above what is real, below what is imagined."""
    n, t, y, x, _ = seen.real.shape
    gap = 3
    pictures = []
    for j in range(t):
        sheet = np.full((2 * y + gap, n * (x + gap) - gap, 3), 255, np.uint8)
        for i in range(n):
            left = i * (x + gap)
            sheet[:y, left : left + x] = seen.real[i, j]
            sheet[y + gap :, left : left + x] = seen.imagined[i, j]
        pictures.append(Image.fromarray(sheet.repeat(scale, 0).repeat(scale, 1)))
    buffer = BytesIO()
    durations = [milliseconds] * (t - 1) + [3 * milliseconds]
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0
    )
    return buffer.getvalue()


def save_decoder(folder: Path, decoder: Decoder) -> None:
    """Write the decoder so that `load_decoder(folder)` rebuilds it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    weights = {k: v.detach().cpu().contiguous() for k, v in decoder.state_dict().items()}
    write_atomically(folder / "model.safetensors", save(weights))
    shape = {"d": decoder.d, "side": decoder.side, "width": decoder.width}
    write_json(folder / "config.json", shape)


def load_decoder(run: Path) -> Decoder:
    """The decoder of a run, in eval mode, on the CPU.

    Raises:
        UserError: if the run has none.
    """
    folder = run / "decoder"
    if not (folder / "config.json").is_file():
        raise UserError(f"{run}: no decoder yet: isojepa world decode --run {run}")
    decoder = Decoder(**json.loads((folder / "config.json").read_text()))
    decoder.load_state_dict(load_file(folder / "model.safetensors"))
    return decoder.eval()


def _png(picture: UInt8[np.ndarray, "y x c"]) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
