"""What a verdict rests on: a run, the geometry of its projections, the trend of its curves."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import stats

from isojepa.embeddings.measurement import LEAST_ROWS, Measurement, measure
from isojepa.embeddings.moments import Moments
from isojepa.embeddings.monitor import Alarm, read_alarms
from isojepa.embeddings.samples import from_array
from isojepa.embeddings.slices import SliceTest, sigreg_at_a_point, slice_test
from isojepa.embeddings.spectrum import Spectrum, spectrum_of
from isojepa.encoders.modalities.modality import Words
from isojepa.encoders.modalities.registry import FIRST, is_known, modality
from isojepa.objective.regularisers import TESTS, TITLES, floor_of
from isojepa.pages.encoder.recorded import TrainingImages, TrainingSettings
from isojepa.pages.encoder.shortcuts import Shortcut, shortcut
from isojepa.pages.run import Run
from isojepa.theme import wording
from isojepa.theme.curves import Curve

# SIGReg asks for a spread of 1. A small convolutional network on the scikit-learn digits, projected
# to 64 dimensions, reached 0.8 in 60 steps and 0.92 in 300 with lambda 0.05; without SIGReg it fell
# to 0.02 and 0.007.
COLLAPSED_DEVIATION, SHRUNKEN_DEVIATION = 0.1, 0.4
# How far SIGReg is from its floor, as a share of the way to a point. That network ended at 0.04. An
# isotropic Gaussian of spread 0.4 has 0.54, so a share below 0.25 rules such a spread out.
GAUSSIAN_SHARE, ROUGH_SHARE = 0.05, 0.25


@dataclass(frozen=True)
class Evidence:
    """A run and what its projections measure; `gather` makes it."""

    run: Run
    projections: Spectrum | None = None
    """Of the projector's output, where SIGReg acts; None without a usable sample."""
    slices: SliceTest | None = None
    """Normality test of the same."""
    measurement: Measurement | None = None
    """What `isojepa diagnose` measures of the same; None of fewer than 20 samples."""
    finite: bool = True
    """Whether every embedding and projection of the sample is finite."""
    shortcut: Shortcut | None = None
    """How much of the projections simple statistics of the pictures predict."""

    @cached_property
    def settings(self) -> TrainingSettings:
        """How it was trained."""
        return TrainingSettings.of(self.run.settings, self.run.path)

    @cached_property
    def images(self) -> TrainingImages:
        """On what it was trained."""
        return TrainingImages.of(self.run.record.data, self.run.path)

    @cached_property
    def alarms(self) -> tuple[Alarm, ...]:
        """What the monitor said while it trained."""
        return read_alarms(self.run.path)

    @property
    def words(self) -> Words:
        """What its samples are called; images are pictures here."""
        name = self.run.settings.get("modality", FIRST)
        if name == FIRST or not is_known(name):
            return Words("picture", "pictures", "img", "pixels")
        words: Words = modality(str(name)).read.WORDS
        return words

    @property
    def lambd(self) -> float | None:
        """The weight; where it was found while training, that of the last updates."""
        return self.last("lambd") if self.settings.lambd == "auto" else self.settings.lambd

    @property
    def batch_size(self) -> int | None:
        return self.settings.batch_size

    @property
    def knots(self) -> tuple[int, float]:
        """Number of knots and the largest."""
        return self.settings.knots, self.settings.t_max

    @property
    def regulariser(self) -> str:
        """What kept the embeddings apart, in words."""
        return TITLES.get(self.settings.regulariser, self.settings.regulariser)

    @property
    def floor(self) -> float:
        """The regulariser of a perfect Gaussian; NaN if that is no one number."""
        return floor_of(self.settings.regulariser, *self.knots)

    @property
    def point(self) -> float | None:
        """SIGReg of a batch that has collapsed to a point; None if the batch size is unknown, or
        something else kept the embeddings apart."""
        if not self.batch_size or self.settings.regulariser not in TESTS:
            return None
        return sigreg_at_a_point(self.batch_size, *self.knots)

    @property
    def sigreg_share(self) -> float | None:
        """Where SIGReg ended between its floor (0) and a point (1)."""
        sigreg = self.last("sigreg")
        if sigreg is None or self.point is None or self.point <= self.floor:
            return None
        return (sigreg - self.floor) / (self.point - self.floor)

    @property
    def lags(self) -> bool:
        """Whether the sample is narrow although SIGReg shows that training batches were not.

        The sample is taken in evaluation mode, whose batch-norm averages trail the weights: after
        30 steps that network had a spread of 0.28, and of 0.95 once they were taken anew.
        """
        if self.projections is None or self.sigreg_share is None:
            return False
        return self.projections.deviation < SHRUNKEN_DEVIATION and self.sigreg_share < ROUGH_SHARE

    @property
    def same_pictures(self) -> bool:
        """Whether all pictures of the sample are one: alike, and with the same embedding."""
        sample = self.run.sample
        if sample is None or len(sample.thumbnails) < 2:
            return False
        pictures, z = sample.thumbnails, sample.embeddings
        same = (pictures == pictures[:1]).all() and np.isfinite(z).all()
        return bool(same and np.ptp(z, axis=0).max() <= 1e-3 * np.abs(z).max())

    def last(self, key: str) -> float | None:
        """Median of the last tenth of a curve; None if it was never logged."""
        values = self.run.curve(key)[1]
        return float(np.median(values[-math.ceil(len(values) / 10) :])) if len(values) else None


