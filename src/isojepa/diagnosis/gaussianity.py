"""How often Gaussian samples score as high: the package's tests, with simulated p-values."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from isojepa.normality.calibration import GaussianityTest, gaussianity_test
from isojepa.normality.statistic import Null

N_NULL = 199
"""Null samples: no p-value is below 0.005."""
SLICES = 128
MOST = 1000
MOST_AXES = 64
"""Principal axes that the tests of shape look at."""


class Tested(NamedTuple):
    """A test of the samples and what it asks."""

    title: str
    asks: str
    test: GaussianityTest

    @property
    def p_value(self) -> float:
        return self.test.p_value

    @property
    def bound(self) -> float:
        """What Gaussian samples stay below 95 % of the time."""
        return float(self.test.quantiles[4])

    @property
    def z(self) -> float:
        """The statistic in standard deviations of its null distribution."""
        null = self.test.null.double()
        return float((self.test.statistic - null.mean()) / null.std())


class Gaussianity(NamedTuple):
    """Tests of the same samples: as they are, and of their shape alone."""

    n: int
    """Samples tested."""
    axes: int
    """Principal axes, scaled to variance 1, in which the shape is tested."""
    tests: tuple[Tested, ...]

    def p_value(self, null: Null) -> float:
        """Bonferroni's p-value over the tests of one null hypothesis; at most 1."""
        p = [tested.p_value for tested in self.tests if tested.test.calibration.null == null]
        return min(1.0, len(p) * min(p)) if p else 1.0

    def find(self, statistic: str) -> Tested | None:
        """The first test by a statistic."""
        found = (t for t in self.tests if t.test.calibration.statistic == statistic)
        return next(found, None)


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
    distributed orthonormal matrix, as are those of whitened N(0, I): the null distribution is exact.

    Args:
        unit: standard deviation that the target has in every direction.
        centre: whether the target's mean is the samples' own.
    """
    x = x[np.sort(np.random.default_rng(seed).permutation(len(x))[:MOST])].astype(np.float64)
    x = (x - x.mean(0) if centre else x) / unit
    n, d = x.shape
    z = torch.from_numpy(x).float()
    common = {"n_null": n_null, "seed": seed, "slices": SLICES, "cache": cache}
    tests = [
        Tested(
            "SIGReg, mean of 128 directions" if d > 1 else "Epps-Pulley",
            "N(0, I)",
            gaussianity_test(z, "epps_pulley", "simple", **common),
        ),
    ]
    if d > 1:
        tests += [
            Tested(
                "SIGReg, worst of 128 directions",
                "N(0, I)",
                gaussianity_test(z, "epps_pulley", "simple", reduction="max", **common),
            ),
        ]
    left, lengths, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    axes = min(int((lengths > 1e-6 * max(lengths[0], 1e-30)).sum()), n // 5, MOST_AXES)
    if axes < 1:
        return Gaussianity(n, 0, tuple(tests))
    y = torch.from_numpy(left[:, :axes] * np.sqrt(n)).float()
    for title, statistic, reduction in (
        ("Epps-Pulley, mean of 128 directions", "epps_pulley", "mean"),
        ("Epps-Pulley, worst of 128 directions", "epps_pulley", "max"),
        ("Mardia's skewness", "mardia_skewness", "mean"),
        ("Mardia's kurtosis", "mardia_kurtosis", "mean"),
    ):
        if axes == 1 and "worst" in title:
            continue
        result = gaussianity_test(y, statistic, "composite", reduction=reduction, **common)
        tests.append(Tested(title if axes > 1 else title.split(",")[0], "shape", result))
    return Gaussianity(n, axes, tuple(tests))
