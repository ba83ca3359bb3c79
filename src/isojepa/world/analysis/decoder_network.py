"""A network that draws frames from frozen embeddings: trained, scored, written and read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor, nn

from isojepa.boundaries import reading, writing
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.progress import bar
from isojepa.randomness import Stream, generator, seed_from
from isojepa.runs.checkpoints import sealed, unsealed
from isojepa.runs.typed import read_result, write_result
from isojepa.training.optimise import cosine_schedule
from isojepa.world.analysis.study import channels_first

BATCH = 64


@dataclass(frozen=True)
class DecoderSize:
    """What a decoder is built from."""

    d: int
    """Embedding dimension."""
    side: int = 64
    """Of the picture in pixels, a power of two times 4."""
    width: int = 128
    """Channels at 4 x 4, halved at each doubling."""


class Decoder(nn.Module):
    """Embeddings to pictures: what differs from the mean frame, by transposed convolutions.

    Shape:
        (n, d) -> (n, 3, side, side), values around [0, 1].
    """

    def __init__(self, size: DecoderSize) -> None:
        super().__init__()
        self.size = size
        d, side, width = size.d, size.side, size.width
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
        decoder = Decoder(DecoderSize(z.shape[1], frames.shape[1]))
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


def save_decoder(folder: Path, decoder: Decoder) -> None:
    """Write the decoder so that `load_decoder(folder)` rebuilds it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", sealed(decoder.state_dict()))
    write_result(folder / "config.json", decoder.size)


def load_decoder(run: Path) -> Decoder:
    """The decoder of a run, in eval mode, on the CPU.

    Raises:
        UserError: if the run has none, or its files are damaged.
    """
    folder = run / "decoder"
    if not (folder / "config.json").is_file():
        raise UserError(f"{run}: no decoder yet: isojepa world decode --run {run}")
    decoder = Decoder(read_result(DecoderSize, folder / "config.json"))
    weights = unsealed(folder / "model.safetensors")
    with reading(folder / "model.safetensors", "the weights of what config.json describes"):
        decoder.load_state_dict(weights)
    return decoder.eval()
