"""Measurement -> findings in plain words, each with its level, its state and what to change."""

import math
from collections.abc import Iterator

from scipy import stats

from isojepa.embeddings.clusters import LEAST_SHARE
from isojepa.embeddings.directions import GAPS, Direction
from isojepa.embeddings.measurement import HEAVY, Measurement
from isojepa.theme.findings import Finding
from isojepa.theme.wording import (
    chance,
    listed,
    number,
    percent,
)

COLLAPSED_DEVIATION = 0.1
"""SIGReg asks for a standard deviation of 1. A network trained on digits without SIGReg fell to
0.02; with it, it reached 0.8 after 60 steps."""
COLLAPSED_RELATIVE = 0.03
"""The samples then lie within 3 % of their common mean."""
NARROW_RANK_SHARE = 0.1
LEVEL = 1e-3
"""Of a p-value, after Bonferroni's correction."""
TRANSPOSED = 10
"""Columns for each row from which rows and columns may be mixed up."""
FAR = 6.0
"""Standard errors."""
CERTAIN = 0.05
"""Of the least p-value, by as many tests as are shown."""
LOPSIDED = 4.5
"""Standard errors of a direction's skewness, of the ten or twenty directions tested."""


# Scale and rank


def collapse(e: Measurement) -> Iterator[Finding]:
    """Whether all samples are nearly the same."""
    deviation, relative = e.shape.deviation, e.relative_deviation
    tiny = deviation < COLLAPSED_DEVIATION and not e.any_scale
    if not tiny and relative >= COLLAPSED_RELATIVE:
        return
    detail = f"The coordinates have a standard deviation of {number(deviation)}"
    detail += "" if e.any_scale else ", where SIGReg asks for 1"
    detail += f"; their distance from the mean is {percent(relative)} of their length."
    if deviation == 0:
        detail = "Every sample is the same."
    remedy = (
        "Whatever went in, nearly the same came out. In training, switch SIGReg on "
        "(--lambd 0.05); if it was on, lower the learning rate and use batches of at least 128."
    )
    if tiny and relative >= COLLAPSED_RELATIVE:
        remedy += (
            " If nothing ever asked these embeddings for a standard deviation of 1, judge their "
            "shape alone: --any-scale."
        )
    yield Finding("problem", "The samples have collapsed", detail, remedy, "collapsed")


def scale(e: Measurement) -> Iterator[Finding]:
    """Whether the common standard deviation is the 1 that SIGReg asks for."""
    deviation, values = e.shape.deviation, e.shape.eigenvalues
    error = math.sqrt((values**2).sum() / (2 * (e.shape.n - 1))) / max(values.sum(), 1e-300)
    off = math.log(max(deviation, 1e-300))
    if e.common_length is not None:
        yield Finding(
            "note",
            f"All rows have the length {number(e.common_length)}",
            "They have been normalised, so their scale says nothing and only their shape is "
            "judged.",
        )
    elif not e.any_scale and abs(off) > max(0.1, FAR * error):
        yield Finding(
            "note" if 0.4 < deviation < 2.5 else "warning",
            f"The scale is {'small' if off < 0 else 'large'}",
            f"The coordinates have a standard deviation of {number(deviation)}, where SIGReg asks "
            "for 1.",
            f"Divide by {number(deviation)}, or judge the shape alone: --any-scale. In training, "
            "give SIGReg more weight or more steps.",
            "off scale",
        )


def rank(e: Measurement) -> Iterator[Finding]:
    """How many directions are in use."""
    s = e.shape
    if s.d == 1:
        return
    measured = (
        f"The effective rank is {s.effective_rank:.1f} of {s.d}, where {s.n:,} samples of an "
        f"isotropic Gaussian show {s.isotropic_rank:.1f}; RankMe is {s.rankme:.1f}."
    )
    remedy = (
        "In training, give SIGReg more weight (--lambd 0.05), train longer, or make the output no "
        f"wider than the data can fill: about {math.ceil(s.effective_rank)}. Keep the "
        f"{s.d - s.dead} principal axes that vary before fitting a regularised reader."
    )
    if s.dead or s.rank_share < NARROW_RANK_SHARE:
        dead = (
            f"{s.dead} of {s.d} directions have less than a ten-thousandth of the mean variance. "
            if s.dead
            else ""
        )
        yield Finding(
            "problem" if s.rank_share < 0.5 else "warning",
            "Part of the space is empty",
            dead + measured,
            remedy,
            "dimensionally collapsed",
        )
    elif s.rank_share > 0.8:
        yield Finding("good", "All directions are in use", measured)
    else:
        yield Finding("note", "Some directions are hardly used", measured)
    constant = e.scan.constant
    if len(constant) and s.deviation > 0:
        names = [e.samples.column(int(i)) for i in constant[:5]]
        more = f" and {len(constant) - 5} more" if len(constant) > 5 else ""
        yield Finding(
            "note",
            f"{len(constant)} column{'s never change' if len(constant) > 1 else ' never changes'}",
            f"{', '.join(names)}{more}: the same in every row.",
            "Leave them out; in a network, these are dead units.",
        )