def gather(run: Run, *, test: bool = True) -> Evidence:
    """Measure the projections of a run; with `test`, their shape too, in about three seconds."""
    if run.sample is None or len(run.sample.projections) < 2:
        return Evidence(run)
    z = run.sample.projections
    if not (np.isfinite(z).all() and np.isfinite(run.sample.embeddings).all()):
        return Evidence(run, finite=False)
    knots, t_max = Evidence(run).knots
    spectrum = spectrum_of(Moments.of(z))
    is_images = run.settings.get("modality", FIRST) == FIRST
    found_shortcut = shortcut(run.sample.thumbnails, z) if is_images else None
    if not test:
        return Evidence(run, spectrum, shortcut=found_shortcut)
    tested = slice_test(z, knots=knots, t_max=t_max)
    if len(z) < LEAST_ROWS:
        return Evidence(run, spectrum, tested, shortcut=found_shortcut)
    found = measure(from_array(z, "sample.npz, projections"), n_null=99, test=False)
    return Evidence(run, spectrum, tested, measurement=found, shortcut=found_shortcut)


# What the curves say


class Trend(NamedTuple):
    """Straight line through the end of a curve."""

    steps: int
    """Length of the stretch."""
    change: float
    """Fitted change over it."""
    error: float
    """Standard error of the change."""
    end: float
    """Fitted value at the end."""


def trend(curve: Curve, at_least: int = 8) -> Trend | None:
    """Fit the last quarter of training, or the last `at_least` points if those reach further back.

    None if the curve has fewer points, or numbers that are not finite.
    """
    steps, values = curve
    if len(steps) < at_least:
        return None
    since = steps[-1] - (steps[-1] - steps[0]) / 4
    start = min(int(np.searchsorted(steps, since)), len(steps) - at_least)
    steps, values = steps[start:], values[start:]
    span = steps[-1] - steps[0]
    if span <= 0 or not np.isfinite(values).all():
        return None
    fit = stats.linregress(steps, values)
    return Trend(
        steps=round(span),
        change=float(fit.slope * span),
        error=float(fit.stderr * span),
        end=float(fit.intercept + fit.slope * steps[-1]),
    )


def improvements(evidence: Evidence) -> list[str]:
    """What was still getting better by more than its noise when training ended."""
    found = []
    made, steps = evidence.run.curve("loss")[0], evidence.settings.steps
    if len(made) and steps is not None and made[-1] < steps:
        found.append(f"{made[-1]:,.0f} of {steps:,} updates had been made")
    if evidence.lags:
        found.append("the averages of batch normalisation had not caught up with the weights")
    loss = trend(evidence.run.curve("loss"))
    if loss is not None:
        # Only the part above what a perfect Gaussian would still pay can fall.
        least = (evidence.lambd or 0.0) * evidence.floor
        excess = loss.end - (least if math.isfinite(least) else 0.0)
        if excess > 0 and -loss.change > max(3 * loss.error, 0.05 * excess):
            fall = f"by {wording.number(-loss.change)} to {wording.number(loss.end)}"
            found.append(f"the loss was falling ({fall} over the last {loss.steps:,} steps)")
    for key, name in (("probe_accuracy", "linear probe"), ("knn_accuracy", "k-NN")):
        accuracy = trend(evidence.run.curve(key), at_least=4)
        if accuracy is not None and accuracy.change > max(0.01, 2 * accuracy.error):
            rise = f"by {100 * accuracy.change:.1f} points over the last {accuracy.steps:,} steps"
            found.append(f"the {name} was rising ({rise})")
    return found


class Fall(NamedTuple):
    """A curve that ended below its best by more than its noise."""

    key: str
    name: str
    best: float
    step: int
    """Of the best value."""
    end: float


WATCHED = {
    "probe_accuracy": "linear probe",
    "knn_accuracy": "k-NN",
    "effective_rank": "effective rank",
}


def falls(evidence: Evidence) -> list[Fall]:
    """What was better earlier in the run than at its end.

    Accuracies count from a fall of 2 points, the effective rank from a fall by a third and only
    after the first quarter of training, before which it depends on the initial weights. Where the
    curve has points enough, both its height and its end are means of three, and the fall has to be
    above the noise from point to point.
    """
    found = []
    for key, name in WATCHED.items():
        steps, values = evidence.run.curve(key)
        if key == "effective_rank" and len(steps):
            late = steps >= steps[-1] / 4
            steps, values = steps[late], values[late]
        if len(values) < 4 or not np.isfinite(values).all():
            continue
        smooth, noise = values, 0.0
        if len(values) >= 8:
            smooth = np.convolve(values, np.full(3, 1 / 3), "valid")
            change = np.diff(values)
            spread = np.median(np.abs(change - np.median(change)))
            noise = 1.4826 * float(spread) / math.sqrt(2)
        least = 0.02 if key != "effective_rank" else float(smooth.max()) / 3
        if smooth.max() - smooth[-1] > max(least, 2.5 * noise):
            at = int(np.flatnonzero(values == values.max())[-1])
            end = float(values[-1])
            found.append(Fall(key, name, float(values[at]), int(steps[at]), end))
    return found
