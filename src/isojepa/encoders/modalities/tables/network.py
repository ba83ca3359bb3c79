"""Tables' networks: a residual perceptron, or anyone's module."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.modality import (
    UNSAID,
    Choices,
    Columns,
    Network,
    Networks,
    Statistics,
)
from isojepa.encoders.modalities.named import build_named, check_named, width_of
from isojepa.encoders.modalities.tables.rows import Column, Rows, TableSet, encoded, known, widths

DEFAULT = "mlp_small"


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """All that is needed to rebuild an encoder of rows, its weights apart."""

    modality: str = "tables"
    model: str
    table: list[Column]
    """The columns that it reads."""
    mean: list[float]
    """Per numeric column; likewise `std`."""
    std: list[float]
    columns: Columns = UNSAID
    """Those of identity and label that were named."""

    @property
    def inputs(self) -> int:
        """Numbers that the network reads: the cells, and which of them are known."""
        return sum(widths(self.table)) + len(self.table)


class TableNetworks(Networks):
    """Networks over a row's cells."""

    Spec = TableSpec

    def check(self, config: PretrainConfig, *, pretrained: bool) -> None:
        """Raises UserError for a model that there is not."""
        check_named(config, MODELS, "tables", pretrained=pretrained)

    def spec(
        self, config: PretrainConfig, choices: Choices, data: TableSet, statistics: Statistics
    ) -> TableSpec:
        """What to build for these rows."""
        return TableSpec(
            model=choices.model,
            table=list(data.columns),
            mean=statistics.mean,
            std=statistics.std,
            columns=Columns(config.id_column, None, config.label_column),
        )

    def network(
        self, spec: TableSpec, backbone: nn.Module | None = None, *, pretrained: bool = False
    ) -> "TableEncoder":
        """The encoder with initial weights from torch's generator."""
        del pretrained
        return TableEncoder(spec, backbone)

    def in_words(self, spec: TableSpec) -> str:
        """Such as "mlp_small, 10 columns, 3 of them categorical"."""
        categorical = sum(column.categories is not None for column in spec.table)
        few = f", {categorical} of them categorical" if categorical else ""
        return f"{spec.model}, {len(spec.table)} column{'s' if len(spec.table) != 1 else ''}{few}"


class TableEncoder(Network):
    """Rows in, one embedding per row out.

    Args:
        spec: what to build and how rows are prepared for it.
        backbone: a module (n, f) -> (n, d) to use in place of a named one.
    """

    def __init__(self, spec: TableSpec, backbone: nn.Module | None = None) -> None:
        super().__init__()
        self.spec = spec
        if backbone is None:
            backbone = build_named(spec.model, MODELS, "tables", spec.inputs)
        self.backbone = backbone
        self.embedding_dim = width_of(backbone, spec.inputs)

    def forward(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n d"]:
        """Embed encoded rows, as `prepare` makes them."""
        return self.backbone(x)

    def prepare(self, numbers: Tensor, categories: Tensor) -> Float[Tensor, "n f"]:
        """Rows as the network reads them: cells, and which of them are known."""
        rows, spec = Rows(numbers, categories), self.spec
        x = encoded(rows, spec.table, spec.mean, spec.std)
        return torch.cat([x, known(rows).to(x.dtype)], 1)


class Perceptron(nn.Module):
    """A linear layer and residual blocks of two; the linear way through keeps what is linear."""

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(width),
                nn.GELU(),
                nn.Linear(width, 2 * width, bias=False),
                nn.BatchNorm1d(2 * width),
                nn.GELU(),
                nn.Linear(2 * width, width),
            )
            for _ in range(depth)
        )

    def forward(self, x: Float[Tensor, "n f"]) -> Float[Tensor, "n d"]:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return x


MODELS: dict[str, Any] = {
    "mlp_small": lambda inputs: Perceptron(inputs, 128, 2),
    "mlp_base": lambda inputs: Perceptron(inputs, 256, 3),
}


NETWORKS = TableNetworks()