def isotropy(e: Measurement) -> Iterator[Finding]:
    """Whether all directions have the same variance, and what a linear probe pays if not."""
    s = e.shape
    if s.d == 1 or s.dead or s.rank_share < NARROW_RANK_SHARE:
        return
    # Of heavy-tailed samples, a few fill the covariance; their directions are as good as others'.
    judged = e.signs or s
    uneven = judged.unevenness > 0.05 and judged.unevenness_z > FAR
    costly = judged.probe_variance > 1.1 + 5 * judged.probe_variance_error
    if not (uneven or costly):
        if not math.isnan(s.probe_variance):
            yield Finding(
                "good",
                "All directions have the same variance",
                f"The condition number is {number(s.condition_number)}, where as many Gaussian "
                f"samples show {number(s.isotropic_condition)}.",
            )
        return
    grave = s.probe_variance > 10 or (s.n > s.d and s.condition_number > 1000)
    yield Finding(
        "problem" if grave else "warning",
        "Some directions are stretched, others squashed",
        condition(e) + " " + probe_cost(e),
        "In training, give SIGReg more weight or more steps. For readers of these embeddings, "
        "whiten along the principal axes before ridge regression, k-NN or cosine similarity.",
        "anisotropic",
    )


def condition(e: Measurement) -> str:
    """The condition number in words."""
    s = e.shape
    if s.n <= s.d:
        return (
            f"{s.n:,} samples cannot span {s.d} dimensions, so there is no condition number; the "
            f"eigenvalues vary by {number(math.sqrt(s.unevenness))} times their mean."
        )
    return (
        f"The condition number is {number(s.condition_number)}, where as many isotropic Gaussian "
        f"samples show {number(s.isotropic_condition)}."
    )


def probe_cost(e: Measurement) -> str:
    """What anisotropy costs a linear probe, by Lemmas 1 and 2 of the LeJEPA paper."""
    s = e.shape
    moderate = s.probe_bias[1]
    if math.isnan(moderate.narrowest):
        return "Too few samples tell what a linear probe pays for it."
    bias = (
        f"bias: a ridge of a tenth of the mean variance shrinks a weight along the narrowest "
        f"direction by {percent(moderate.narrowest)} instead of {percent(moderate.isotropic)}"
    )
    if math.isnan(s.probe_variance) or math.isinf(s.probe_variance):
        return f"What a linear probe pays in {bias} (Lemma 1)."
    return (
        f"What a linear probe pays at equal total variance: in variance, its weights scatter "
        f"{number(s.probe_variance)} times as much as on an isotropic embedding (Lemma 2); in "
        f"{bias} (Lemma 1)."
    )


def shift(e: Measurement) -> Iterator[Finding]:
    """Whether the mean is away from the origin."""
    s = e.shape
    total = s.eigenvalues.sum()
    freedom = total**2 / max((s.eigenvalues**2).sum(), 1e-300)
    worth = s.n / e.scan.duplicates.crowding
    statistic = worth * float(s.mean @ s.mean) / total * freedom
    p = float(stats.chi2.sf(statistic, freedom))
    if s.shift < 0.25 or p > LEVEL:
        return
    share = float(s.mean @ s.mean) / s.length**2
    yield Finding(
        "warning" if s.shift > 1 else "note",
        "The mean is not at the origin",
        f"It is {number(s.shift)} standard deviations away and makes up {percent(share)} of the "
        "samples' squared length.",
        "Subtract the mean before cosine similarity or k-NN"
        + (": as they are, all samples point the same way." if share > 0.5 else "."),
        "shifted",
    )


# Shape


def gaps(e: Measurement) -> Iterator[Finding]:
    """Whether the samples fall into groups."""
    found = [d for d in _directions(e) if _is_split(d)]
    if not found or (e.common_length is not None and e.shape.d < 5):  # a ring has no middle
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


def outliers(e: Measurement) -> Iterator[Finding]:
    """Rows far beyond all others."""
    if not e.outliers:
        return
    rows = [f"{row:,}" for row in list(e.outliers)[:8]]
    more = f" and {len(e.outliers) - 8:,} more" if len(e.outliers) > 8 else ""
    many = len(e.outliers) > 1
    yield Finding(
        "warning",
        f"{len(e.outliers):,} row{'s lie' if many else ' lies'} far outside",
        f"Row{'s' if many else ''} {', '.join(rows)}{more}, the furthest first. "
        f"{'They stand' if many else 'It stands'} apart from all others; the verdict on the "
        "rest is without them.",
        "Look at what went in: broken files, blank or overexposed pictures, numbers out of range.",
        "outliers",
    )


def tails(e: Measurement) -> Iterator[Finding]:
    """Whether far samples are more, or fewer, than a Gaussian has."""
    far, directions = e.distances, _directions(e)
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
    elif e.common_length is None and not grouped and ((excess < -HEAVY and z < -FAR) or light):
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


def symmetry(e: Measurement) -> Iterator[Finding]:
    """Whether a direction is lopsided."""
    directions = _directions(e)
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


