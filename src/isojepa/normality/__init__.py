"""Samples in, statistic out: pure functions of tensors, and their calibrated tests."""

from typing import TYPE_CHECKING

from isojepa.faces import lazily

if TYPE_CHECKING:
    from isojepa.normality.calibration import Calibration
    from isojepa.normality.gaussianity import GaussianityTest, gaussianity_test, rejection_rate
    from isojepa.normality.multivariate import MULTIVARIATE, random_directions
    from isojepa.normality.null import null_distribution
    from isojepa.normality.univariate import UNIVARIATE, epps_pulley, epps_pulley_floor

__all__ = [
    "MULTIVARIATE",
    "UNIVARIATE",
    "Calibration",
    "GaussianityTest",
    "epps_pulley",
    "epps_pulley_floor",
    "gaussianity_test",
    "null_distribution",
    "random_directions",
    "rejection_rate",
]

__getattr__ = lazily(
    __name__,
    {
        "MULTIVARIATE": "multivariate",
        "UNIVARIATE": "univariate",
        "Calibration": "calibration",
        "GaussianityTest": "gaussianity",
        "epps_pulley": "univariate",
        "epps_pulley_floor": "univariate",
        "gaussianity_test": "gaussianity",
        "null_distribution": "null",
        "random_directions": "multivariate",
        "rejection_rate": "gaussianity",
    },
)
