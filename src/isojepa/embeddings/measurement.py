"""Any embeddings -> their measurement, in two passes over the rows and a look at some of them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, Shaped

from isojepa.distributed import rank
from isojepa.embeddings.directions import DirectionSearch, worst_directions
from isojepa.embeddings.distances import Distances, distances
from isojepa.embeddings.gaussianity import N_NULL, Gaussianity, gaussianity
from isojepa.embeddings.memory import check_memory
from isojepa.embeddings.moments import Moments
from isojepa.embeddings.rows import RowSummary, summarise_rows
from isojepa.embeddings.samples import Samples, from_array
from isojepa.embeddings.spectrum import Spectrum, spectrum_of
from isojepa.errors import UserError
from isojepa.progress import bar

log = logging.getLogger(__name__)
LEAST_ROWS = 20
"""Fewer samples say nothing about a distribution."""
SLOW = 4000
"""Order of a matrix whose eigenvectors take more than a few seconds."""
ROUNDING = 1e-6
"""Relative to the samples' length; what varies less does not vary."""
ROUNDS = 3
"""Searches for outliers, each without those found before."""
HEAVY = 0.1
"""Excess of `Distances` from which the tails are heavy: Student's t of 24 degrees of freedom."""
UNIT_SPREAD = 0.05
"""Distance from the mean, over the length, below which equal lengths are not a choice."""
UNIT_LENGTH = 1e-3
"""Coefficient of variation of the rows' lengths below which they have been normalised."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured; `measure` makes it."""

    samples: Samples
    rows: RowSummary
    spectrum: Spectrum
    """Second moments, without the outliers."""
    any_scale: bool
    """Whether the target is N(m, s^2 I) for any s, in place of N(0, I)."""
    common_length: float | None = None
    """Length of the rows, if all have the same."""
    distances: Distances | None = None
    """Of the rows from the centre, without the outliers; None if nothing varies."""
    outliers: Mapping[int, float] = field(default_factory=dict)
    """Rows far beyond all others, the furthest first, and how many times the bound; only `tests`
    see them."""
    outlier_samples: Float[np.ndarray, "o d"] | None = None
    """The outliers themselves, in the same order."""
    signs: Spectrum | None = None
    """Second moments of the directions in which the samples lie from their median, which heavy
    tails do not disturb; None unless the tails are heavy."""
    tests: Gaussianity | None = None
    """Of the samples looked at, outliers and all; None if nothing varies."""
    search: DirectionSearch | None = None
    """The worst directions, without the outliers; None if nothing varies."""

    @property
    def unit(self) -> float:
        """Standard deviation that the target has in every direction."""
        return self.spectrum.deviation if self.any_scale else 1.0

    @property
    def relative_deviation(self) -> float:
        """Root mean square distance from the mean, over the root mean square length."""
        length = self.spectrum.length
        return float(np.sqrt(self.spectrum.eigenvalues.sum()) / length) if length > 0 else 0.0


def measure(
    z: Samples | Shaped[np.ndarray, " n *d"],
    *,
    any_scale: bool = False,
    drop_nonfinite: bool = False,
    max_samples: int = 8192,
    n_null: int = N_NULL,
    test: bool = True,
    seed: int = 0,
    cache: Path | None = None,
    shared: bool = False,
) -> Measurement:
    """Measure samples, however many there are; the memory used depends on d alone.

    Args:
        z: an array, one sample a row, or samples read block by block.
        any_scale: accept any common standard deviation, not only 1.
        drop_nonfinite: leave out rows with NaN or infinite numbers instead of refusing them.
        max_samples: rows drawn for the tests and the directions; moments and distances are of all.
        n_null: simulated Gaussian samples behind each p-value of the tests; of directions, ten
            times as many.
        test: whether to run the calibrated tests, most of the time; directions always are.
        seed: of the rows drawn, the directions and the simulations.
        cache: folder that keeps simulated null distributions from run to run.
        shared: whether all processes of a job call this with the same samples, to share the passes
            over the rows; the first alone has the tests and the directions then.

    Raises:
        UserError: for rows that are not finite unless dropped, fewer than 20 rows, or more numbers
            than the memory takes.
    """
    samples = _enough(z if isinstance(z, Samples) else from_array(z))
    check_memory(samples, max_samples)
    with bar(samples.n, "moments") as advance:
        rows = summarise_rows(
            samples,
            drop_nonfinite=drop_nonfinite,
            most=max_samples,
            seed=seed,
            shared=shared,
            progress=advance,
        )
    if rows.moments.n < LEAST_ROWS:
        raise UserError(f"{samples.name}: only {rows.moments.n} rows hold usable numbers")
    if min(rows.moments.n, samples.d) >= SLOW:
        log.info("%s: principal axes of %d columns; this takes minutes", samples.name, samples.d)
    effective_n = rows.moments.n / rows.duplicates.multiplicity
    spectrum = spectrum_of(rows.moments, effective_n=effective_n, seed=seed)
    found = Measurement(samples=samples, rows=rows, spectrum=spectrum, any_scale=any_scale)
    if found.relative_deviation < ROUNDING:
        return found
    length = common_length(rows.sample) if found.relative_deviation > UNIT_SPREAD else None
    found = replace(found, any_scale=any_scale or length is not None, common_length=length)
    found = set_outliers_aside(found, seed, shared=shared)
    if shared and rank() != 0:
        return found
    return _with_shape(found, n_null=n_null, test=test, seed=seed, cache=cache)