def tests(e: Measurement, named: bool) -> Iterator[Finding]:
    """What the calibrated tests say; `named`: the way in which the shape differs is known."""
    if e.tests is None:
        return
    shape = [t for t in e.tests.tests if t.asks == "shape"]
    if e.common_length is not None:  # which decides the kurtosis
        shape = [t for t in shape if t.test.calibration.statistic != "mardia_kurtosis"]
    worst = min(shape, key=lambda t: t.tail, default=None)
    if worst is None:
        return
    least = min(t.p_value for t in shape)
    what = (
        f"{e.tests.n:,} samples along {e.tests.axes} principal ax{'e' if e.tests.axes > 1 else 'i'}"
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


def departure(e: Measurement) -> Iterator[Finding]:
    """A departure from the target that is beyond chance, though too small for any other finding."""
    if e.tests is None:
        return
    tests = e.tests.tests
    worst = min(tests, key=lambda t: (t.p_value, t.tail))
    if worst.p_value * len(tests) > CERTAIN:
        return
    of = "a Gaussian shape" if worst.asks == "shape" else "the target"
    yield Finding(
        "note",
        "A small departure from the target",
        f"{worst.title}, a test of {of}: {number(worst.test.statistic)} on {e.tests.n:,} samples, "
        f"where 95 % of Gaussian ones have {worst.usual_words} (p {chance(worst.p_value)}). The "
        f"mean is {number(e.shape.shift)} standard deviations from the origin, and the standard "
        f"deviation {number(e.shape.deviation)}: real, and too small to trouble most readers.",
        "",
        "nearly isotropic Gaussian",
    )


# The table itself


def duplicates(e: Measurement) -> Iterator[Finding]:
    """Rows equal to an earlier row."""
    count, n = e.scan.duplicates.repeats, e.samples.n
    if not count:
        return
    groups = [
        " = ".join(f"{row:,}" for row in group[:4]) + (" = ..." if len(group) > 4 else "")
        for group in e.scan.duplicates.groups[:3]
    ]
    share = count / n
    yield Finding(
        "warning" if share > 0.01 else "note",
        f"{count:,} row{'s repeat' if count > 1 else ' repeats'} an earlier one",
        f"{percent(share)} of all rows, such as {listed(groups)}.",
        "Remove them before splitting into training and test sets: a reader would be tested on "
        "what it has seen. They also make every p-value here too small.",
        "duplicated rows" if share > 0.01 else None,
    )


def table(e: Measurement) -> Iterator[Finding]:
    """What was read and what was left out."""
    for note in e.samples.notes:
        title, _, detail = note.partition(": ")
        yield Finding("note", title, detail)
    dropped = e.scan.nonfinite
    if dropped:
        yield Finding(
            "warning" if dropped > 0.01 * e.samples.n else "note",
            f"{dropped:,} row{'s are' if dropped > 1 else ' is'} not finite",
            f"NaN or infinite numbers, the first in row {e.scan.first_nonfinite:,}; left out of "
            "everything else.",
            "Find out where they come from: a division by zero, or an overflow in half precision.",
        )
    yield from _implausible(e)
    if e.shape.n > e.shape.d:
        return
    detail = (
        f"{e.shape.n:,} samples span at most {e.shape.n - 1} of {e.shape.d:,} dimensions: "
        "whatever concerns the narrowest directions cannot be measured."
    )
    if e.shape.n * TRANSPOSED <= e.shape.d:
        yield Finding(
            "warning",
            f"{e.shape.n:,} rows of {e.shape.d:,} columns: transposed?",
            f"A sample is a row here. {detail}",
            "If the columns are the samples, save x.T; if not, embed more data.",
        )
    else:
        yield Finding("note", "Fewer samples than dimensions", detail, "Embed more data.")


def _implausible(e: Measurement) -> Iterator[Finding]:
    """Rows with no-data values or overflow, which took no part in anything."""
    rows = e.scan.implausible
    if not rows:
        return
    listed_rows = [
        f"{row.value:.3g} in row {row.number:,}, {e.samples.column(row.column)}" for row in rows[:5]
    ]
    more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
    yield Finding(
        "warning",
        f"{len(rows):,} row{'s hold' if len(rows) > 1 else ' holds'} no-data values or an overflow",
        f"{'; '.join(listed_rows)}{more}: more than a million times as far from the median as is "
        "usual. Left out of everything else.",
        "Look at what went in: values that stand for missing ones, an overflow, a damaged file.",
        "outliers",
    )


def _directions(e: Measurement) -> tuple[Direction, ...]:
    return () if e.search is None else e.search.directions


def _is_split(d: Direction) -> bool:
    return _has_gap(d) or d.kurtosis + 4 * d.kurtosis_error < -1.2


def _has_gap(d: Direction) -> bool:
    enough = d.gap is not None and d.gap.density < 0.7 and d.gap.share > LEAST_SHARE
    return enough and d.gap is not None and d.gap.p_value < LEVEL / GAPS


def _along(d: Direction) -> str:
    return f"Along one direction ({d.title[:1].lower()}{d.title[1:]}),"
