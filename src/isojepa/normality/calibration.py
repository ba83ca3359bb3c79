"""Null distributions by simulation, and the p-values that they give to any statistic.

The null distribution of a statistic depends on the sample's shape (n, d) and on the directions, so
it is simulated for exactly those, with the same code that evaluates the sample: p-values are then
uniform under the null by exchangeability, whatever n, d and the number of draws.
"""

import hashlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.boundaries import trying
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.machine import memory_bytes
from isojepa.normality.multivariate import (
    MULTIVARIATE,
    Reduction,
    random_directions,
    sliced,
)
from isojepa.normality.samples import whiten
from isojepa.normality.statistic import Null, Statistic
from isojepa.normality.univariate import UNIVARIATE
from isojepa.randomness import Stream, generator

LEVELS = (0.01, 0.025, 0.05, 0.5, 0.95, 0.975, 0.99)
"""Probabilities at which a `GaussianityTest` gives the quantiles of its null distribution."""

_STATISTICS = {**UNIVARIATE, **MULTIVARIATE}
_REVISION = 1  # of the statistics' definitions: a change that alters null values must increase it
_BLOCK_ELEMENTS = 2**21  # of the largest array in a block of null samples
WIDE = 4096
"""Dimensions above which null samples are drawn along the directions only."""
FARTHEST = 1e12
"""Next to a larger number, float64 loses the squared distances between samples of N(0, 1)."""
PAIRS_A_MINUTE = 4e9
"""On one processor core, to the order of magnitude."""
log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of null samples done and their total."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Everything a null distribution depends on."""

    statistic: str
    """A name in `MULTIVARIATE`, or in `UNIVARIATE`: then sliced if d > 1."""
    n: int
    """Samples."""
    d: int
    """Dimensions, 1 for a univariate sample."""
    null: Null = "simple"
    """simple: N(0, I); composite: some normal law."""
    slices: int = 64
    """Random directions of a sliced statistic, at least 1; ignored otherwise."""
    reduction: Reduction = "mean"
    """Mean over directions, or the most extreme of them; ignored unless sliced."""
    n_null: int = 1000
    """Null samples, at least 1: no p-value is smaller than 1 / (n_null + 1)."""
    seed: int = 0
    """Non-negative seed of the directions and of the null samples."""

    def __post_init__(self) -> None:
        properties = self.properties
        if self.n_null < 1 or self.slices < 1 or self.seed < 0:
            raise UserError("n_null and slices must be at least 1 and seed not negative")
        if self.d < 1:
            raise UserError("needs at least one dimension")
        if self.n < properties.min_n:
            raise UserError(f"{self.statistic} needs {properties.min_n} samples, got {self.n}")
        if properties.pairs and 3 * 8 * self.n**2 > memory_bytes() // 2:
            raise UserError(
                f"{self.statistic} compares all pairs of n={self.n:,} samples, for which this "
                "machine has too little memory: test a random part, or take a statistic whose cost "
                "grows with n, such as epps_pulley"
            )
        if self.null == "composite" and self.n <= self.d:
            raise UserError(
                f"the composite null needs more samples than dimensions, got n={self.n}, "
                f"d={self.d}: test the simple null, or fewer dimensions"
            )
        try:
            properties.under(self.null)
        except ValueError as error:
            raise UserError(str(error)) from error
        if self.sliced and self.reduction == "max" and properties.tail == "both":
            raise UserError(f"{self.statistic} has two tails: average over directions instead")

    @property
    def properties(self) -> Statistic:
        """The statistic behind the name."""
        if self.statistic not in _STATISTICS:
            known = ", ".join(_STATISTICS)
            raise UserError(f"unknown statistic {self.statistic!r}: one of {known}")
        return _STATISTICS[self.statistic]

    @property
    def sliced(self) -> bool:
        """Whether a univariate statistic meets a multivariate sample."""
        return self.d > 1 and self.statistic in UNIVARIATE

    def evaluate(self, z: Float[Tensor, "... n d"]) -> Float[Tensor, "..."]:
        """The statistic of each sample."""
        if self.sliced:
            directions = random_directions(self.d, self.slices, seed=self.seed)
            z = whiten(z) if self.null == "composite" else z
            return sliced(z, directions, self.statistic, self.reduction)
        function = self.properties.under(self.null)
        return function(z if self.statistic in MULTIVARIATE else z[..., 0])

    def p_values(self, values: Float[Tensor, "..."], null: Float[Tensor, " r"]) -> Tensor:
        """P-values of statistics, given the sorted null statistics: in [1 / (r + 1), 1].

        (1 + how many null statistics are at least as extreme) / (1 + r); for two tails twice the
        smaller one, at most 1. Exact for any r (Davison and Hinkley 1997, section 4.2), over null
        samples: given the one that was drawn, the chance of p <= 0.05 scatters around 0.05 with a
        standard deviation of (0.05 * 0.95 / r)^0.5, 0.015 for r = 199 and 0.007 for 1,000.

        Raises:
            UserError: if a statistic is not a number.
        """
        if values.isnan().any() or null.isnan().any():
            raise UserError(
                f"{self.statistic} is not a number for some of these samples: they hold numbers "
                "that are not finite, or too large to square"
            )
        null = null.to(values)
        at_least = null.numel() - torch.searchsorted(null, values.contiguous(), right=False)
        at_most = torch.searchsorted(null, values.contiguous(), right=True)
        large, small = ((1 + count).double() / (1 + null.numel()) for count in (at_least, at_most))
        if self.properties.tail == "both":
            return (2 * torch.minimum(large, small)).clamp_max(1)
        return large if self.properties.tail == "large" else small


