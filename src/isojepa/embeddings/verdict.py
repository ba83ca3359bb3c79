"""Findings -> one verdict: what the samples are, why, and what to change."""

from collections.abc import Iterator

from isojepa.embeddings.findings import shape, spread, table
from isojepa.embeddings.measurement import Measurement
from isojepa.theme.findings import LEVELS, Finding, Verdict
from isojepa.theme.wording import listed

SUMMARIES: dict[str, str] = {
    "collapsed": "The samples have shrunk to a point.",
    "dimensionally collapsed": "The samples fill only a part of their dimensions.",
    "outliers": "A few rows lie far outside all others.",
    "clustered": "The samples fall into groups with gaps between them.",
    "heavy-tailed": "Far samples are more frequent than in a Gaussian.",
    "anisotropic": "Some directions have much more variance than others.",
    "skewed": "The samples are lopsided.",
    "light-tailed": "Far samples are rarer than in a Gaussian.",
    "not Gaussian": "The shape is not Gaussian, in a way that has no simple name.",
    "shifted": "A Gaussian shape, but its mean is not at the origin.",
    "off scale": "An isotropic Gaussian, but its standard deviation is not 1.",
    "duplicated rows": "Rows are repeated; but for that, nothing is wrong with them.",
    "nearly isotropic Gaussian": "Tests tell these samples from an isotropic Gaussian, by little.",
    "isotropic Gaussian": "Nothing beyond chance tells these samples from an isotropic Gaussian.",
}
"""Of each state of a finding, the gravest first."""
STATES = tuple(SUMMARIES)


def judge_samples(measurement: Measurement) -> Verdict:
    """Weigh a measurement: every failure that is both certain and large enough to matter.

    The level is that of the finding behind the gravest state; good for an isotropic Gaussian.
    """
    found = list(_findings(measurement))
    if not any(f.state for f in found):
        found += shape.departure(measurement)
    found.sort(key=_gravity)
    states = list(dict.fromkeys(f.state for f in found if f.state)) or ["isotropic Gaussian"]
    levels = [f.level for f in found if f.state == states[0]]
    return Verdict(
        states=tuple(states),
        level=min(levels, key=LEVELS.index, default="good"),
        summary=_summary(measurement, states),
        remedies=tuple(f.remedy for f in found if f.state and f.remedy),
        findings=tuple(found),
    )


def _summary(measurement: Measurement, states: list[str]) -> str:
    n, d, summary = measurement.spectrum.n, measurement.spectrum.d, SUMMARIES[states[0]]
    if states[0] == "outliers" and not measurement.outliers:
        summary = "Some rows hold no-data values or an overflow; the rest is judged without them."
    if states[0] == "isotropic Gaussian" and n <= d:
        summary += f" But {n:,} samples say little of {d:,} dimensions."
    if len(states) > 1:
        summary += f" Also {listed(states[1:])}."
    return summary


def _gravity(finding: Finding) -> tuple[int, int]:
    state = len(STATES) if finding.state is None else STATES.index(finding.state)
    return LEVELS.index(finding.level), state


def _findings(m: Measurement) -> Iterator[Finding]:
    yield from table.rows_read(m)
    yield from table.duplicates(m)
    collapsed = list(spread.collapse(m))
    yield from collapsed
    if collapsed:  # nothing else matters then
        return
    yield from spread.common_scale(m)
    yield from spread.directions_in_use(m)
    yield from spread.isotropy(m)
    yield from spread.shift(m)
    yield from shape.outliers(m)
    shapes = [*shape.gaps(m), *shape.symmetry(m), *shape.tails(m)]
    yield from shapes
    yield from shape.calibrated_tests(m, named=bool(shapes) or len(m.outliers) > 0)
