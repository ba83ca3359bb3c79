"""Tables' views: cells left out and noise; how they are made, and a picture of some."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.drawing import cell_pictures, png_sheet
from isojepa.encoders.modalities.modality import Batch, Choices, Viewing, Views
from isojepa.encoders.modalities.tables.network import TableSpec
from isojepa.encoders.modalities.tables.rows import Rows, TableSet, encoded, known, widths
from isojepa.files import write_atomically
from isojepa.randomness import Stream, generator


@dataclass(frozen=True, kw_only=True)
class TableRecipe:
    """What varies between the views of a row."""

    n_views: int
    masked: float = 0.0
    """Share of the cells that a view lacks, each with this probability; one always stays."""
    noise: float = 0.0
    """Standard deviation of noise on each number, in those of the column."""


NAMED: dict[str, dict[str, Any]] = {
    "table": {"masked": 0.3, "noise": 0.1},
    "masked": {"masked": 0.3},
    "none": {},
}


class TableViewing(Viewing):
    """Cells left out, and noise."""

    def recipe(self, _config: PretrainConfig, choices: Choices) -> TableRecipe:
        """The recipe that was chosen."""
        return TableRecipe(
            n_views=choices.global_views + choices.local_views, **NAMED[choices.recipe]
        )

    def views(
        self,
        batch: Batch[Rows],
        step: int,
        *,
        recipe: TableRecipe,
        spec: TableSpec,
        seed: int,
        device: torch.device,
    ) -> Views:
        """All of them are of one size: the global views come first, there are no local ones."""
        rows = Rows(*(x.to(device, non_blocking=True) for x in batch.samples))
        there, x = known(rows), encoded(rows, spec.table, spec.mean, spec.std)
        source = generator(seed, step, Stream.VIEWS)
        own = slice(batch.first, batch.first + len(x))
        u = torch.rand(recipe.n_views, batch.total, there.shape[1], generator=source)
        u = u[:, own].to(device)
        kept = there & ((u >= recipe.masked) | (u == u.amax(-1, keepdim=True)))
        p = rows.numbers.shape[1]
        noise = torch.randn(recipe.n_views, batch.total, p, generator=source)[:, own]
        x = x.expand(recipe.n_views, *x.shape).clone()
        x[..., :p] += recipe.noise * noise.to(device)
        by_number = torch.tensor(widths(spec.table), device=device)
        x = x * kept.repeat_interleave(by_number, -1)
        return Views(torch.cat([x, kept.to(x.dtype)], -1), None)

    def write_preview(
        self, path: Path, data: TableSet, indices: Tensor, recipe: TableRecipe, *, seed: int
    ) -> None:
        """Write a PNG: a row per row of the table, the whole one first, then its views; grey cells
        are unknown."""
        chosen = indices[torch.linspace(0, len(indices) - 1, min(8, len(indices))).long()]
        rows = data.read(chosen)
        mean, std = data.statistics(chosen.tolist())
        spec = TableSpec(model="", table=list(data.columns), mean=mean, std=std)
        batch = Batch(rows, None, 0, len(chosen))
        made = self.views(
            batch, 0, recipe=recipe, spec=spec, seed=seed, device=torch.device("cpu")
        ).large
        whole = torch.cat([encoded(rows, spec.table, mean, std), known(rows).float()], 1)
        columns = []
        for x in (whole, *made):
            cells, there = x.split([sum(widths(spec.table)), len(spec.table)], 1)
            there = there.repeat_interleave(torch.tensor(widths(spec.table)), 1)
            cells = cells.masked_fill(there == 0, torch.nan)
            columns.append(cell_pictures(cells.numpy(), 72))
        write_atomically(path, png_sheet(columns))


VIEWING = TableViewing()
