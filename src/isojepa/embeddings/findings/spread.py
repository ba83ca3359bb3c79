"""Second moments: has it collapsed, at which scale, how many directions, how evenly, where."""

import math
from collections.abc import Iterator

from scipy import stats

from isojepa.embeddings.measurement import Measurement
from isojepa.theme.findings import Finding
from isojepa.theme.wording import number, percent

COLLAPSED_DEVIATION = 0.1
"""SIGReg asks for a standard deviation of 1. A network trained on digits without SIGReg fell to
0.02; with it, it reached 0.8 after 60 steps."""
COLLAPSED_RELATIVE = 0.03
"""The samples then lie within 3 % of their common mean."""
NARROW_RANK_SHARE = 0.1
FAR = 6.0
"""Standard errors."""
LEVEL = 1e-3
"""Of a p-value, after Bonferroni's correction."""


def collapse(m: Measurement) -> Iterator[Finding]:
    """Whether all samples are nearly the same."""
    deviation, relative = m.spectrum.deviation, m.relative_deviation
    tiny = deviation < COLLAPSED_DEVIATION and not m.any_scale
    if not tiny and relative >= COLLAPSED_RELATIVE:
        return
    detail = f"The coordinates have a standard deviation of {number(deviation)}"
    detail += "" if m.any_scale else ", where SIGReg asks for 1"
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


def common_scale(m: Measurement) -> Iterator[Finding]:
    """Whether the common standard deviation is the 1 that SIGReg asks for."""
    deviation, values = m.spectrum.deviation, m.spectrum.eigenvalues
    error = math.sqrt((values**2).sum() / (2 * (m.spectrum.n - 1))) / max(values.sum(), 1e-300)
    off = math.log(max(deviation, 1e-300))
    if m.common_length is not None:
        yield Finding(
            "note",
            f"All rows have the length {number(m.common_length)}",
            "They have been normalised, so their scale says nothing and only their shape is "
            "judged.",
        )
    elif not m.any_scale and abs(off) > max(0.1, FAR * error):
        yield Finding(
            "note" if 0.4 < deviation < 2.5 else "warning",
            f"The scale is {'small' if off < 0 else 'large'}",
            f"The coordinates have a standard deviation of {number(deviation)}, where SIGReg asks "
            "for 1.",
            f"Divide by {number(deviation)}, or judge the shape alone: --any-scale. In training, "
            "give SIGReg more weight or more steps.",
            "off scale",
        )


def directions_in_use(m: Measurement) -> Iterator[Finding]:
    """How many directions are in use."""
    s = m.spectrum
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
    constant = m.rows.constant
    if len(constant) and s.deviation > 0:
        names = [m.samples.column(int(i)) for i in constant[:5]]
        more = f" and {len(constant) - 5} more" if len(constant) > 5 else ""
        yield Finding(
            "note",
            f"{len(constant)} column{'s never change' if len(constant) > 1 else ' never changes'}",
            f"{', '.join(names)}{more}: the same in every row.",
            "Leave them out; in a network, these are dead units.",
        )


def isotropy(m: Measurement) -> Iterator[Finding]:
    """Whether all directions have the same variance, and what a linear probe pays if not."""
    s = m.spectrum
    if s.d == 1 or s.dead or s.rank_share < NARROW_RANK_SHARE:
        return
    # Of heavy-tailed samples, a few fill the covariance; their directions are as good as others'.
    judged = m.signs or s
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
        condition(m) + " " + probe_cost(m),
        "In training, give SIGReg more weight or more steps. For readers of these embeddings, "
        "whiten along the principal axes before ridge regression, k-NN or cosine similarity.",
        "anisotropic",
    )


def condition(m: Measurement) -> str:
    """The condition number in words."""
    s = m.spectrum
    if s.n <= s.d:
        return (
            f"{s.n:,} samples cannot span {s.d} dimensions, so there is no condition number; the "
            f"eigenvalues vary by {number(math.sqrt(s.unevenness))} times their mean."
        )
    return (
        f"The condition number is {number(s.condition_number)}, where as many isotropic Gaussian "
        f"samples show {number(s.isotropic_condition)}."
    )


def probe_cost(m: Measurement) -> str:
    """What anisotropy costs a linear probe, by Lemmas 1 and 2 of the LeJEPA paper."""
    s = m.spectrum
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


def shift(m: Measurement) -> Iterator[Finding]:
    """Whether the mean is away from the origin."""
    s = m.spectrum
    total = s.eigenvalues.sum()
    freedom = total**2 / max((s.eigenvalues**2).sum(), 1e-300)
    effective_n = s.n / m.rows.duplicates.multiplicity
    statistic = effective_n * float(s.mean @ s.mean) / total * freedom
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
