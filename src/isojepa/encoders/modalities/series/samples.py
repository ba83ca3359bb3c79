"""Series in memory: one array of all time steps, and where each series begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from isojepa.encoders.modalities.modality import Dataset, Statistics
from isojepa.encoders.sources.folder import Listing


class Sequences(NamedTuple):
    """Some series, side by side."""

    values: Float[Tensor, "n c t"]
    """NaN where a value is missing, and beyond the end of those that are shorter."""
    lengths: Int64[Tensor, " n"]


@dataclass(frozen=True, kw_only=True)
class SeriesSet(Dataset[Sequences]):
    """Series of the same channels."""

    channels: tuple[str, ...]
    flat: Float[Tensor, "total c"]
    """All time steps of all series, one after the other; NaN where missing."""
    starts: Int64[Tensor, " n"]
    lengths: Int64[Tensor, " n"]

    @property
    def missing(self) -> bool:
        """Whether any value is missing."""
        return bool(self.flat.isnan().any())

    def read(self, indices: Sequence[int] | Tensor) -> Sequences:
        """The series at the given positions, filled up with NaN to the longest of them."""
        chosen = torch.as_tensor(indices)
        lengths = self.lengths[chosen]
        steps = torch.arange(int(lengths.max()))
        beyond = steps >= lengths[:, None]
        places = (self.starts[chosen][:, None] + steps).clamp_max(len(self.flat) - 1)
        values = self.flat[places].masked_fill(beyond[..., None], torch.nan)
        return Sequences(values.mT.contiguous(), lengths)

    def statistics(self, indices: Sequence[int]) -> Statistics:
        """Mean and deviation of each channel over all known values of these series."""
        chosen = torch.zeros(len(self), dtype=torch.bool)
        chosen[torch.as_tensor(indices)] = True
        x = self.flat[torch.repeat_interleave(chosen, self.lengths)].double()
        known = x.isfinite()
        count = known.sum(0).clamp_min(1)
        mean = x.nan_to_num(0, 0, 0).sum(0) / count
        square = torch.where(known, x - mean, 0).square().sum(0) / count
        std = square.sqrt()
        return Statistics(mean.tolist(), torch.where(std > 1e-12, std, 1.0).tolist())


class FoundSeries(NamedTuple):
    """Series as they were found, before it is settled which of them and of their channels count."""

    names: list[str]
    values: list[np.ndarray]
    """(t, c) each, in the order of the channels."""
    channels: tuple[str, ...]


def series_set(found: FoundSeries, listing: Listing, channels: Sequence[str]) -> SeriesSet:
    """The listing's series with these channels, in this order."""
    place = {name: i for i, name in enumerate(found.names)}
    order = [found.channels.index(name) for name in channels]
    parts = [found.values[place[name]][:, order].astype(np.float32) for name in listing.names]
    flat = torch.from_numpy(np.concatenate(parts))
    flat[~flat.isfinite()] = torch.nan
    lengths = torch.tensor([len(part) for part in parts])
    return SeriesSet(
        listing=listing,
        channels=tuple(channels),
        flat=flat,
        starts=lengths.cumsum(0) - lengths,
        lengths=lengths,
        held_out=np.zeros(len(parts), bool),
    )
