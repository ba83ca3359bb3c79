"""Stretches of series brought to one number of time steps, missing values left out.

A stretch is averaged over a window that moves along it, by differences of a cumulative sum. The
window is as wide as the step where there are fewer steps out than in, so that nothing aliases, and
one time step wide otherwise, which is linear interpolation. Only known values count.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def resample(
    values: Float[Tensor, "n c t"],
    start: Float[Tensor, "v n"],
    width: Float[Tensor, "v n"],
    blur: Float[Tensor, "v n"],
    steps: int,
) -> tuple[Float[Tensor, "v n c steps"], Float[Tensor, "v n c steps"]]:
    """Views of series as averages over moving windows.

    Args:
        values: NaN where unknown.
        start: first time step of the stretch; not negative.
        width: its number of time steps, at least 1; `start + width` at most the series' length.
        blur: factor of the window's width, at least 1.
        steps: of the result.

    Returns:
        The averages, 0 where nothing is known, and the known share of each window, in [0, 1].
    """
    dtype = torch.float32 if values.device.type == "mps" else torch.float64
    known = values.isfinite()
    sums = torch.stack([torch.where(known, values, 0).to(dtype), known.to(dtype)])
    sums = torch.nn.functional.pad(sums.cumsum(-1), (1, 0))  # k n c t+1
    window = (width / steps).clamp_min(1) * blur
    window = torch.minimum(window, width).to(dtype)[..., None]
    place = torch.linspace(0, 1, steps, dtype=dtype, device=values.device)
    left = start.to(dtype)[..., None] + place * (width.to(dtype)[..., None] - window)
    share = _at(sums, left + window) - _at(sums, left)
    total, count = share
    mean = torch.where(count > 1e-6 * window[:, :, None], total / count.clamp_min(1e-12), 0)
    observed = (count / window[:, :, None]).clamp(0, 1)
    return mean.to(values.dtype), observed.to(values.dtype)


def _at(sums: Tensor, places: Float[Tensor, "v n steps"]) -> Float[Tensor, "k v n c steps"]:
    """The cumulative sums between time steps."""
    last = sums.shape[-1] - 1
    places = places.clamp(0, last)
    index = places.floor().long().clamp_max(last - 1)
    part = (places - index)[:, None, :, None]  # v 1 n 1 steps
    index = index[:, None, :, None].expand(-1, sums.shape[0], -1, sums.shape[2], -1)
    spread = sums.expand(len(places), *sums.shape)
    low, high = spread.gather(-1, index), spread.gather(-1, index + 1)
    return (low + part * (high - low)).transpose(0, 1)


def whole(
    values: Float[Tensor, "n c t"],
    lengths: Int64[Tensor, " n"],
    steps: int,
    mean: Float[Tensor, " c"],
    std: Float[Tensor, " c"],
) -> tuple[Float[Tensor, "n c steps"], Bool[Tensor, "n c steps"]]:
    """Whole series at one number of steps, normalised, 0 where unknown; and what is known."""
    width = lengths.to(values.device, values.dtype)[None]
    x, observed = resample(values, torch.zeros_like(width), width, torch.ones_like(width), steps)
    known = observed[0] > 0
    return normalised(x[0], known, mean, std), known


def normalised(
    x: Float[Tensor, "*v c t"],
    known: Bool[Tensor, "*v c t"],
    mean: Float[Tensor, " c"],
    std: Float[Tensor, " c"],
) -> Float[Tensor, "*v c t"]:
    """Deviations from each channel's mean in its standard deviations, 0 where unknown."""
    shift, scale = (m.to(x.device, x.dtype)[:, None] for m in (mean, std))
    return torch.where(known, (x - shift) / scale, 0)
