"""A module as one graph, for onnxruntime or torch.export.load, and proof in a fresh process."""

import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from isojepa.backbones.networks import refused
from isojepa.boundaries import writing
from isojepa.errors import UserError

GraphFormat = Literal["onnx", "torch-export"]
OUTPUT = "embeddings"
ALWAYS = ("isojepa", "lightning_fabric", "sklearn", "scipy", "jaxtyping", "transformers")
"""What no exported folder may need."""
LAUNCH = """
import runpy, sys
folder, program, foreign = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
sys.modules.update(dict.fromkeys(foreign))  # importing one of them fails from here on
sys.path.insert(0, folder)
sys.argv = [folder + "/" + program, *sys.argv[4:]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def save_torch_export(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    sizes: tuple[Any, ...],
    path: Path,
    _names: Sequence[str],
    model: str,
) -> None:
    """Write a graph for `torch.export.load`; arguments as of `save_onnx`.

    Raises:
        UserError: if torch cannot trace it, or the file cannot be written.
    """
    with refused(f"{model} cannot be written for torch.export"), quietly():
        program = torch.export.export(graph, example, dynamic_shapes=sizes)
    with writing(path):
        torch.export.save(program, path)


def save_onnx(
    graph: nn.Module,
    example: tuple[Tensor, ...],
    sizes: tuple[Any, ...],
    path: Path,
    names: Sequence[str],
    model: str,
) -> None:
    """Write a graph for onnxruntime and others; weights beyond 1.5 GB go beside the file.

    Args:
        sizes: of each input, which of its axes are free.
        names: of the inputs; the output is called `OUTPUT`.
        model: the network, for messages.

    Raises:
        UserError: without the packages, if it cannot be written as ONNX, or if the file cannot be
            written.
    """
    try:
        import onnxscript  # noqa: F401  what torch.onnx builds graphs with
    except ImportError as error:
        raise UserError(
            '--format onnx needs more packages: pip install "isojepa[export]"'
        ) from error
    size = sum(x.numel() * x.element_size() for x in graph.state_dict().values())
    with refused(f"{model} cannot be written for ONNX"), quietly():
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
        raise UserError(f"{model} cannot be written for ONNX (torch gave no reason)")
    with writing(path):
        program.save(str(path), external_data=size > 1.5e9)


def run_afresh(
    folder: Path, program: str, words: Sequence[str], place: Path, foreign: Sequence[str]
) -> str | None:
    """Run a program of an exported folder in a process of its own; its last words if it fails.

    Args:
        words: its command line.
        place: where it runs.
        foreign: packages that are kept from it, beside those that none may need.
    """
    kept = ",".join((*ALWAYS, *foreign))
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, str(folder.resolve()), program, kept, *words],
        cwd=place, env=clean, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not done.returncode:
        return None
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]


@contextmanager
def quietly() -> Iterator[None]:
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
