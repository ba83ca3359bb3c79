"""Rows in memory: numbers with NaN where one is missing, categories by number, -1 where missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from isojepa.encoders.modalities.modality import Dataset, Statistics


class Column(NamedTuple):
    """One column of a table, as one encoder reads it."""

    name: str
    categories: tuple[str, ...] | None
    """Of a categorical column; what is none of them counts as missing. None for numbers."""


class Rows(NamedTuple):
    """Some rows. Axes: n rows, p numeric columns, q categorical ones."""

    numbers: Float[Tensor, "n p"]
    categories: Int64[Tensor, "n q"]


@dataclass(frozen=True, kw_only=True)
class TableSet(Dataset[Rows]):
    """Rows of the same columns."""

    columns: tuple[Column, ...]
    """In the order of the source."""
    numbers: Float[Tensor, "n p"]
    categories: Int64[Tensor, "n q"]

    def read(self, indices: Sequence[int] | Tensor) -> Rows:
        """The rows at the given positions."""
        chosen = torch.as_tensor(indices)
        return Rows(self.numbers[chosen], self.categories[chosen])

    def statistics(self, indices: Sequence[int]) -> Statistics:
        """Mean and deviation of each numeric column over its known values in these rows."""
        x = self.numbers[torch.as_tensor(indices)].double()
        known = x.isfinite()
        count = known.sum(0).clamp_min(1)
        mean = torch.where(known, x, 0).sum(0) / count
        std = (torch.where(known, x - mean, 0).square().sum(0) / count).sqrt()
        flat = std <= 1e-12 * mean.abs().clamp_min(1)
        return Statistics(mean.tolist(), torch.where(flat, 1.0, std).tolist())


def column_kinds(columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
    """The numeric columns and the categorical ones, each in their order."""
    numeric = [column for column in columns if column.categories is None]
    return numeric, [column for column in columns if column.categories is not None]


def encoded(
    rows: Rows, columns: Sequence[Column], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "n f"]:
    """Rows as a network reads them, column groups side by side as `widths` says.

    Numbers in standard deviations from their mean, those beyond 5 squeezed to their logarithm, so
    that one outlier is not all that there is; categories as one-hot vectors, scaled to the same
    variance where all are as frequent; 0 where missing.
    """
    device = rows.numbers.device
    shift = torch.tensor(mean, device=device)
    scale = torch.tensor(std, device=device)
    z = ((rows.numbers - shift) / scale).nan_to_num(0, 0, 0)
    z = torch.where(z.abs() > 5, z.sign() * (5 + (z.abs() / 5).log()), z)
    _, categorical = column_kinds(columns)
    parts = [z]
    for j, column in enumerate(categorical):  # not unbound: graphs cannot hold none of them
        index = rows.categories[:, j]
        k = len(column.categories or ())
        hot = torch.nn.functional.one_hot(index + 1, k + 1)[:, 1:].to(z.dtype)
        parts.append((hot - (index >= 0)[:, None] / k) * k**0.5)
    return torch.cat(parts, 1)


def widths(columns: Sequence[Column]) -> list[int]:
    """Numbers that each column takes in `encoded`, numeric ones first."""
    numeric, categorical = column_kinds(columns)
    return [1] * len(numeric) + [len(column.categories or ()) for column in categorical]


def known(rows: Rows) -> Bool[Tensor, "n columns"]:
    """Which cells are there, numeric columns first."""
    return torch.cat([rows.numbers.isfinite(), rows.categories >= 0], 1)
