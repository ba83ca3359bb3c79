"""All univariate statistics by name, (..., n) -> (...), and the functions themselves."""

from collections.abc import Mapping
from functools import partial

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


_simple = partial(Statistic, null="simple", to_standard=standardise)
"""Against N(0, 1), which standardising the sample makes composite."""
_composite = partial(Statistic, null="composite", to_standard=None)
"""Estimates mean and variance itself."""
_mean_and_scale_only = partial(Statistic, null="simple", to_standard=None)
"""Against N(0, 1), and constant on standardised samples."""

UNIVARIATE: Mapping[str, Statistic] = {
    "epps_pulley": _simple(function=epps_pulley, bounded=True),
    "epps_pulley_hermite": _simple(function=epps_pulley_hermite, bounded=True),
    "epps_pulley_whole_line": _simple(function=epps_pulley_whole_line, pairs=True, bounded=True),
    "kolmogorov_smirnov": _simple(function=kolmogorov_smirnov, gradient="sparse", bounded=True),
    "cramer_von_mises": _simple(function=cramer_von_mises, gradient="ranks", bounded=True),
    "anderson_darling": _simple(function=anderson_darling, gradient="ranks", bounded=False),
    "watson": _simple(function=watson, gradient="ranks", bounded=True),
    "wasserstein": _simple(function=wasserstein, gradient="ranks", bounded=False),
    "quantile_distance": _simple(function=quantile_distance, gradient="ranks", bounded=False),
    "shapiro_wilk": _composite(
        function=shapiro_wilk, gradient="ranks", bounded=True, min_n=3, tail="small"
    ),
    "shapiro_francia": _composite(
        function=shapiro_francia, gradient="ranks", bounded=True, min_n=3, tail="small"
    ),
    "jarque_bera": _composite(function=jarque_bera, bounded=True, min_n=2),
    "extended_jarque_bera": _simple(function=extended_jarque_bera, bounded=False, min_n=2),
    "mean_and_variance": _mean_and_scale_only(function=mean_and_variance, bounded=False, min_n=2),
    "raw_moments": _simple(function=raw_moments, bounded=False),
    "hermite_moments": _simple(function=hermite_moments, bounded=False),
    "vasicek": _composite(function=vasicek, gradient="ranks", bounded=True, min_n=5, tail="small"),
    "vasicek_divergence": _simple(
        function=vasicek_divergence, gradient="ranks", bounded=False, min_n=5
    ),
    "negative_log_likelihood": _mean_and_scale_only(
        function=negative_log_likelihood, bounded=False, tail="both"
    ),
}
"""Every univariate statistic by name."""
