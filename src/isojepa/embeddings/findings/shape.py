"""Beyond second moments: groups, outliers, tails, symmetry, and what calibrated tests say."""

import math
from collections.abc import Iterator

from isojepa.embeddings.clusters import LEAST_SHARE
from isojepa.embeddings.directions import GAPS, Direction
from isojepa.embeddings.findings.spread import FAR, LEVEL
from isojepa.embeddings.measurement import HEAVY, Measurement
from isojepa.theme.findings import Finding
from isojepa.theme.wording import chance, number, percent

CERTAIN = 0.05
"""Of the least p-value, by as many tests as are shown."""
LOPSIDED = 4.5
"""Standard errors of a direction's skewness, of the ten or twenty directions tested."""


def gaps(m: Measurement) -> Iterator[Finding]:
    """Whether the samples fall into groups."""
    found = [d for d in _directions(m) if _is_split(d)]
    if not found or (m.common_length is not None and m.spectrum.d < 5):  # a ring has no middle
        return
    d = min(found, key=lambda d: (not _has_gap(d), d.kurtosis))
    if d.gap is not None and _has_gap(d):
        detail = (
            f"{_along(d)} {percent(d.gap.share)} of them are on one side of a valley, in which the "
            f"density falls to {percent(d.gap.density)} of that at the lesser peak "
            f"(p {chance(d.gap.p_value)})."
        )
    else:
        detail = (
            f"{_along(d)} the excess kurtosis is {number(d.kurtosis)}, below the -1.2 of a "
            "uniform law: there is more on both sides than in the middle."
        )
    apart = d.gap is not None and d.gap.density < 0.1
    yield Finding(
        "problem" if apart else "warning",
        "The samples fall into groups",
        detail,
        "Look at which samples are on either side. Groups are what labels or too little SIGReg "
        "make; they suit a classifier of just these groups and no other reader. In training, "
        "raise --lambd.",
        "clustered",
    )


def outliers(m: Measurement) -> Iterator[Finding]:
    """Rows far beyond all others."""
    if not m.outliers:
        return
    rows = [f"{row:,}" for row in list(m.outliers)[:8]]
    more = f" and {len(m.outliers) - 8:,} more" if len(m.outliers) > 8 else ""
    many = len(m.outliers) > 1
    yield Finding(
        "warning",
        f"{len(m.outliers):,} row{'s lie' if many else ' lies'} far outside",
        f"Row{'s' if many else ''} {', '.join(rows)}{more}, the furthest first. "
        f"{'They stand' if many else 'It stands'} apart from all others; the verdict on the "
        "rest is without them.",
        "Look at what went in: broken files, blank or overexposed pictures, numbers out of range.",
        "outliers",
    )


def tails(m: Measurement) -> Iterator[Finding]:
    """Whether far samples are more, or fewer, than a Gaussian has."""
    far, directions = m.distances, _directions(m)
    if far is None:
        return
    k, n = far.axes, len(far.squared)
    excess = far.excess
    z = excess / math.sqrt(8 / (k * (k + 2) * n))
    grouped = any(map(_is_split, directions))
    level = LEVEL / 5 / max(len(directions), 1)  # its p-values are up to three times too small
    heavy = [
        d
        for d in directions
        if d.kurtosis - 1.5 * d.skewness**2 > 1 and d.kurtosis_p < level and not grouped
    ]
    light = [d for d in directions if d.kurtosis < -0.5 and d.kurtosis_p < level]
    measured = (
        f"The fourth moment of the distance from the centre is {number(1 + excess)} times that of "
        "a Gaussian."
    )
    if (excess > HEAVY and z > FAR) or heavy:
        worst = max(heavy, key=lambda d: d.kurtosis, default=None)
        yield Finding(
            "problem" if excess > 1 else "warning",
            "The tails are heavy",
            (f"{_along(worst)} the excess kurtosis is {number(worst.kurtosis)}. " if worst else "")
            + (measured if excess > HEAVY else "")
            + f" The furthest row is {far.row(int(far.by.argmax())):,}.",
            "A few samples then weigh as much as all others in means, covariances and probes. "
            "Look at the furthest rows; bound the last layer's input (normalise it), and give "
            "SIGReg more weight.",
            "heavy-tailed",
        )
    elif m.common_length is None and not grouped and ((excess < -HEAVY and z < -FAR) or light):
        worst = min(light, key=lambda d: d.kurtosis, default=None)
        yield Finding(
            "note",
            "The tails are light",
            (f"{_along(worst)} the excess kurtosis is {number(worst.kurtosis)}." if worst else "")
            + (measured if not worst else ""),
            "Something bounds the output: a saturating activation or a normalisation at the end. "
            "Take the embedding before it.",
            "light-tailed",
        )


