"""Series' views: what varies between them, how they are made, and a picture of some."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.drawing import line_pictures, png_sheet
from isojepa.encoders.modalities.modality import Batch, Viewing, Views
from isojepa.encoders.modalities.series.network import PATCH, SeriesChoices, SeriesSpec
from isojepa.encoders.modalities.series.resampling import normalised, resample, whole
from isojepa.encoders.modalities.series.samples import Sequences, SeriesSet
from isojepa.files import write_atomically
from isojepa.randomness import Stream, generator


@dataclass(frozen=True, kw_only=True)
class SeriesRecipe:
    """What varies between the views of a series. Deviations are in those of the channel."""

    n_global: int
    n_local: int
    global_steps: int
    """Time steps of the global views."""
    local_steps: int
    global_scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest share of the series in a global view: crops of any length are brought
    to one number of steps, so that they run faster and slower too."""
    local_scale: tuple[float, float] = (0.2, 0.5)
    blur: float = 0.0
    """Probability that a view is averaged over up to four time steps: another sampling rate."""
    jitter: float = 0.0
    """Largest standard deviation of noise on each value."""
    scaling: float = 0.0
    """Standard deviation of the logarithm of a factor on each channel."""
    channel_drop: float = 0.0
    """Probability that a channel, of several, is taken for unknown; one always stays."""
    time_mask: float = 0.0
    """Largest share of the view, in one stretch, that is taken for unknown."""
    frequency: float = 0.0
    """Largest standard deviation of the relative change of each frequency's amplitude."""
    masked: float = 0.0
    """Share of the patches that each view lacks, at random; for views without augmentation."""


NAMED: dict[str, dict[str, Any]] = {
    "series": {
        "global_scale": (0.5, 1.0), "blur": 0.3, "jitter": 0.2, "scaling": 0.2,
        "channel_drop": 0.1, "time_mask": 0.2, "frequency": 0.3,
    },
    "masked": {"masked": 0.5},
    "none": {},
}  # fmt: skip