class GaussianityTest(NamedTuple):
    """One sample's statistic, against its null distribution."""

    statistic: float
    """Its value."""
    p_value: float
    """How often a sample of the null hypothesis is at least as extreme; small is evidence."""
    quantiles: Float[Tensor, " q"]
    """Quantiles of the null distribution at `LEVELS`."""
    null: Float[Tensor, " r"]
    """The null statistics, ascending, on the CPU."""
    calibration: Calibration
    """What they were simulated for."""


def gaussianity_test(
    z: Tensor,
    statistic: str = "epps_pulley",
    null: Null = "simple",
    n_null: int = 1000,
    seed: int = 0,
    *,
    slices: int = 64,
    reduction: Reduction = "mean",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> GaussianityTest:
    """Is this sample normal? A statistic and its p-value, by simulation of the null hypothesis.

    Args:
        z: one sample, (n,) or (n, d), floating point, on any device.
        statistic, null, n_null, seed, slices, reduction: see `Calibration`.
        cache: folder that keeps null distributions from run to run; in memory they always are.
        progress: told how many null samples are done, if they have to be simulated.

    Raises:
        UserError: for values that are not finite, too few samples, an unknown statistic, or a
            combination that makes no sense; the message names it.
    """
    if z.ndim not in (1, 2) or not z.is_floating_point():
        raise UserError(
            f"needs one floating-point sample (n,) or (n, d), got {z.dtype} {tuple(z.shape)}"
        )
    sample = z.detach() if z.ndim == 2 else z.detach().unsqueeze(1)
    unusable = (~sample.isfinite()).any(1).nonzero()[:, 0]
    if len(unusable):
        raise UserError(f"{len(unusable)} rows are not finite, the first at {int(unusable[0])}")
    calibration = Calibration(
        statistic=statistic,
        n=sample.shape[0],
        d=sample.shape[1],
        null=null,
        slices=slices,
        reduction=reduction,
        n_null=n_null,
        seed=seed,
    )
    far = float(sample.abs().max())
    if null == "simple" and calibration.properties.pairs and far > FARTHEST:
        raise UserError(
            f"{statistic} is not a finite number that could be trusted: the sample reaches as far "
            f"as {far:.3g}, next to which the distances between the others are lost; leave out "
            "values that stand for missing ones, or divide by the standard deviation"
        )
    value = calibration.evaluate(sample)
    if not value.isfinite():
        raise UserError(
            f"{statistic} is not a finite number for this sample, which reaches as far as "
            f"{float(sample.abs().max()):.3g}: leave out values that stand for missing ones, or "
            "divide by the standard deviation"
        )
    statistics = null_distribution(
        calibration, dtype=value.dtype, device=value.device, cache=cache, progress=progress
    )
    p_value = calibration.p_values(value.cpu(), statistics)
    quantiles = torch.quantile(statistics, torch.tensor(LEVELS, dtype=statistics.dtype))
    return GaussianityTest(float(value), float(p_value), quantiles, statistics, calibration)


def rejection_rate(
    z: Float[Tensor, "r n d"],
    calibration: Calibration,
    *,
    level: float = 0.05,
    cache: Path | None = None,
) -> float:
    """Share of the samples z[0], z[1], ... that a test at `level` rejects: its power against them.

    Under the null hypothesis itself, the type I error.
    """
    blocks = z.split(_block_size(calibration))
    values = torch.cat([calibration.evaluate(block) for block in blocks]).cpu()
    null = null_distribution(calibration, dtype=values.dtype, device=z.device, cache=cache)
    return float((calibration.p_values(values, null) <= level).double().mean())


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
    size = _block_size(c)
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


def _block_size(c: Calibration) -> int:
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
