"""An encoder of series or of rows as one graph: arrays as they are read in, embeddings out.

Series are `values` (n, c, t), NaN where unknown, and `lengths` (n); rows are `numbers` (n, p) and
`categories` (n, q), -1 where unknown, each in the order of config.json and left out where a table
has none. Any n and t.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.backbones.graphs import OUTPUT, save_onnx, save_torch_export
from isojepa.boundaries import writing
from isojepa.encoders.export.formats import Format
from isojepa.encoders.export.round_trip import LIMIT, difference
from isojepa.encoders.modalities.modality import Network
from isojepa.encoders.modalities.registry import modality_of_encoder
from isojepa.encoders.modalities.stored import export_encoder, load_encoder
from isojepa.encoders.modalities.tables.rows import column_kinds
from isojepa.errors import UserError
from isojepa.files import write_atomically

ARRAY_FILES = {
    "onnx": "encoder.onnx",
    "torch-export": "encoder.pt2",
    "safetensors": "model.safetensors",
}
USES = {
    "onnx": "session = onnxruntime.InferenceSession('encoder.onnx')\nz = session.run(None, x)[0]",
    "torch-export": "program = torch.export.load('encoder.pt2').module()\nz = program(**x)",
    "safetensors": "encoder = isojepa.load_encoder('.')\nz = encoder(encoder.prepare(**x))",
}


class ArraysToEmbeddings(nn.Module):
    """`prepare` and `forward` of an encoder; a field that its data do not have is empty."""

    def __init__(self, encoder: Network, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.encoder, self.fields = encoder, fields

    def forward(self, first: Tensor, second: Tensor | None = None) -> Float[Tensor, "n d"]:
        if second is not None:
            return self.encoder(self.encoder.prepare(first, second))
        if self.fields == ("numbers",):
            return self.encoder(self.encoder.prepare(first, first[:, :0].long()))
        return self.encoder(self.encoder.prepare(first[:, :0].float(), first))


def write_arrays(kind: Format, encoder: Network, folder: Path) -> float:
    """Write the graph, its settings and README.md; returns the largest difference of what was
    written, read back, over the root mean square of the encoder's embeddings.

    Raises:
        UserError: if the format is for images alone, cannot express the encoder, or differs.
    """
    many = modality_of_encoder(encoder).read.WORDS.many
    if kind == "timm":
        raise UserError(f"--format timm: for images; of {many}: {', '.join(ARRAY_FILES)}")
    examples = example(encoder, 3, 21, seed=0)
    graph = ArraysToEmbeddings(encoder, tuple(examples)).eval()
    sizes: Any = tuple(
        dict.fromkeys((0, 2) if name == "values" else (0,), torch.export.Dim.AUTO)
        for name in examples
    )
    if kind == "safetensors":
        export_encoder(folder, encoder)
    else:
        save = save_onnx if kind == "onnx" else save_torch_export
        save(graph, tuple(examples.values()), sizes, folder / ARRAY_FILES[kind], tuple(examples),
             encoder.spec.model)  # fmt: skip
        write_atomically(folder / "config.json", json.dumps(asdict(encoder.spec), indent=2))
    other = example(encoder, 17, 40, seed=1)
    with torch.no_grad():
        ours = graph(*other.values()).numpy()
    found = difference(_read_back(kind, folder, other), ours)
    if not found <= LIMIT:
        raise UserError(
            f"--format {kind}: what was written differs by {found:.1e} from the encoder, more than "
            f"{LIMIT:g}; nothing was kept"
        )
    with writing(folder):
        (folder / "README.md").write_text(_card(kind, many, other, ours.shape[1], found))
    return found


def example(encoder: Network, n: int, t: int, *, seed: int) -> dict[str, Tensor]:
    """Made-up samples by the names of their fields, with gaps, as the encoder would read them."""
    spec, rng = encoder.spec, np.random.default_rng(seed)
    if spec.modality == "series":
        shift, scale = np.array(spec.mean)[:, None], np.array(spec.std)[:, None]
        values = rng.normal(size=(n, len(spec.channels), t)) * scale + shift
        lengths = rng.integers(t // 2, t + 1, n)
        for row, length in zip(values, lengths):
            row[:, length:] = np.nan
            row[:, length // 3] = np.nan if spec.missing else row[:, length // 3]
        return {"values": torch.tensor(values).float(), "lengths": torch.tensor(lengths)}
    numeric, categorical = column_kinds(spec.table)
    numbers = rng.normal(size=(n, len(numeric))) * spec.std + spec.mean
    numbers[rng.random(numbers.shape) < 0.2] = np.nan
    most = [len(column.categories or ()) for column in categorical]
    categories = rng.integers(-1, most, (n, len(most)))
    made = {"numbers": torch.tensor(numbers).float(), "categories": torch.tensor(categories)}
    return {name: x for name, x in made.items() if x.shape[1]}


def _read_back(kind: Format, folder: Path, samples: dict[str, Tensor]) -> np.ndarray:
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(folder / ARRAY_FILES[kind]))
        made: np.ndarray = session.run(None, {k: x.numpy() for k, x in samples.items()})[0]
        return made
    with torch.no_grad():
        if kind == "safetensors":
            again = ArraysToEmbeddings(load_encoder(folder), tuple(samples))
            return again(*samples.values()).numpy()
        program = torch.export.load(folder / ARRAY_FILES[kind]).module()
        return program(*samples.values()).numpy()


def _card(kind: Format, many: str, samples: dict[str, Tensor], d: int, found: float) -> str:
    fields = "\n".join(
        f"| {name} | {str(x.dtype).removeprefix('torch.')} | "
        f"{('n', 'c', 't')[: x.ndim] if name == 'values' else ('n', *map(str, x.shape[1:]))} |"
        for name, x in samples.items()
    )
    return f"""# An encoder of {many}, by isojepa

`{ARRAY_FILES[kind]}` turns arrays into `{OUTPUT}` (n, {d}). config.json holds the order of channels
or columns, their categories, and by what they are normalised, which the file does itself.

| input | type | shape |
|---|---|---|
{fields}

NaN, or -1 for a category, is unknown; the values of a series beyond its length do not count.

```python
{USES[kind]}
```

Read back, it differed from the encoder by {found:.1e} of the embeddings' root mean square (limit
{LIMIT:g}).
"""
