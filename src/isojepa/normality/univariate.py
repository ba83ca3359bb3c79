"""All univariate statistics by name, (..., n) -> (...), and the functions themselves."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from isojepa.normality.characteristic_function import (
    Quadrature,
    epps_pulley,
    epps_pulley_at,
    epps_pulley_floor,
    epps_pulley_from_sums,
    epps_pulley_hermite,
    epps_pulley_whole_line,
    gauss_hermite,
    trapezoid,
)
from isojepa.normality.distribution_function import (
    anderson_darling,
    cramer_von_mises,
    kolmogorov_smirnov,
    quantile_distance,
    wasserstein,
    watson,
)
from isojepa.normality.entropy import (
    negative_log_likelihood,
    vasicek,
    vasicek_divergence,
    vasicek_entropy,
)
from isojepa.normality.moments import (
    extended_jarque_bera,
    hermite_moments,
    jarque_bera,
    mean_and_variance,
    raw_moments,
)
from isojepa.normality.order_statistics import shapiro_francia, shapiro_wilk
from isojepa.normality.samples import standardise
from isojepa.normality.statistic import Statistic

__all__ = [
    "UNIVARIATE",
    "Quadrature",
    "anderson_darling",
    "cramer_von_mises",
    "epps_pulley",
    "epps_pulley_at",
    "epps_pulley_floor",
    "epps_pulley_from_sums",
    "epps_pulley_hermite",
    "epps_pulley_whole_line",
    "extended_jarque_bera",
    "gauss_hermite",
    "hermite_moments",
    "jarque_bera",
    "kolmogorov_smirnov",
    "mean_and_variance",
    "negative_log_likelihood",
    "quantile_distance",
    "raw_moments",
    "shapiro_francia",
    "shapiro_wilk",
    "standardise",
    "trapezoid",
    "vasicek",
    "vasicek_divergence",
    "vasicek_entropy",
    "wasserstein",
    "watson",
]


def _simple(function: Callable[..., Tensor], **properties: Any) -> Statistic:
    """A statistic against N(0, 1), which standardising the sample makes composite."""
    return Statistic(function=function, null="simple", to_standard=standardise, **properties)


def _composite(function: Callable[..., Tensor], **properties: Any) -> Statistic:
    """A statistic that estimates mean and variance itself."""
    return Statistic(function=function, null="composite", to_standard=None, **properties)


def _mean_and_scale_only(function: Callable[..., Tensor], **properties: Any) -> Statistic:
    """A statistic against N(0, 1) that is constant on standardised samples."""
    return Statistic(function=function, null="simple", to_standard=None, **properties)


UNIVARIATE: Mapping[str, Statistic] = {
    "epps_pulley": _simple(epps_pulley, bounded=True),
    "epps_pulley_hermite": _simple(epps_pulley_hermite, bounded=True),
    "epps_pulley_whole_line": _simple(epps_pulley_whole_line, pairs=True, bounded=True),
    "kolmogorov_smirnov": _simple(kolmogorov_smirnov, gradient="sparse", bounded=True),
    "cramer_von_mises": _simple(cramer_von_mises, gradient="ranks", bounded=True),
    "anderson_darling": _simple(anderson_darling, gradient="ranks", bounded=False),
    "watson": _simple(watson, gradient="ranks", bounded=True),
    "wasserstein": _simple(wasserstein, gradient="ranks", bounded=False),
    "quantile_distance": _simple(quantile_distance, gradient="ranks", bounded=False),
    "shapiro_wilk": _composite(shapiro_wilk, gradient="ranks", bounded=True, min_n=3, tail="small"),
    "shapiro_francia": _composite(
        shapiro_francia, gradient="ranks", bounded=True, min_n=3, tail="small"
    ),
    "jarque_bera": _composite(jarque_bera, bounded=True, min_n=2),
    "extended_jarque_bera": _simple(extended_jarque_bera, bounded=False, min_n=2),
    "mean_and_variance": _mean_and_scale_only(mean_and_variance, bounded=False, min_n=2),
    "raw_moments": _simple(raw_moments, bounded=False),
    "hermite_moments": _simple(hermite_moments, bounded=False),
    "vasicek": _composite(vasicek, gradient="ranks", bounded=True, min_n=5, tail="small"),
    "vasicek_divergence": _simple(vasicek_divergence, gradient="ranks", bounded=False, min_n=5),
    "negative_log_likelihood": _mean_and_scale_only(
        negative_log_likelihood, bounded=False, tail="both"
    ),
}
"""Every univariate statistic by name."""