class SeriesViewing(Viewing):
    """Crops and noise in time and in frequency."""

    def recipe(self, config: PretrainConfig, choices: SeriesChoices) -> SeriesRecipe:
        """The recipe that was chosen, with the configuration's own changes."""
        own = NAMED[choices.recipe]
        if config.global_scale is not None:
            own = own | {"global_scale": config.global_scale}
        return SeriesRecipe(
            n_global=choices.global_views,
            n_local=choices.local_views,
            global_steps=choices.length,
            local_steps=max(PATCH, choices.length // (2 * PATCH) * PATCH),
            **own,
        )

    def views(
        self,
        batch: Batch[Sequences],
        step: int,
        *,
        recipe: SeriesRecipe,
        spec: SeriesSpec,
        seed: int,
        device: torch.device,
    ) -> Views:
        """Crops, resampled to the network's length and changed; what is taken for unknown is 0."""
        draws = Draws(batch, generator(seed, step, Stream.VIEWS), device)
        values = batch.samples.values.to(device, non_blocking=True)
        lengths = batch.samples.lengths.to(device, non_blocking=True)
        made = [
            _views(values, lengths, draws, recipe, spec, count, steps, scale)
            for count, steps, scale in (
                (recipe.n_global, recipe.global_steps, recipe.global_scale),
                (recipe.n_local, recipe.local_steps, recipe.local_scale),
            )
            if count
        ]
        return Views(made[0], made[1] if recipe.n_local else None)

    def write_preview(
        self, path: Path, data: SeriesSet, indices: Tensor, recipe: SeriesRecipe, *, seed: int
    ) -> None:
        """Write a PNG: a row per series, the whole one first, then its global and local views."""
        chosen = indices[torch.linspace(0, len(indices) - 1, min(8, len(indices))).long()]
        samples = data.read(chosen)
        mean, std = data.statistics(chosen.tolist())
        spec = SeriesSpec(
            model="", length=recipe.global_steps, channels=list(data.channels), mean=mean, std=std,
            missing=True,
        )  # fmt: skip
        batch = Batch(samples, None, 0, len(chosen))
        made = self.views(batch, 0, recipe=recipe, spec=spec, seed=seed, device=torch.device("cpu"))
        x, known = whole(*samples, recipe.global_steps, torch.tensor(mean), torch.tensor(std))
        columns = [x.masked_fill(~known, torch.nan)]
        for size in (made.large, made.small):
            if size is not None:
                x, known = size.chunk(2, 2)
                columns += x.masked_fill(known == 0, torch.nan).unbind(0)
        write_atomically(path, png_sheet([line_pictures(x.numpy(), 72, 128) for x in columns]))


class Draws:
    """Numbers for this rank's samples, drawn for the whole global batch."""

    def __init__(
        self, batch: Batch[Sequences], source: torch.Generator, device: torch.device
    ) -> None:
        self.total, self.device, self.source = batch.total, device, source
        self.own = slice(batch.first, batch.first + len(batch.samples.lengths))

    def uniform(self, v: int, *shape: int) -> Tensor:
        """In [0, 1), (v, n, *shape)."""
        return self._own(torch.rand(v, self.total, *shape, generator=self.source))

    def normal(self, v: int, *shape: int) -> Tensor:
        """Of mean 0 and deviation 1, (v, n, *shape)."""
        return self._own(torch.randn(v, self.total, *shape, generator=self.source))

    def _own(self, x: Tensor) -> Tensor:
        return x[:, self.own].to(self.device, non_blocking=True)


def _views(
    values: Float[Tensor, "n c t"],
    lengths: Int64[Tensor, " n"],
    draws: Draws,
    recipe: SeriesRecipe,
    spec: SeriesSpec,
    count: int,
    steps: int,
    scale: tuple[float, float],
) -> Float[Tensor, "v n inputs steps"]:
    c = values.shape[1]
    share, place, blurred, by = draws.uniform(count, 4).unbind(-1)
    width = ((scale[0] + (scale[1] - scale[0]) * share) * lengths).clamp_min(1)
    width = torch.minimum(width, lengths.to(width.dtype))
    blur = torch.where(blurred < recipe.blur, 1 + 3 * by, 1)
    x, observed = resample(values, place * (lengths - width), width, blur, steps)
    known = observed > 0
    x = normalised(x, known, torch.tensor(spec.mean), torch.tensor(spec.std))
    if recipe.frequency:
        x = _with_other_frequencies(x, recipe.frequency, draws)
    if recipe.scaling:
        x = x * torch.exp(recipe.scaling * draws.normal(count, c))[..., None]
    if recipe.jitter:
        deviation = recipe.jitter * draws.uniform(count)
        x = x + deviation[..., None, None] * draws.normal(count, c, steps)
    known = known & _kept(draws, recipe, count, c, steps)
    x = torch.where(known, x, 0)
    return torch.cat([x, known.to(x.dtype)], 2) if spec.missing else x


def _with_other_frequencies(
    x: Float[Tensor, "v n c t"], most: float, draws: Draws
) -> Float[Tensor, "v n c t"]:
    """Each frequency's amplitude, but for the mean, changed by a factor around 1."""
    waves = torch.fft.rfft(x)
    v, _, c, frequencies = waves.shape
    deviation = most * draws.uniform(v)
    factor = 1 + deviation[..., None, None] * draws.normal(v, c, frequencies)
    factor[..., 0] = 1
    return torch.fft.irfft(waves * factor, n=x.shape[-1])


def _kept(draws: Draws, recipe: SeriesRecipe, v: int, c: int, steps: int) -> Tensor:
    """What is not taken for unknown, (v, n, c or 1, steps or 1)."""
    time = torch.arange(steps, device=draws.device)
    place, share = draws.uniform(v, 2).mul(1).unbind(-1)
    width = share * recipe.time_mask * steps
    first = (place * (steps - width))[..., None, None]
    kept = (time < first) | (time >= first + width[..., None, None])
    if recipe.channel_drop and c > 1:
        u = draws.uniform(v, c)
        kept = kept & ((u >= recipe.channel_drop) | (u == u.amax(-1, keepdim=True)))[..., None]
    if recipe.masked:
        patches = math.ceil(steps / PATCH)
        gone = round(recipe.masked * patches)
        order = draws.uniform(v, patches).argsort(-1).argsort(-1)
        kept = kept & (order >= gone).repeat_interleave(PATCH, -1)[..., None, :steps]
    return kept


VIEWING = SeriesViewing()