def _enough(samples: Samples) -> Samples:
    if samples.n < LEAST_ROWS:
        raise UserError(
            f"{samples.name}: {samples.n} rows say little about a distribution; "
            f"at least {LEAST_ROWS} are needed"
        )
    return samples


def _with_shape(
    found: Measurement, *, n_null: int, test: bool, seed: int, cache: Path | None
) -> Measurement:
    """With the tests, and the directions without the outliers."""
    rows, tests = found.rows, None
    inside = ~np.isin(rows.sample_rows, list(found.outliers))
    if found.distances is not None and found.distances.excess > HEAVY:
        found = replace(found, signs=sign_spectrum(rows.sample[inside], seed))
    with bar(2, "tests and directions") as advance:
        if test:
            tests = gaussianity(
                rows.sample,
                unit=found.unit,
                centre=found.any_scale,
                n_null=n_null,
                seed=seed,
                cache=cache,
            )
        advance(1)
        search = worst_directions(
            rows.sample[inside],
            rows.sample_rows[inside],
            unit=found.unit,
            columns=found.samples.column,
            n_null=10 * n_null + 9,  # of one dimension: they cost little
            seed=seed,
        )
        advance(1)
    return replace(found, tests=tests, search=search)


def set_outliers_aside(measurement: Measurement, seed: int, *, shared: bool = False) -> Measurement:
    """Measure distances, leave the outliers out, and again until there are none left."""
    samples, moments, kept = measurement.samples, measurement.rows.moments, measurement.rows.kept
    outliers: dict[int, float] = {}
    apart: list[np.ndarray] = []
    for _ in range(ROUNDS):
        with bar(samples.n, "distances") as advance:
            far = distances(samples, moments, measurement.spectrum, kept, advance, shared=shared)
        # Heavy tails and repeated rows make moments less certain than n says.
        effective_n = moments.n / (1 + max(far.excess, 0.0))
        effective_n /= measurement.rows.duplicates.multiplicity
        spectrum = spectrum_of(moments, effective_n=effective_n, seed=seed)
        measurement = replace(
            measurement, spectrum=spectrum, distances=far, outliers=dict(outliers)
        )
        if not far.are_outliers:
            break
        found = np.array([far.row(i) for i in far.outliers.tolist()])
        kept = np.ones(samples.n, dtype=bool) if kept is None else kept.copy()
        kept[found] = False
        taken = take_rows(samples, np.sort(found))
        apart.append(taken[np.argsort(np.argsort(found))])
        moments = moments.without(taken)
        outliers |= dict(zip(found.tolist(), far.by[far.outliers].tolist()))
        measurement = replace(measurement, spectrum=spectrum_of(moments, seed=seed))
    if not apart:
        return measurement
    return replace(measurement, outlier_samples=np.concatenate(apart))


def sign_spectrum(x: Float[np.ndarray, "m d"], seed: int) -> Spectrum:
    """Second moments of (x - median) / |x - median| sqrt(d): even if those of x are."""
    centred = x.astype(np.float64) - np.median(x, axis=0)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    signs = centred / np.maximum(lengths, 1e-300) * np.sqrt(x.shape[1])
    return spectrum_of(Moments.of(signs), seed=seed)


def common_length(x: Float[np.ndarray, "m d"]) -> float | None:
    """The length of the rows if they have been normalised to one, else None."""
    lengths = np.linalg.norm(x.astype(np.float64), axis=1)
    mean = float(lengths.mean())
    return mean if x.shape[1] > 1 and mean > 0 and lengths.std() < UNIT_LENGTH * mean else None


def take_rows(samples: Samples, rows: Int64[np.ndarray, " r"]) -> Float[np.ndarray, "r d"]:
    """Some rows, ascending, read by one more pass."""
    parts = []
    for start, block in samples.blocks():
        parts.append(block[rows[(rows >= start) & (rows < start + len(block))] - start])
    return np.concatenate(parts)
