"""How often Gaussian samples score as high: the package's tests, with simulated p-values."""

import math
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy import stats

from isojepa.normality.gaussianity import GaussianityTest, gaussianity_test
from isojepa.theme.wording import number

N_NULL = 199
"""Null samples: no p-value is below 0.005.

They are drawn once for a given n and d, from a fixed seed, so that a file's p-values do not change
from run to run. The price: at one (n, d) the chance of p <= 0.05 is not 0.05 but a number of mean
0.05 and standard deviation 0.015, the same for everybody; it is exact over n, d and seeds."""
SLICES = 64
MOST = 1000
MOST_AXES = 64
"""Principal axes that the tests of shape look at."""


class Tested(NamedTuple):
    """A test of the samples and what it asks."""

    title: str
    asks: Literal["standard", "shape"]
    """standard: N(0, I) in the target's units; shape: some Gaussian."""
    test: GaussianityTest

    @property
    def p_value(self) -> float:
        return self.test.p_value

    @property
    def usual(self) -> tuple[float, float]:
        """Where Gaussian samples lie 95 % of the time; infinite on a side that is no evidence."""
        low, least, _, most, high = (float(self.test.quantiles[i]) for i in (1, 2, 3, 4, 5))
        return {
            "large": (-math.inf, most), "small": (least, math.inf), "both": (low, high),
        }[self.test.calibration.properties.tail]  # fmt: skip

    @property
    def usual_words(self) -> str:
        """The same for a table: `≤ 1.2`, `≥ 0.9` or `-0.2 to 0.2`."""
        low, high = self.usual
        if math.isinf(low):
            return f"≤ {number(high)}"
        return f"≥ {number(low)}" if math.isinf(high) else f"{number(low)} to {number(high)}"

    @property
    def tail(self) -> float:
        """The p-value where the simulation does not reach: of Pearson's type III law, fitted to the
        null distribution's mean, deviation and skewness."""
        null = self.test.null.double().numpy()
        law = stats.pearson3(stats.skew(null), null.mean(), null.std(ddof=1))
        large, small = float(law.sf(self.test.statistic)), float(law.cdf(self.test.statistic))
        sides = {"large": large, "small": small, "both": min(1.0, 2 * min(large, small))}
        return sides[self.test.calibration.properties.tail]


class Gaussianity(NamedTuple):
    """Tests of the same samples: as they are, and of their shape alone."""

    n: int
    """Samples tested."""
    axes: int
    """Principal axes, scaled to variance 1, in which the shape is tested."""
    tests: tuple[Tested, ...]


def gaussianity(
    x: Float[np.ndarray, "m d"],
    *,
    unit: float = 1.0,
    centre: bool = False,
    n_null: int = N_NULL,
    seed: int = 0,
    cache: Path | None = None,
) -> Gaussianity:
    """Test at most `MOST` of the samples.

    The shape is tested along the principal axes that the samples can bear, each scaled to variance
    1. For Gaussian samples of any covariance the scaled coordinates are columns of a uniformly
    distributed orthonormal matrix, as are those of whitened N(0, I): the null law is exact.

    Args:
        unit: standard deviation that the target has in every direction.
        centre: whether the target's mean is the samples' own.
    """
    x = x[np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST])].astype(np.float64)
    x = (x - x.mean(0) if centre else x) / unit
    n, d = x.shape
    z = torch.from_numpy(x).float()
    test = partial(gaussianity_test, n_null=n_null, seed=seed, slices=SLICES, cache=cache)
    direct = test(z, "epps_pulley", "simple")
    tests = [Tested("SIGReg, mean of directions" if d > 1 else "Epps-Pulley", "standard", direct)]
    if d > 1:
        worst = test(z, "epps_pulley", "simple", reduction="max")
        tests.append(Tested("SIGReg, worst direction", "standard", worst))
    left, lengths, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    axes = min(int((lengths > 1e-6 * max(lengths[0], 1e-30)).sum()), n // 5, MOST_AXES)
    if axes < 1:
        return Gaussianity(n, 0, tuple(tests))
    y = torch.from_numpy(left[:, :axes] * np.sqrt(n)).float()
    mean = test(y, "epps_pulley", "composite")
    if axes == 1:
        tests.append(Tested("Epps-Pulley", "shape", mean))
    else:
        worst = test(y, "epps_pulley", "composite", reduction="max")
        tests.append(Tested("Epps-Pulley, mean of directions", "shape", mean))
        tests.append(Tested("Epps-Pulley, worst direction", "shape", worst))
    for statistic in ("skewness", "kurtosis"):
        result = test(y, f"mardia_{statistic}", "composite")
        tests.append(Tested(f"Mardia's {statistic}", "shape", result))
    return Gaussianity(n, axes, tuple(tests))