def symmetry(m: Measurement) -> Iterator[Finding]:
    """Whether a direction is lopsided."""
    directions = _directions(m)
    if any(map(_is_split, directions)):
        return
    found = [d for d in directions if abs(d.skewness) > 0.5 and abs(d.lopsided_z) > LOPSIDED]
    if found:
        d = max(found, key=lambda d: abs(d.skewness))
        yield Finding(
            "warning",
            "The samples are lopsided",
            f"{_along(d)} the skewness is {number(d.skewness)}, where a Gaussian has 0.",
            "An activation such as ReLU at the end does this. Take the embedding before it, or end "
            "with a linear layer.",
            "skewed",
        )


def calibrated_tests(m: Measurement, named: bool) -> Iterator[Finding]:
    """What the calibrated tests say; `named`: the way in which the shape differs is known."""
    if m.tests is None:
        return
    shape = [t for t in m.tests.tests if t.asks == "shape"]
    if m.common_length is not None:  # which decides the kurtosis
        shape = [t for t in shape if t.test.calibration.statistic != "mardia_kurtosis"]
    worst = min(shape, key=lambda t: t.tail, default=None)
    if worst is None:
        return
    least = min(t.p_value for t in shape)
    what = (
        f"{m.tests.n:,} samples along {m.tests.axes} principal ax{'e' if m.tests.axes > 1 else 'i'}"
        f"s, each scaled to variance 1; {worst.title}: {number(worst.test.statistic)}, where "
        f"95 % of Gaussian samples have {worst.usual_words}"
    )
    if worst.tail < LEVEL / 10 and worst.p_value <= 0.01:
        yield Finding(
            "note",
            "The shape is not Gaussian",
            f"{what} (p {chance(worst.p_value)}).",
            "" if named else "See the worst directions for how it differs.",
            None if named else "not Gaussian",
        )
    elif not named:
        sure = least > 0.05 / len(shape)
        yield Finding(
            "good" if sure else "note",
            "The shape cannot be told from a Gaussian" if sure else "The shape is all but Gaussian",
            f"{what}; the least of {len(shape)} p-values is {least:.2g}.",
        )


def departure(m: Measurement) -> Iterator[Finding]:
    """A departure from the target that is beyond chance, though too small for any other finding."""
    if m.tests is None:
        return
    tests = m.tests.tests
    worst = min(tests, key=lambda t: (t.p_value, t.tail))
    if worst.p_value * len(tests) > CERTAIN:
        return
    of = "a Gaussian shape" if worst.asks == "shape" else "the target"
    yield Finding(
        "note",
        "A small departure from the target",
        f"{worst.title}, a test of {of}: {number(worst.test.statistic)} on {m.tests.n:,} samples, "
        f"where 95 % of Gaussian ones have {worst.usual_words} (p {chance(worst.p_value)}). The "
        f"mean is {number(m.spectrum.shift)} standard deviations from the origin, and the standard "
        f"deviation {number(m.spectrum.deviation)}: real, and too small to trouble most readers.",
        "",
        "nearly isotropic Gaussian",
    )


def _directions(m: Measurement) -> tuple[Direction, ...]:
    return () if m.search is None else m.search.directions


def _is_split(d: Direction) -> bool:
    return _has_gap(d) or d.kurtosis + 4 * d.kurtosis_error < -1.2


def _has_gap(d: Direction) -> bool:
    enough = d.gap is not None and d.gap.density < 0.7 and d.gap.share > LEAST_SHARE
    return enough and d.gap is not None and d.gap.p_value < LEVEL / GAPS


def _along(d: Direction) -> str:
    return f"Along one direction ({d.title[:1].lower()}{d.title[1:]}),"
