"""An encoder with its preprocessing as one graph: bytes of pixels in, embeddings out."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from isojepa.backbones.graphs import save_onnx, save_torch_export
from isojepa.encoders.export.squeeze import begins_with_rows, squeeze_pixels
from isojepa.encoders.modalities.images.encoder import Encoder

EXAMPLE = (2, 50, 70)  # images, height and width that a graph is traced with
INPUT = "pixels"


class PixelsToEmbeddings(nn.Module):
    """What `Encoder.preprocess` and `Encoder.forward` do, for 8-bit images of one size.

    Images are upright and of the encoder's channels, as `standalone/pixels.py` makes them.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder, self.rows_first = encoder, begins_with_rows()

    def forward(self, pixels: UInt8[Tensor, "n h w c"]) -> Float[Tensor, "n d"]:
        n, height, width, _ = pixels.shape
        squares = squeeze_pixels(pixels, self.encoder.spec.side, rows_first=self.rows_first)
        aspects = torch.scalar_tensor(width / height).expand(n)
        return self.encoder(self.encoder.prepare(squares, aspects))


def write_torch_export(encoder: Encoder, path: Path) -> None:
    """Write the graph for `torch.export.load`.

    Raises:
        UserError: if torch cannot trace the network, or the file cannot be written.
    """
    save_torch_export(*_traceable(encoder), path, (INPUT,), encoder.spec.model)


def write_onnx(encoder: Encoder, path: Path) -> None:
    """Write the graph for onnxruntime and others; weights beyond 1.5 GB go beside the file.

    Raises:
        UserError: without the packages, if the network cannot be written as ONNX, or if the file
            cannot be written.
    """
    save_onnx(*_traceable(encoder), path, (INPUT,), encoder.spec.model)


def _traceable(encoder: Encoder) -> tuple[nn.Module, tuple[Tensor], tuple[dict[int, Any]]]:
    """The graph, an example of its input, and which of the input's sizes are free."""
    example = torch.zeros(*EXAMPLE, encoder.spec.channels, dtype=torch.uint8)
    return (
        PixelsToEmbeddings(encoder).eval(),
        (example,),
        (dict.fromkeys(range(3), torch.export.Dim.AUTO),),
    )
