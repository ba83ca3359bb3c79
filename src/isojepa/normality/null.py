"""Null distributions by simulation, kept in memory and, if asked for, in files."""

import hashlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.boundaries import trying
from isojepa.files import write_atomically
from isojepa.normality.calibration import Calibration
from isojepa.normality.multivariate import random_directions, sliced
from isojepa.randomness import Stream, generator

_REVISION = 1  # of the statistics' definitions: a change that alters null values must increase it
_BLOCK_ELEMENTS = 2**21  # of the largest array in a block of null samples
WIDE = 4096
"""Dimensions above which null samples are drawn along the directions only."""
PAIRS_A_MINUTE = 4e9
"""On one processor core, to the order of magnitude."""
log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of null samples done and their total."""


def null_distribution(
    calibration: Calibration,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Float[Tensor, " r"]:
    """The null statistics, ascending, on the CPU: from memory, else from `cache`, else simulated.

    A function of the calibration and `dtype`, up to rounding on different devices.
    """
    if not calibration.sliced:  # one distribution, whatever would slice it
        calibration = replace(calibration, slices=1, reduction="mean")
    key = (calibration, dtype)
    if key not in _in_memory:
        path = None if cache is None else Path(cache) / _file_name(calibration, dtype)
        null = None if path is None else _read(path, calibration.n_null)
        if null is None:
            blocks = []
            for block in simulate_null(calibration, dtype=dtype, device=device):
                blocks.append(block.cpu())
                if progress is not None:
                    progress(sum(map(len, blocks)), calibration.n_null)
            null = torch.cat(blocks).sort().values
            if path is not None:
                _write(path, null)
        _in_memory[key] = null.to(dtype)
    return _in_memory[key]


def simulate_null(
    calibration: Calibration,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | None = None,
) -> Iterator[Float[Tensor, " b"]]:
    """Statistics of `n_null` samples of N(0, I), unsorted, block by block.

    Sample i is a function of (seed, i) and (n, d) alone, drawn on the CPU. The composite null needs
    no other law, because its statistics do not depend on mean and covariance.
    """
    c = calibration
    size = block_size(c)
    minutes = c.n_null * c.n**2 / PAIRS_A_MINUTE if c.properties.pairs else 0.0
    if minutes > 1:
        log.warning(
            "%s of %d null samples with n=%d: some %.0f minutes; fewer samples or n_null take less",
            c.statistic, c.n_null, c.n, minutes,
        )  # fmt: skip
    if c.sliced and c.null == "simple" and c.d > WIDE:
        yield from _simulate_projections(c, dtype, device)
        return
    for start in range(0, c.n_null, size):
        draws = torch.stack(
            [
                torch.randn(c.n, c.d, generator=generator(c.seed, Stream.NULL, i + 1))
                for i in range(start, min(start + size, c.n_null))
            ]
        )
        with torch.no_grad():
            yield c.evaluate(draws.to(device=device, dtype=dtype))


def _simulate_projections(
    c: Calibration, dtype: torch.dtype, device: torch.device | None
) -> Iterator[Float[Tensor, " 1"]]:
    """The same law without the samples: of directions D = Q R, z D = (z Q) R with z Q ~ N(0, I)."""
    directions = random_directions(c.d, c.slices, seed=c.seed)
    rotated = torch.linalg.qr(directions.double())[1].to(device=device, dtype=dtype)
    for i in range(c.n_null):
        z = torch.randn(c.n, len(rotated), generator=generator(c.seed, Stream.NULL, i + 1))
        with torch.no_grad():
            z = z.to(device=device, dtype=dtype)
            yield sliced(z, rotated, c.statistic, c.reduction).unsqueeze(0)


_in_memory: dict[tuple[Calibration, torch.dtype], Tensor] = {}


def block_size(c: Calibration) -> int:
    """How many null samples to simulate at a time, so that memory stays small."""
    widest = max(c.d, c.slices if c.sliced else c.n)
    return max(1, min(c.n_null, _BLOCK_ELEMENTS // (c.n * widest)))


def _file_name(calibration: Calibration, dtype: torch.dtype) -> str:
    text = f"{_REVISION} {calibration} {dtype}"
    return f"null-{calibration.statistic}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npy"


def _read(path: Path, n_null: int) -> Tensor | None:
    """The cached null statistics; None if there are none, or the file is damaged."""
    try:
        null = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if null.shape != (n_null,) or null.dtype.kind != "f" or np.isnan(null).any():
        return None
    return torch.from_numpy(null)


def _write(path: Path, null: Tensor) -> None:
    """Keep them for the next time, if the disk takes them."""
    buffer = io.BytesIO()
    np.save(buffer, null.numpy(), allow_pickle=False)
    with trying("the cache of null distributions"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
