"""Is a sample normal? A statistic against its simulated null distribution."""

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.errors import UserError
from isojepa.normality.calibration import Calibration
from isojepa.normality.multivariate import Reduction
from isojepa.normality.null import Progress, block_size, null_distribution
from isojepa.normality.statistic import Null

LEVELS = (0.01, 0.025, 0.05, 0.5, 0.95, 0.975, 0.99)
"""Probabilities at which a `GaussianityTest` gives the quantiles of its null distribution."""
FARTHEST = 1e12
"""Next to a larger number, float64 loses the squared distances between samples of N(0, 1)."""


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
    sample = _as_sample(z)
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
    value = _finite_value(sample, calibration)
    statistics = null_distribution(
        calibration, dtype=value.dtype, device=value.device, cache=cache, progress=progress
    )
    p_value = calibration.p_values(value.cpu(), statistics)
    quantiles = torch.quantile(statistics, torch.tensor(LEVELS, dtype=statistics.dtype))
    return GaussianityTest(float(value), float(p_value), quantiles, statistics, calibration)


def _as_sample(z: Tensor) -> Float[Tensor, "n d"]:
    if z.ndim not in (1, 2) or not z.is_floating_point():
        raise UserError(
            f"needs one floating-point sample (n,) or (n, d), got {z.dtype} {tuple(z.shape)}"
        )
    sample = z.detach() if z.ndim == 2 else z.detach().unsqueeze(1)
    unusable = (~sample.isfinite()).any(1).nonzero()[:, 0]
    if len(unusable):
        raise UserError(f"{len(unusable)} rows are not finite, the first at {int(unusable[0])}")
    return sample


def _finite_value(sample: Float[Tensor, "n d"], calibration: Calibration) -> Float[Tensor, ""]:
    """The statistic; refused where numbers are so large that it would say nothing."""
    remedy = "leave out values that stand for missing ones, or divide by the standard deviation"
    far = float(sample.abs().max())
    if calibration.null == "simple" and calibration.properties.pairs and far > FARTHEST:
        raise UserError(
            f"{calibration.statistic} is not a finite number that could be trusted: the sample "
            f"reaches as far as {far:.3g}, next to which the distances between the others are "
            f"lost; {remedy}"
        )
    value = calibration.evaluate(sample)
    if not value.isfinite():
        raise UserError(
            f"{calibration.statistic} is not a finite number for this sample, which reaches as "
            f"far as {far:.3g}: {remedy}"
        )
    return value


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
    blocks = z.split(block_size(calibration))
    values = torch.cat([calibration.evaluate(block) for block in blocks]).cpu()
    null = null_distribution(calibration, dtype=values.dtype, device=z.device, cache=cache)
    return float((calibration.p_values(values, null) <= level).double().mean())
