"""An encoder with its preprocessing as one graph: bytes of pixels in, embeddings out."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from isojepa.backbones.networks import refused
from isojepa.boundaries import writing
from isojepa.encoders.export.squeeze import begins_with_rows, squeeze_pixels
from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.errors import UserError

EXAMPLE = (2, 50, 70)  # images, height and width that a graph is traced with
INPUT, OUTPUT = "pixels", "embeddings"


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


def save_torch_export(
    graph: nn.Module, example: tuple, sizes: tuple, path: Path, _names: tuple[str, ...], model: str
) -> None:
    """Any graph, as `write_torch_export` writes one; `model` is for the message."""
    with refused(_cannot(model, "torch.export")), _quietly():
        program = torch.export.export(graph, example, dynamic_shapes=sizes)
    with writing(path):
        torch.export.save(program, path)


def save_onnx(
    graph: nn.Module, example: tuple, sizes: tuple, path: Path, names: tuple[str, ...], model: str
) -> None:
    """Any graph, as `write_onnx` writes one; `names` are those of its inputs."""
    try:
        import onnxscript  # noqa: F401  what torch.onnx builds graphs with
    except ImportError as error:
        raise UserError(
            '--format onnx needs more packages: pip install "isojepa[export]"'
        ) from error
    size = sum(x.numel() * x.element_size() for x in graph.state_dict().values())
    with refused(_cannot(model, "ONNX")), _quietly():
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            dynamic_shapes=sizes,
            input_names=list(names),
            output_names=[OUTPUT],
            verbose=False,
        )
    if program is None:
        raise UserError(f"{_cannot(model, 'ONNX')} (torch gave no reason)")
    with writing(path):
        program.save(str(path), external_data=size > 1.5e9)


def _traceable(encoder: Encoder) -> tuple[nn.Module, tuple[Tensor], tuple[dict[int, Any]]]:
    """The graph, an example of its input, and which of the input's sizes are free."""
    example = torch.zeros(*EXAMPLE, encoder.spec.channels, dtype=torch.uint8)
    return (
        PixelsToEmbeddings(encoder).eval(),
        (example,),
        (dict.fromkeys(range(3), torch.export.Dim.AUTO),),
    )


def _cannot(model: str, what: str) -> str:
    return f"{model} cannot be written for {what}"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the exporters' words on their own progress and deprecations."""
    loggers = [
        logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels):
                logger.setLevel(level)
