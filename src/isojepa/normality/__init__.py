"""Samples in, statistic out: pure functions of tensors, and their calibrated tests."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isojepa.normality.calibration import (
        Calibration,
        GaussianityTest,
        gaussianity_test,
        null_distribution,
        rejection_rate,
    )
    from isojepa.normality.multivariate import MULTIVARIATE, random_directions
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

_HOME = {
    "MULTIVARIATE": "multivariate",
    "UNIVARIATE": "univariate",
    "epps_pulley": "univariate",
    "epps_pulley_floor": "univariate",
    "random_directions": "multivariate",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that no statistic pays for the others."""
    if name not in __all__:
        raise AttributeError(f"module 'isojepa.normality' has no attribute {name!r}")
    return getattr(import_module(f"isojepa.normality.{_HOME.get(name, 'calibration')}"), name)
